//! Every ending of a run has a name, and everybody who waits for it hears the same: the one who asked
//! first and all who joined. What a panic does is in `tests/crash`.

use std::fs;
use std::time::Duration;

use hyper::StatusCode;
use reprise::app::Drained;
use serde_json::{Value, json};

use crate::house::{Answer, Call, Gate, House, Plan};
use crate::paying_once::{COLLAPSED, STORED};

const IMAGES: &str = "/v1/images/generations";
const CHAT: &str = "/v1/chat/completions";

/// Who joins beside the first.
const OTHERS: usize = 3;

/// What costs most, and what is cheap.
fn both() -> [(&'static str, Value); 2] {
    let said = json!([{"role": "user", "content": "to the end"}]);
    [
        (
            IMAGES,
            json!({"model": "gpt-image-2", "prompt": "to the end"}),
        ),
        (CHAT, json!({"model": "grok-4.5", "messages": said})),
    ]
}

fn call(house: &House, (path, body): &(&str, Value)) -> Call {
    house.client().post(path).json(body)
}

/// One who leads and some who join, held upstream until `then` was done.
async fn together(house: &House, what: &(&str, Value), then: impl FnOnce(&Gate)) -> Vec<Answer> {
    let gate = house.hold("POST ");
    let first = call(house, what).begin();
    gate.arrived(1).await;
    let others: Vec<_> = (0..OTHERS).map(|_| call(house, what).begin()).collect();
    house.waiting(1 + OTHERS).await;
    then(&gate);
    gate.release();
    let mut answers = vec![first.answer().await];
    for other in others {
        answers.push(other.answer().await);
    }
    let same =
        |answer: &Answer| answer.status == answers[0].status && answer.body == answers[0].body;
    assert!(answers.iter().all(same), "not all hear the same");
    answers
}

/// What the next identical request is answered: asked about where it is dear, run where it is cheap.
async fn next_is_asked_or_runs(house: &House, what: &(&str, Value)) {
    let next = call(house, what).send().await;
    if what.0 == IMAGES {
        assert_eq!(
            (next.status, next.error_code().as_str()),
            (409, "outcome_unknown")
        );
        assert_eq!(house.billed(), 1);
    } else {
        assert_eq!((next.status, next.cache_status()), (200, STORED));
        assert_eq!(house.billed(), 2);
    }
}

fn notes(house: &House) -> usize {
    fs::read_dir(house.data_dir().join("pending")).map_or(0, Iterator::count)
}

fn impatient() -> Plan {
    House::new().config(|config| {
        config.upstream.response_timeout = Duration::from_millis(500);
        config.upstream.idle_timeout = Duration::from_millis(500);
    })
}

#[tokio::test]
async fn kept() {
    for what in both() {
        let house = House::new().await;
        let answers = together(&house, &what, |_| {}).await;
        let told: Vec<&str> = answers.iter().map(Answer::cache_status).collect();
        assert_eq!(told, [STORED, COLLAPSED, COLLAPSED, COLLAPSED]);
        let next = call(&house, &what).send().await;
        assert!(next.is_hit() && next.body == answers[0].body);
        assert_eq!((house.billed(), notes(&house)), (1, 0));
    }
}

#[tokio::test]
async fn refused() {
    for what in both() {
        let house = House::new().await;
        let fault = house.sandbox.on("POST ");
        fault.answer(429, "application/json", r#"{"error":{"code":"slow_down"}}"#);
        let answers = together(&house, &what, |_| {}).await;
        assert_eq!(
            (answers[0].status, answers[0].error_code().as_str()),
            (429, "slow_down")
        );
        assert_eq!((house.billed(), notes(&house)), (0, 0));
        assert_eq!(call(&house, &what).send().await.cache_status(), STORED);
        assert_eq!(house.billed(), 1);
    }
}

#[tokio::test]
async fn unknown() {
    for what in both() {
        let house = House::new().await;
        let lost = StatusCode::GATEWAY_TIMEOUT.as_u16();
        house
            .sandbox
            .on("POST ")
            .answer_billed(lost, "text/html", "gone");
        let answers = together(&house, &what, |_| {}).await;
        assert_eq!(
            (answers[0].status, answers[0].text().as_str()),
            (504, "gone")
        );
        for answer in &answers {
            let again = if what.0 == IMAGES { "false" } else { "" };
            assert_eq!(answer.header("x-should-retry"), again);
        }
        assert_eq!(house.billed(), 1);
        next_is_asked_or_runs(&house, &what).await;
    }
}

#[tokio::test]
async fn cut() {
    for what in both() {
        let house = House::new().await;
        house.sandbox.on("POST ").cut_after(5);
        let answers = together(&house, &what, |_| {}).await;
        assert_eq!(answers[0].status, 502);
        assert_eq!(answers[0].error_code(), "upstream_outcome_unknown");
        assert_eq!(answers[0].header("x-should-retry"), "false");
        next_is_asked_or_runs(&house, &what).await;
    }
}

#[tokio::test]
async fn timed_out() {
    for what in both() {
        let house = impatient().await;
        let gate = house.hold("POST ");
        let first = call(&house, &what).begin();
        gate.arrived(1).await;
        let other = call(&house, &what).begin();
        for answer in [first.answer().await, other.answer().await] {
            assert_eq!(answer.status, 504);
            assert_eq!(answer.error_code(), "upstream_outcome_unknown");
        }
        drop(gate);
        next_is_asked_or_runs(&house, &what).await;
    }
}

#[tokio::test]
async fn unreachable() {
    for what in both() {
        let house = House::new().await;
        house.stop_sandbox().await;
        let first = call(&house, &what).begin();
        let other = call(&house, &what).begin();
        for answer in [first.answer().await, other.answer().await] {
            assert_eq!(answer.status, 502);
            assert_eq!(answer.error_code(), "upstream_unreachable");
            assert_eq!(answer.header("x-should-retry"), "", "nothing was paid");
        }
        assert_eq!(notes(&house), 0);
    }
}

#[tokio::test]
async fn the_store_fails_before_it_is_sent() {
    let house = House::new().await;
    let [image, _] = both();
    let pending = house.data_dir().join("pending");
    let aside = house.data_dir().join("aside");
    fs::rename(&pending, &aside).unwrap();
    fs::write(&pending, b"").unwrap();
    let all: Vec<_> = (0..=OTHERS).map(|_| call(&house, &image).begin()).collect();
    for one in all {
        let answer = one.answer().await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (503, "store_unavailable")
        );
    }
    assert_eq!(house.sandbox.requests().len(), 0);
    fs::remove_file(&pending).unwrap();
    fs::rename(&aside, &pending).unwrap();
    assert_eq!(call(&house, &image).send().await.cache_status(), STORED);
}

#[tokio::test]
async fn the_store_fails_after_the_answer() {
    for what in both() {
        let house = House::new().await;
        let kept = house.data_dir().join("generations");
        let aside = house.data_dir().join("aside");
        let answers = together(&house, &what, |_| {
            fs::rename(&kept, &aside).unwrap();
            fs::write(&kept, b"").unwrap();
        })
        .await;
        assert_eq!(answers[0].status, 200);
        let not_kept = "reprise; fwd=miss; detail=not-kept";
        assert_eq!(answers[0].cache_status(), not_kept);
        fs::remove_file(&kept).unwrap();
        fs::rename(&aside, &kept).unwrap();
        next_is_asked_or_runs(&house, &what).await;
    }
}

#[tokio::test]
async fn shut_down() {
    for what in both() {
        let plan = House::new().config(|config| config.shutdown_grace = Duration::from_millis(200));
        let mut house = plan.await;
        let gate = house.hold("POST ");
        let first = call(&house, &what).begin();
        gate.arrived(1).await;
        let other = call(&house, &what).begin();
        house.waiting(2).await;
        assert_eq!(house.shutdown().await, Drained::CutOff(1));
        drop((first, other));
        // The run lives on in this process, as it would not in one that has ended: a copy of the
        // directory is what that would leave.
        let left = tempfile::tempdir().unwrap();
        crate::house::copy(&house.data_dir(), left.path());
        let after = House::new().disk(left.path()).await;
        let next = call(&after, &what).send().await;
        if what.0 == IMAGES {
            assert_eq!(
                (next.status, next.error_code().as_str()),
                (409, "outcome_unknown")
            );
            assert_eq!(after.billed(), 0);
        } else {
            assert_eq!(next.cache_status(), STORED);
        }
        drop(gate);
    }
}
