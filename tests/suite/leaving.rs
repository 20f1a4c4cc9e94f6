//! Who leaves costs nobody a second run: what was begun goes on without its clients and is kept.

use serde_json::{Value, json};

use crate::house::{Call, House, until};
use crate::paying_once::STORED;

const SPEECH: &str = "/v1/audio/speech";

fn sorts() -> Vec<(&'static str, &'static str, Value)> {
    let said = json!([{"role": "user", "content": "bye"}]);
    vec![
        (
            "image",
            "/v1/images/generations",
            json!({"model": "gpt-image-2", "prompt": "bye"}),
        ),
        (
            "video",
            "/v1/videos",
            json!({"model": "sora-2", "prompt": "bye"}),
        ),
        ("speech", SPEECH, json!({"model": "tts-1", "input": "bye"})),
        (
            "embedding",
            "/v1/embeddings",
            json!({"model": "e", "input": "bye"}),
        ),
        (
            "chat",
            "/v1/chat/completions",
            json!({"model": "m", "messages": said}),
        ),
        (
            "stream",
            "/v1/chat/completions",
            json!({"model": "m", "messages": said, "stream": true}),
        ),
    ]
}

/// Nobody upstream has noticed that a client left.
fn nobody_left(house: &House) -> bool {
    house
        .sandbox
        .requests()
        .iter()
        .all(|seen| !seen.is_abandoned())
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_finds_the_answer_when_it_comes_back() {
    let house = House::new().await;
    for (at, (name, path, body)) in sorts().into_iter().enumerate() {
        let call = || house.client().post(path).json(&body);
        let gate = house.hold("POST ");
        let leaver = call().begin();
        gate.arrived(1).await;
        leaver.leave().await;
        let back = call().begin();
        house.waiting(1).await;
        gate.release();
        let back = back.answer().await;
        assert_eq!(back.status, 200, "{name}");
        let again = call().send().await;
        assert_eq!(again.body, back.body, "{name}");
        assert_eq!(house.billed(), at as u64 + 1, "{name}");
        assert!(nobody_left(&house), "{name}");
    }
}

#[tokio::test]
async fn a_run_that_everybody_has_left_is_kept() {
    let mut house = House::new().await;
    for (at, (name, path, body)) in sorts().into_iter().enumerate() {
        let call = || house.client().post(path).json(&body);
        let gate = house.hold("POST ");
        let first = call().begin();
        gate.arrived(1).await;
        let others: Vec<_> = (1..20).map(|_| call().begin()).collect();
        house.waiting(20).await;
        first.leave().await;
        for other in others {
            other.leave().await;
        }
        gate.release();
        // The drain waits for what runs without clients.
        house.restart().await;
        let back = house.client().post(path).json(&body).send().await;
        assert_ne!(back.cache_status(), STORED, "{name}");
        assert_eq!(back.status, 200, "{name}");
        assert_eq!(house.billed(), at as u64 + 1, "{name}");
        assert!(nobody_left(&house), "{name}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_stream_finds_all_of_it() {
    let house = House::new().await;
    let said = json!([{"role": "user", "content": "bye"}]);
    for (at, (path, body)) in [
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": said, "stream": true}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "bye", "stream": true}),
        ),
        (
            "/v1/messages",
            json!({"model": "m", "messages": said, "stream": true}),
        ),
        (
            "/v1/images/generations",
            json!({"prompt": "bye", "stream": true, "partial_images": 3}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let call = || house.client().post(path).json(&body);
        let gate = house.hold_stream("POST ", 2);
        let mut leaver = call().open().await.unwrap();
        gate.arrived(1).await;
        leaver.read_to("data: ").await;
        let begun = leaver.so_far();
        drop(leaver);
        gate.release();
        let back = call().send().await;
        assert_ne!(back.cache_status(), STORED, "{path}");
        assert!(back.text().starts_with(&begun), "{path}");
        let hit = call().send().await;
        assert!(hit.is_hit(), "{path}");
        assert_eq!(hit.body, back.body, "{path}");
        assert_eq!(house.billed(), at as u64 + 1, "{path}");
        assert!(nobody_left(&house), "{path}");
    }
}

#[tokio::test]
async fn a_joiner_that_leaves_changes_nothing_for_the_others() {
    let house = House::new().await;
    let (_, path, body) = sorts().remove(0);
    let call = || house.client().post(path).json(&body);
    let gate = house.hold("POST ");
    let lead = call().begin();
    gate.arrived(1).await;
    let joiners = [call(), call()].map(Call::begin);
    let [leaver, stayer] = joiners;
    house.waiting(3).await;
    leaver.leave().await;
    gate.release();
    assert_eq!(lead.answer().await.body, stayer.answer().await.body);
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_request_that_is_passed_through_ends_with_its_client() {
    let house = House::new().await;
    let gate = house.hold("GET /v1/models");
    let leaver = house.client().get("/v1/models").begin();
    gate.arrived(1).await;
    leaver.leave().await;
    until(|| {
        house
            .sandbox
            .requests()
            .iter()
            .any(reprise::sandbox::Seen::is_abandoned)
    })
    .await;

    // Likewise a generation that the client does not want kept.
    let (_, path, body) = sorts().remove(0);
    let gate = house.hold("POST ");
    let leaver = house
        .client()
        .post(path)
        .json(&body)
        .cache_control("no-store")
        .begin();
    gate.arrived(1).await;
    leaver.leave().await;
    let cancelled = || {
        let seen = house.sandbox.requests();
        seen.iter()
            .any(|seen| seen.route.starts_with("POST ") && seen.is_abandoned())
    };
    until(cancelled).await;
}
