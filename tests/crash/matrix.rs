//! Every fail point × every sort: a first run says which points it passes and how often; then the
//! program is killed at each of these passages, started again, and held to what its client remembers.
#![cfg(debug_assertions)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use reprise::fault::{POINTS, VARIABLE};

use crate::dice::Dice;
use crate::home::{Home, Memory, furnished};
use crate::long;
use crate::power::{CUTS, Cut};
use crate::program::Program;
use crate::shim::Shim;
use crate::sort::{self, Sort, succeeded};
use crate::visitor::{Answer, Broken};

pub(crate) const PROMPT: &str = "the one";
const KEY: &str = "order-1";

/// How many passages of one point are tried: the pieces of a long answer differ in nothing.
const MOST: u64 = 4;

/// How many programs run at once.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_passage_of_every_point_of_every_sort() {
    let data = furnished().await;
    let mut cases = Vec::new();
    for sort in sort::ALL {
        let passages = passages(data.path(), sort).await;
        let wanted = passages
            .into_iter()
            .filter(|(point, _)| wanted(sort, point));
        cases.extend(wanted.map(|passage| (sort, passage)));
    }
    let mut table = String::new();
    for point in POINTS {
        let of_point = cases.iter().filter(|(_, (name, _))| name == point);
        let passages = of_point.count();
        write!(table, " {point} {passages}").unwrap();
        assert!(passages > 0, "nothing ever passes {point}");
    }
    println!("crash matrix: {} kills;{table}", cases.len());
    let setting = Setting {
        data: data.path(),
        power: None,
    };
    all(setting, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_passage_without_power() {
    let Some(shim) = Shim::build() else { return };
    let data = furnished().await;
    let mut cases = Vec::new();
    for sort in sort::ALL {
        if long() || matches!(sort, Sort::Video | Sort::SpeechLarge) {
            let passages = passages(data.path(), sort).await;
            cases.extend(passages.into_iter().map(|passage| (sort, passage)));
        }
    }
    let cuts = if long() { &CUTS[..] } else { &CUTS[..1] };
    for cut in cuts {
        let setting = Setting {
            data: data.path(),
            power: Some((&shim, *cut)),
        };
        all(setting, &cases).await;
    }
    println!(
        "crash matrix without power: {} cuts",
        cases.len() * cuts.len()
    );
}

async fn all(setting: Setting<'_>, cases: &[(Sort, (String, u64))]) {
    stream::iter(cases)
        .for_each_concurrent(AT_ONCE, |(sort, (point, passage))| async move {
            let fault = format!("{point}=kill#{passage}");
            let killed = case(setting, *sort, &fault).await;
            // How many pieces an answer comes in is the network's business.
            let certain = point != "mid-answer";
            assert!(killed || !certain, "{sort:?} {fault}: not reached");
        })
        .await;
}

/// The short form leaves out what differs in nothing: a start knows no sorts, and what is shown while
/// it arrives arrives in many pieces.
fn wanted(sort: Sort, point: &str) -> bool {
    let start = POINTS.iter().position(|name| *name == "reconciled");
    let at = POINTS.iter().position(|name| *name == point);
    long() || sort == Sort::Video || at > start
}

/// Every passage of every point in one clean run: its number within the point.
async fn passages(data: &Path, sort: Sort) -> Vec<(String, u64)> {
    let home = Home::for_sort(data, sort).await;
    let trace = home.launch.with(VARIABLE, "trace");
    let program = trace.must_start().await;
    let mut memory = Memory::default();
    visit(&program, sort, &mut memory).await;
    let ended = program.stop().await;
    assert!(ended.status.success(), "{}", ended.log);
    assert!(memory.answer.is_some(), "{}", ended.log);
    let mut passed = BTreeMap::new();
    let points = ended
        .log
        .lines()
        .filter_map(|line| line.strip_prefix("passed "));
    let mut passages = Vec::new();
    for point in points {
        let count = passed.entry(point.to_owned()).or_insert(0);
        *count += 1;
        if *count <= MOST {
            passages.push((point.to_owned(), *count));
        }
    }
    passages
}

/// What goes with the program.
#[derive(Clone, Copy)]
struct Setting<'a> {
    /// What it starts on.
    data: &'a Path,
    /// The power, on a disk that has done no more than it had to.
    power: Option<(&'a Shim, Cut)>,
}

/// Runs one case; whether the fault came up.
async fn case(setting: Setting<'_>, sort: Sort, fault: &str) -> bool {
    let home = Home::for_sort(setting.data, sort).await;
    let mut memory = Memory::default();
    let (mut launch, mut life) = (home.launch.clone(), None);
    if let Some((shim, cut)) = setting.power {
        let (on_shim, begun) = shim.life(&home);
        (launch, life) = (on_shim, Some((begun, cut)));
    }
    let ended = match launch.with(VARIABLE, fault).start().await {
        Err(ended) => ended,
        Ok(program) => {
            visit(&program, sort, &mut memory).await;
            program.stop().await
        }
    };
    let killed = ended.killed();
    let mut named = format!("{sort:?} {fault}");
    if let Some((life, cut)) = life {
        named += &format!(" {cut:?}");
        life.cut(&home, cut, &mut Dice::new(1));
    }
    assert!(
        killed || ended.status.success(),
        "{named}: {}\n{}",
        ended.status,
        ended.log
    );
    assert!(!ended.log.contains("panicked"), "{named}: {}", ended.log);
    let trial = Trial {
        home: &home,
        sort,
        named: &named,
        doubtful: false,
    };
    trial.hold(&memory).await;
    killed
}

/// What a client does: asks, waits for the end of its job, and asks again.
pub(crate) async fn visit(program: &Program, sort: Sort, memory: &mut Memory) {
    let call = sort.call(PROMPT).header("idempotency-key", KEY);
    let first = match call.send(program.addr).await {
        Ok(first) => first,
        Err(Broken(part)) => {
            // Whoever has the end of a stream has all of it, however the connection ends.
            if part.ends_with(b"data: [DONE]\n\n") {
                memory.answer = Some(part);
            }
            return;
        }
    };
    assert_eq!(first.status, 200, "{}", first.brief());
    memory.answer = Some(first.body.clone());
    if let Some(poll) = sort.poll(&first) {
        loop {
            let Ok(poll) = poll.send(program.addr).await else {
                return;
            };
            if succeeded(&poll) {
                memory.end = Some(poll.body);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    if let Ok(again) = call.send(program.addr).await {
        assert!(again.is_kept(), "{}", again.brief());
        assert!(again.body == first.body, "another answer");
    }
}

/// What is looked at once the program has died.
pub(crate) struct Trial<'a> {
    pub(crate) home: &'a Home,
    pub(crate) sort: Sort,
    pub(crate) named: &'a str,
    /// The disk failed: a note may say so beside an answer that is kept after all.
    pub(crate) doubtful: bool,
}

impl Trial<'_> {
    /// Starts it again and holds it to everything that is promised.
    pub(crate) async fn hold(&self, memory: &Memory) {
        let named = self.named;
        let billed = self.home.billed();
        // What is cheap was run again for who asked again, where it could not be kept.
        let most = if self.doubtful && !self.sort.is_dear() {
            2
        } else {
            1
        };
        assert!(billed <= most, "{named}: paid {billed} times");
        let unknown = !self.home.pending().is_empty();
        let program = self.home.launch.must_start().await;
        assert_eq!(
            self.home.billed(),
            billed,
            "{named}: the start runs something"
        );
        let now = self.ask_again(&program, memory, (billed, unknown)).await;
        if let Some(end) = &memory.end {
            let poll = self.sort.poll(&now).expect("a job");
            let poll = poll.send(program.addr).await.unwrap();
            assert!(
                poll.is_hit() && poll.body == *end,
                "{named}: {}",
                poll.brief()
            );
        }
        let settled = self.home.pending().is_empty();
        assert!(settled || self.doubtful, "{named}: a note stays");
        let ended = program.kill().await;
        assert!(!ended.log.contains("panicked"), "{named}: {}", ended.log);
        if !long() {
            return;
        }
        // And once more, now that all is known.
        let billed = self.home.billed();
        let program = self.home.launch.must_start().await;
        let call = self.sort.call(PROMPT).header("idempotency-key", KEY);
        let last = call.send(program.addr).await.unwrap();
        assert!(
            last.is_kept() && last.body == now.body,
            "{named}: {}",
            last.brief()
        );
        assert_eq!(self.home.billed(), billed, "{named}");
    }

    /// Starts it again, and looks at what is there without paying for anything.
    pub(crate) async fn starts_whole(&self, memory: &Memory) {
        let named = self.named;
        let billed = self.home.billed();
        let program = self.home.launch.must_start().await;
        let again = self.sort.call(PROMPT).cache_control("only-if-cached");
        let again = again.send(program.addr).await.unwrap();
        match &memory.answer {
            Some(seen) => assert!(again.body == *seen, "{named}: {}", again.brief()),
            None => assert!(
                [200, 504].contains(&again.status),
                "{named}: {}",
                again.brief()
            ),
        }
        assert_eq!(self.home.billed(), billed, "{named}");
        let ended = program.kill().await;
        assert!(!ended.log.contains("panicked"), "{named}: {}", ended.log);
    }

    /// The same request again, as a client's retry; what it is answered in the end.
    async fn ask_again(
        &self,
        program: &Program,
        memory: &Memory,
        (billed, unknown): (u64, bool),
    ) -> Answer {
        let named = self.named;
        let call = self.sort.call(PROMPT).header("idempotency-key", KEY);
        let again = call.send(program.addr).await.unwrap();
        let told = format!("{named}: bill {billed}, {}", again.brief());
        if let Some(seen) = &memory.answer {
            assert!(again.is_kept(), "lost: {told}");
            assert!(again.body == *seen, "another answer: {told}");
            assert_eq!(self.home.billed(), billed, "{told}");
            return again;
        }
        if again.status == 409 && self.sort.is_dear() {
            assert!(unknown, "no note says so: {told}");
            assert_eq!(again.error_code(), "outcome_unknown", "{told}");
            assert_eq!(again.header("x-should-retry"), "false", "{told}");
            assert_eq!(self.home.billed(), billed, "{told}");
            let asked = call.clone().cache_control("no-cache");
            let asked = asked.send(program.addr).await.unwrap();
            assert_eq!(asked.status, 200, "{named}: {}", asked.brief());
            assert_eq!(self.home.billed(), billed + 1, "{told}");
            return asked;
        }
        assert_eq!(again.status, 200, "{told}");
        let most = if self.sort.is_dear() { 1 } else { billed + 1 };
        assert!(self.home.billed() <= most, "paid twice: {told}");
        assert!(
            again.is_kept() == (self.home.billed() == billed),
            "it says otherwise: {told}"
        );
        again
    }
}
