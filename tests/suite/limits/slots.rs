//! Paid calls at once: each has a slot to its last byte, and gives it back whatever became of it.

use std::time::Duration;

use reprise::config::Mode;
use reprise::sandbox::FaultBuilder;
use serde_json::{Value, json};

use super::{
    CHAT, IMAGES, VIDEO, assert_refused, at_once, chat, house_of_anna, image, post, video,
};
use crate::credentials::{ANNA, BEN};
use crate::house::{House, until_async};

fn stream(words: &str) -> Value {
    let mut body = chat(words);
    body["stream"] = json!(true);
    body
}

/// Waits until a slot is free, which nothing announces.
async fn until_free(house: &House, path: &str, body: &Value) {
    until_async(async || post(house, path, body).send().await.status != 429).await;
}

#[tokio::test]
async fn a_call_holds_its_slot_also_when_its_client_has_left() {
    let house = at_once(1).await;
    let gate = house.hold("POST /v1/images");
    let first = post(&house, IMAGES, &image("one")).begin();
    gate.arrived(1).await;
    let other = || post(&house, IMAGES, &image("two"));
    assert_eq!(
        assert_refused(&other().send().await, "concurrent_generations", 1),
        5000
    );
    // Of every kind, since what is limited is what one client has at once.
    let said = post(&house, CHAT, &chat("two")).send().await;
    assert_refused(&said, "concurrent_generations", 1);
    let joiner = post(&house, IMAGES, &image("one")).begin();
    house.waiting(2).await;
    first.leave().await;
    assert_refused(&other().send().await, "concurrent_generations", 1);
    assert!(!joiner.is_over(), "joining is free");
    gate.release();
    assert_eq!(joiner.answer().await.status, 200);
    // Whoever has the answer may ask again at once.
    assert_eq!(other().send().await.status, 200);
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn one_after_the_other_is_never_refused() {
    let house = at_once(1).await;
    for nth in 0..40 {
        let words = nth.to_string();
        for (path, body) in [
            (IMAGES, image(&words)),
            (CHAT, chat(&words)),
            (CHAT, stream(&words)),
            (
                "/v1/audio/speech",
                json!({"model": "tts-1", "input": words}),
            ),
        ] {
            let call = post(&house, path, &body);
            let call = if nth % 2 == 0 {
                call
            } else {
                call.cache_control("no-store")
            };
            let answer = call.send().await;
            assert_eq!(answer.status, 200, "{nth} {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_stream_holds_its_slot_to_its_last_event() {
    for passed_by in [false, true] {
        let mode = if passed_by { Mode::Off } else { Mode::On };
        let house = at_once(1)
            .config(move |config| config.cache.chat.mode = mode)
            .await;
        let gate = house.hold_stream("POST /v1/chat", 1);
        let mut open = post(&house, CHAT, &stream("one")).open().await.unwrap();
        open.read_to("data:").await;
        gate.arrived(1).await;
        let two = || post(&house, CHAT, &chat("two")).send();
        assert_refused(&two().await, "concurrent_generations", 1);
        gate.release();
        assert!(open.rest().await.unwrap().text().contains("[DONE]"));
        assert_eq!(two().await.status, 200, "passed by: {passed_by}");
    }
}

/// What is passed by belongs to its client: it ends with it, and so does its slot.
#[tokio::test]
async fn what_is_passed_by_gives_its_slot_back_with_its_client() {
    let house = at_once(1).await;
    let gate = house.hold_stream("POST /v1/chat", 1);
    let call = post(&house, CHAT, &stream("one")).cache_control("no-store");
    let mut open = call.open().await.unwrap();
    open.read_to("data:").await;
    gate.arrived(1).await;
    let refused = post(&house, CHAT, &chat("two")).send().await;
    assert_refused(&refused, "concurrent_generations", 1);
    drop(open);
    until_free(&house, CHAT, &chat("two")).await;
}

type Fault = fn(&FaultBuilder) -> &FaultBuilder;

#[tokio::test]
async fn every_ending_gives_the_slot_back() {
    const FAULTS: [(&str, Fault); 7] = [
        ("closed before the head", FaultBuilder::close_before_head),
        ("reset", FaultBuilder::reset),
        ("cut in the body", |fault| fault.cut_after(5)),
        ("silent in the body", |fault| fault.stall_after(5)),
        ("no head in time", |fault| {
            fault.delay(Duration::from_mins(1))
        }),
        ("refused", |fault| {
            fault.answer(400, "application/json", r#"{"error":{}}"#)
        }),
        ("unknown", |fault| fault.answer(504, "text/html", "late")),
    ];
    let house = at_once(1)
        .config(|config| {
            config.upstream.response_timeout = Duration::from_millis(400);
            config.upstream.idle_timeout = Duration::from_millis(400);
        })
        .await;
    for (nth, (name, fault)) in FAULTS.into_iter().enumerate() {
        for (path, body) in [
            (IMAGES, image(name)),
            (VIDEO, video(name)),
            (CHAT, chat(name)),
            (CHAT, stream(name)),
        ] {
            for directive in ["max-age=99", "no-store"] {
                fault(&house.sandbox.on(&format!("POST {path}")));
                let call = post(&house, path, &body).cache_control(directive);
                let lost = call.try_send().await;
                if let Ok(lost) = &lost {
                    assert_ne!(lost.status, 429, "{name} {path}: {}", lost.text());
                    assert_ne!(lost.status, 409, "{name} {path}: {}", lost.text());
                }
                let other = format!("{nth} {path} {body} {directive}");
                let other = json!({"model": "e", "input": other});
                let next = post(&house, "/v1/embeddings", &other).send().await;
                assert_ne!(next.status, 429, "{name} {path} {directive}");
            }
        }
    }
    house.stop_sandbox().await;
    for words in ["a", "b", "c"] {
        let lost = post(&house, IMAGES, &image(words)).send().await;
        assert_eq!(lost.error_code(), "upstream_unreachable");
        let lost = post(&house, IMAGES, &image(words)).cache_control("no-store");
        assert_eq!(lost.send().await.error_code(), "upstream_unreachable");
    }
}

#[tokio::test]
async fn a_full_disk_gives_the_slot_back() {
    let house = at_once(1)
        .config(|config| config.cache.min_free = u64::MAX)
        .await;
    for words in ["a", "b", "c"] {
        let refused = post(&house, IMAGES, &image(words)).send().await;
        assert_eq!(refused.error_code(), "store_unavailable");
    }
    assert_eq!(house.billed(), 0);
}

#[tokio::test]
async fn as_many_as_are_allowed_run_at_once_and_no_more() {
    let house = at_once(3).await;
    let gate = house.hold("POST /v1/images");
    let calls: Vec<_> = (0..30)
        .map(|nth| post(&house, IMAGES, &image(&nth.to_string())).begin())
        .collect();
    gate.arrived(3).await;
    // All others are answered while these three are held.
    until_async(async || calls.iter().filter(|call| call.is_over()).count() == 27).await;
    gate.release();
    let mut refused = 0;
    for call in calls {
        let answer = call.answer().await;
        if answer.status != 200 {
            assert_refused(&answer, "concurrent_generations", 3);
            refused += 1;
        }
    }
    assert_eq!((refused, house.billed()), (27, 3));
}

#[tokio::test]
async fn a_slot_is_its_clients_own() {
    let limits = reprise::config::OwnLimits {
        concurrent_generations: Some(1),
        generations_per_minute: Some(2),
        ..Default::default()
    };
    let house = house_of_anna(limits).await;
    let gate = house.hold("POST /v1/images");
    let ask = |key, words| post(&house, IMAGES, &image(words)).key(key);
    let annas = ask(ANNA, "one").begin();
    gate.arrived(1).await;
    let bens: Vec<_> = ["two", "three", "four"]
        .map(|words| ask(BEN, words).begin())
        .into();
    gate.arrived(4).await;
    for _ in 0..5 {
        assert_refused(&ask(ANNA, "five").send().await, "concurrent_generations", 1);
    }
    gate.release();
    assert_eq!(annas.answer().await.status, 200);
    for ben in bens {
        assert_eq!(ben.answer().await.status, 200);
    }
    // The five that were refused are not counted.
    assert_eq!(ask(ANNA, "five").send().await.status, 200);
    assert_refused(&ask(ANNA, "six").send().await, "generations_per_minute", 2);
    // Ben follows while Anna is refused: he leads himself.
    assert_eq!(ask(BEN, "six").send().await.status, 200);
}
