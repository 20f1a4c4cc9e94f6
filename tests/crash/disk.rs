//! A disk whose calls fail one after the other.

use std::path::Path;

use futures_util::stream::{self, StreamExt};

use crate::home::{Home, Memory, furnished};

use crate::long;
use crate::program::Program;
use crate::shim::{Failure, Shim};
use crate::sort::{Sort, succeeded};
use crate::trial::{PROMPT, Trial};
use crate::visitor::Answer;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// How many programs run at once.
const AT_ONCE: usize = 4;

/// One way of failing, with every call in its turn.
#[derive(Clone, Copy, Debug)]
struct Way {
    sort: Sort,
    errno: i32,
    sticky: bool,
    index: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_fails_in_its_turn() {
    let Some(shim) = Shim::build() else { return };
    let data = furnished().await;
    let mut ways = Vec::new();
    for sort in [
        Sort::Video,
        Sort::Image,
        Sort::SpeechLarge,
        Sort::ChatStream,
    ] {
        for (errno, sticky) in [(EIO, false), (ENOSPC, true)] {
            for index in [false, true] {
                ways.push(Way {
                    sort,
                    errno,
                    sticky,
                    index,
                });
            }
        }
    }
    // The index fails in the same way whatever is written into it.
    ways.retain(|way| long() || !way.index || way.sort == Sort::Image);
    let shim = &shim;
    let data = data.path();
    let failures: Vec<u64> = stream::iter(ways)
        .map(|way| async move {
            for call in 1..400 {
                let failure = Failure {
                    call,
                    errno: way.errno,
                    sticky: way.sticky,
                    index: way.index,
                };
                if !case(shim, data, way.sort, failure).await {
                    return call - 1;
                }
            }
            panic!("{way:?}: never clean");
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let total: u64 = failures.iter().sum();
    assert!(failures.iter().all(|calls| *calls > 5), "{failures:?}");
    println!("a disk that fails: {total} failed calls");
}

/// Whether the failure came up.
async fn case(shim: &Shim, data: &Path, sort: Sort, failure: Failure) -> bool {
    let home = Home::for_sort(data, sort).await;
    let mut memory = Memory::default();
    let named = format!("{sort:?} {failure:?}");
    let ended = match shim.failing(&home.launch, failure).start().await {
        Err(ended) => {
            let said = ended.log.lines().any(|line| !line.starts_with("shim:"));
            assert!(
                said && ended.status.code() == Some(1),
                "{named}: {} {}",
                ended.status,
                ended.log
            );
            ended
        }
        Ok(program) => {
            visit(&program, sort, &mut memory, &named).await;
            // Not asked to stop: what is promised does not wait for that.
            program.kill().await
        }
    };
    assert!(!ended.log.contains("panicked"), "{named}: {}", ended.log);
    let trial = Trial {
        home: &home,
        sort,
        named: &named,
        doubtful: true,
    };
    trial.hold(&memory).await;
    ended.log.contains("shim: call")
}

/// Asks, follows the job, asks again; remembers only what the proxy has promised to keep.
async fn visit(program: &Program, sort: Sort, memory: &mut Memory, named: &str) {
    let call = sort.call(PROMPT);
    let first = call.send(program.addr).await.unwrap();
    let told = format!("{named}: {}\n{}", first.brief(), program.log());
    if first.status != 200 {
        // Nothing was sent, and it says why.
        assert_eq!(
            (first.status, first.error_code().as_str()),
            (503, "store_unavailable"),
            "{told}"
        );
        memory.refused = true;
        return;
    }
    assert!(!first.body.is_empty(), "{told}");
    if is_promised(sort, &first) {
        memory.answer = Some(first.body.clone());
    }
    if let Some(poll) = sort.poll(&first) {
        loop {
            let poll = poll.send(program.addr).await.unwrap();
            assert_eq!(poll.status, 200, "{named}: {}", poll.brief());
            if succeeded(&poll) {
                if poll.is_hit() {
                    memory.end = Some(poll.body);
                }
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }
    let again = call.send(program.addr).await.unwrap();
    let told = format!("{named}: {}\n{}", again.brief(), program.log());
    if memory.answer.is_some() {
        assert!(again.is_kept() && again.body == first.body, "{told}");
    } else if again.is_kept() {
        memory.answer = Some(again.body);
    } else if sort.is_dear() {
        assert!([409, 503].contains(&again.status), "{told}");
    }
}

/// What is shown while it arrives cannot say in its head what will become of its end.
fn is_promised(sort: Sort, answer: &Answer) -> bool {
    match sort {
        Sort::Speech | Sort::SpeechLarge | Sort::ChatStream => answer.is_kept(),
        Sort::Video
        | Sort::Image
        | Sort::ImageInline
        | Sort::Chat
        | Sort::ChatAsk
        | Sort::Embedding => answer.is_promised(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_not_absent() {
    let Some(shim) = Shim::build() else { return };
    let sorts = [
        Sort::Video,
        Sort::Image,
        Sort::SpeechLarge,
        Sort::ChatStream,
    ];
    for folder in ["generations", "blobs", "pending"] {
        let home = Home::empty().await;
        Sort::SpeechLarge.prepare(&home.sandbox);
        let program = home.launch.must_start().await;
        for sort in sorts {
            let kept = sort.call(PROMPT).send(program.addr).await.unwrap();
            assert_eq!(kept.status, 200, "{}", kept.brief());
        }
        home.sandbox.on("POST ").close_before_head();
        let lost = Sort::Image.call("doubt").send(program.addr).await.unwrap();
        assert_eq!(lost.status, 502, "{}", lost.brief());
        program.kill().await;
        // The files have to answer.
        std::fs::remove_dir_all(home.launch.data.join("index")).unwrap();
        let billed = home.billed();
        let unreadable = shim.unreadable(&home.launch, folder);
        if folder == "pending" {
            // Nobody could say what is unknown.
            let ended = unreadable.start().await.err().expect("no start");
            let named = ended.log.contains("/pending/");
            assert!(named && ended.status.code() == Some(1), "{}", ended.log);
            continue;
        }
        let program = unreadable.must_start().await;
        for call in [Sort::Image.call("doubt")]
            .into_iter()
            .chain(sorts.map(|sort| sort.call(PROMPT)))
        {
            let answer = call.send(program.addr).await.unwrap();
            let told = format!("{folder}: {}", answer.brief());
            assert!(
                answer.is_kept() || [409, 503].contains(&answer.status),
                "{told}"
            );
            assert_eq!(home.billed(), billed, "{told}");
        }
        program.kill().await;
        let program = home.launch.must_start().await;
        for sort in sorts {
            let kept = sort.call(PROMPT).send(program.addr).await.unwrap();
            assert!(kept.is_kept(), "{folder}: {}", kept.brief());
        }
        let doubt = Sort::Image.call("doubt").send(program.addr).await.unwrap();
        assert_eq!(doubt.status, 409, "{folder}: {}", doubt.brief());
        assert_eq!(home.billed(), billed, "{folder}");
    }
}
