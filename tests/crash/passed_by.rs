//! Killed while generations are passed by: nothing is kept of them, and yet they are booked and held.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::books;
use crate::home::Home;
use crate::sort::Sort;
use crate::visitor::Call;

/// A run of the model `m` costs a dollar, and a day has two.
const TWO_DOLLARS: &str = "[limits]\nusd_per_day = 2.0\n\n[prices.m]\nper_request = 1.0\n";

/// A request of this sort that is like no other.
fn call(sort: Sort, prompt: &str) -> Call {
    let mut body = sort.body(prompt);
    body["model"] = "m".into();
    Call::post(sort.path(), &body)
}

fn unknown(home: &Home) -> Vec<Value> {
    let mut lines = books::lines(home);
    lines.retain(|line| line["outcome"] == "unknown");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_by_at_a_kill_is_booked_and_held() {
    for sort in [Sort::Video, Sort::Image, Sort::Speech, Sort::Chat] {
        let home = Home::empty().await;
        fs::write(home.path().join("proxy.toml"), TWO_DOLLARS).unwrap();
        let program = home.launch.must_start().await;
        let gate = home.sandbox.hold(&format!("POST {}", sort.path()));
        let addr = program.addr;
        let passed = call(sort, "the one").cache_control("no-store");
        let first = tokio::spawn(async move { passed.send(addr).await });
        gate.arrived(1).await;
        assert!(program.kill().await.killed());
        assert!(first.await.unwrap().is_err());
        gate.release();

        let mut program = home.launch.must_start().await;
        let lines = unknown(&home);
        assert_eq!(lines.len(), 1, "{sort:?}");
        // Nobody is asked about it, whether or not he passes by too.
        let same = call(sort, "the one").send(program.addr).await.unwrap();
        assert_eq!(same.status, 200, "{sort:?}: {}", same.brief());
        for _ in 0..2 {
            let refused = call(sort, "another").send(program.addr).await.unwrap();
            assert_eq!(refused.status, 402, "{sort:?}: {}", refused.brief());
            program.kill().await;
            program = home.launch.must_start().await;
        }
        assert_eq!(unknown(&home), lines, "{sort:?}: once");
        if sort != Sort::Video {
            let again = books::lines(&home);
            let again = again.iter().find(|line| line["outcome"] == "paid").unwrap();
            assert_eq!(again["key"], lines[0]["key"], "{sort:?}");
            assert_eq!(again["possible_double_payment"], true, "{sort:?}");
        }
        assert_eq!(home.pending().len(), 1, "{sort:?}");
    }
}

/// Whether they are kept or passed by: with a budget, upstream bills nothing that no line says.
#[tokio::test(flavor = "multi_thread")]
async fn no_chat_of_a_client_with_a_budget_is_forgotten_by_a_kill() {
    let mut home = Home::slow(Duration::from_millis(20)).await;
    Sort::Chat.configure(&mut home.launch);
    let program = home.launch.must_start().await;
    let addr = program.addr;
    let calls: Vec<_> = (0..8)
        .map(|lane| {
            tokio::spawn(async move {
                let sort = [Sort::Chat, Sort::ChatStream][lane % 2];
                for n in 0.. {
                    let call = sort.call(&format!("{lane} {n}"));
                    let directive = ["no-store", "max-age=1000"][lane / 2 % 2];
                    if call.cache_control(directive).send(addr).await.is_err() {
                        break;
                    }
                }
            })
        })
        .collect();
    while home.billed() < 60 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(program.kill().await.killed());
    for call in calls {
        call.await.unwrap();
    }
    home.launch.must_start().await.kill().await;
    books::check(&home, Sort::Chat, "under load");
}
