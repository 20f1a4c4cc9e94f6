//! A panic at every edge of a run: the process lives, everybody who waits is told, and nobody pays
//! again by himself.
#![cfg(debug_assertions)]

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use reprise::fault::{POINTS, VARIABLE};

use crate::home::{Home, Memory, furnished};
use crate::program::Program;
use crate::sort::Sort;
use crate::trial::{PROMPT, Trial};
use crate::visitor::{Answer, Broken};

const CROWD: usize = 4;
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_nobody_a_second_run() {
    let data = furnished().await;
    let start = POINTS.iter().position(|name| *name == "reconciled");
    let of_a_run = &POINTS[start.unwrap() + 1..];
    let sorts = [Sort::Image, Sort::SpeechLarge, Sort::ChatStream];
    let cases = sorts
        .into_iter()
        .flat_map(|sort| of_a_run.iter().map(move |point| (sort, *point)));
    let panics: usize = stream::iter(cases)
        .map(|(sort, point)| {
            let data = data.path();
            async move {
                let home = Home::for_sort(data, sort).await;
                let fault = format!("{point}=panic");
                let named = format!("{sort:?} {fault}");
                let program = home.launch.with(VARIABLE, fault).must_start().await;
                let crowd = Crowd {
                    sort,
                    named: &named,
                };
                let memory = crowd.visit(&program).await;
                let ended = program.stop().await;
                assert!(ended.status.success(), "{named}: {}", ended.log);
                let trial = Trial {
                    home: &home,
                    sort,
                    named: &named,
                    doubtful: true,
                };
                trial.hold(&memory).await;
                usize::from(ended.log.contains("panicked"))
            }
        })
        .buffer_unordered(AT_ONCE)
        .fold(0, async |sum, one| sum + one)
        .await;
    assert!(panics > 40, "only {panics} panicked");
    println!("panics at the edges of a run: {panics}");
}

/// Several who ask for the same at once, and once more.
struct Crowd<'a> {
    sort: Sort,
    named: &'a str,
}

impl Crowd<'_> {
    async fn visit(&self, program: &Program) -> Memory {
        let (sort, named) = (self.sort, self.named);
        let call = sort.call(PROMPT);
        let all = join_all((0..CROWD).map(|_| call.send(program.addr))).await;
        let mut memory = Memory::default();
        for answer in all {
            self.look_at(answer, &mut memory);
        }
        let again = call.send(program.addr).await.unwrap();
        match again.status {
            200 if again.is_kept() => memory.answer = Some(again.body),
            200 => assert!(memory.answer.is_none(), "{named}: {}", again.brief()),
            status => assert!([409, 503].contains(&status), "{named}: {}", again.brief()),
        }
        memory
    }

    fn look_at(&self, answer: Result<Answer, Broken>, memory: &mut Memory) {
        let named = self.named;
        let answer = match answer {
            // Only what is shown while it arrives can break off.
            Err(Broken(_)) => return assert!(self.sort != Sort::Image, "{named}: broke off"),
            Ok(answer) => answer,
        };
        match (answer.status, answer.error_code().as_str()) {
            // What is shown while it arrives cannot say in its head that it is not kept.
            (200, _) if answer.is_kept() && self.sort == Sort::Image => {}
            (200, _) if answer.is_hit() => memory.answer = Some(answer.body),
            (200, _)
            | (502, "upstream_outcome_unknown")
            | (409, "outcome_unknown")
            | (503, "store_unavailable") => {}
            _ => panic!("{named}: {}", answer.brief()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_is_sent_another_leads() {
    let home = Home::empty().await;
    let launch = home.launch.with(VARIABLE, "before-intent=panic");
    let program = launch.must_start().await;
    let call = Sort::Video.call(PROMPT);
    let all = join_all((0..CROWD).map(|_| call.send(program.addr))).await;
    let answered = all.iter().flatten().filter(|answer| answer.status == 200);
    assert!(answered.count() >= CROWD - 1, "{all:?}");
    assert_eq!(home.billed(), 1);
    assert!(program.log().contains("panicked"));
    assert!(call.send(program.addr).await.unwrap().is_kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_it_was_sent_all_hear_that_nobody_knows() {
    let home = Home::empty().await;
    let launch = home.launch.with(VARIABLE, "after-send=panic");
    let gate = home.sandbox.hold("POST ");
    let program = launch.must_start().await;
    let call = Sort::Video.call(PROMPT);
    let all = join_all((0..CROWD).map(|_| call.send(program.addr)));
    let release = async {
        gate.arrived(1).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        gate.release();
    };
    let (all, ()) = tokio::join!(all, release);
    for answer in all {
        let answer = answer.unwrap();
        let code = answer.error_code();
        let unknown = ["upstream_outcome_unknown", "outcome_unknown"];
        assert!(unknown.contains(&code.as_str()), "{}", answer.brief());
        assert_eq!(answer.header("x-should-retry"), "false");
    }
    assert_eq!(call.send(program.addr).await.unwrap().status, 409);
    program.kill().await;
    let program = home.launch.must_start().await;
    assert_eq!(call.send(program.addr).await.unwrap().status, 409);
    assert_eq!(home.billed(), 1);
}
