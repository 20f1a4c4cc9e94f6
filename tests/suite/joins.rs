//! Identical generations that arrive while one is under way: one call, one bill, the same answer.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::house::{Answer, Call, Client, House, Underway};
use crate::paying_once::{COLLAPSED, STORED};

const CHAT: &str = "/v1/chat/completions";

fn said(text: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": text}]);
    json!({"model": "grok-4.5", "messages": messages, "stream": stream})
}

/// Lets the first of `n` identical calls arrive upstream, then makes the others.
async fn crowd(house: &House, path: &str, body: &Value, n: usize) -> Vec<Answer> {
    let gate = house.hold(&format!("POST {path}"));
    let begin = || house.client().post(path).json(body).begin();
    let mut all: Vec<Underway> = vec![begin()];
    gate.arrived(1).await;
    all.extend((1..n).map(|_| begin()));
    house.waiting(n).await;
    assert!(all.iter().all(|call| !call.is_over()));
    gate.release();
    let mut answers = Vec::new();
    for call in all {
        answers.push(call.answer().await);
    }
    answers
}

#[tokio::test]
async fn twenty_identical_calls_are_one_call_upstream() {
    let house = House::new().await;
    let picture = json!({"model": "gpt-image-2", "prompt": "a crowd"});
    let clip = json!({"model": "doubao-seedance-2-0-720p", "prompt": "a crowd"});
    for (at, (name, path, body)) in [
        ("image", "/v1/images/generations", picture),
        ("chat", CHAT, said("a crowd", false)),
        ("chat stream", CHAT, said("a crowd", true)),
        ("video", "/v1/video/generations", clip.clone()),
        ("video, OpenAI's way", "/v1/videos", clip),
        (
            "speech",
            "/v1/audio/speech",
            json!({"model": "t", "input": "a crowd"}),
        ),
        (
            "embedding",
            "/v1/embeddings",
            json!({"model": "e", "input": "a crowd"}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let before = house.sandbox.count("POST ");
        let answers = crowd(&house, path, &body, 20).await;
        assert_eq!(house.sandbox.count("POST ") - before, 1, "{name}");
        assert_eq!(house.billed(), at as u64 + 1, "{name}");
        assert!(answers.iter().all(|answer| answer.status == 200), "{name}");
        assert!(
            answers.iter().all(|answer| answer.body == answers[0].body),
            "{name}"
        );
        let with = |status: &str| {
            let alike = |answer: &&Answer| answer.cache_status() == status;
            answers.iter().filter(alike).count()
        };
        assert_eq!(with(STORED), 1, "{name}");
        assert_eq!(with(COLLAPSED), 19, "{name}");
        let ids = answers
            .iter()
            .filter(|answer| !answer.header("x-oneapi-request-id").is_empty());
        assert_eq!(ids.count(), 1, "{name}: only one of them made that request");
    }
}

#[tokio::test]
async fn who_joins_says_so() {
    let house = House::new().await;
    let body = said("one by one", true);
    let gate = house.hold_stream("POST /v1/chat", 2);
    let call = || house.client().post(CHAT).json(&body);
    let mut first = call().open().await.unwrap();
    gate.arrived(1).await;
    first.read_to("chat.completion.chunk").await;
    let mut second = call().open().await.unwrap();
    assert_eq!(first.cache_status(), STORED);
    assert_eq!(second.cache_status(), COLLAPSED);
    assert_eq!(second.header("content-type"), first.header("content-type"));

    // From its start, and no further than the gate.
    second.read_to("PING").await;
    assert!(
        second.so_far().starts_with("data: {"),
        "{}",
        second.so_far()
    );
    assert!(!second.so_far().contains("[DONE]"));
    gate.release();
    let (first, second) = (first.rest().await.unwrap(), second.rest().await.unwrap());
    assert!(first.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(first.body, second.body);
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn who_joins_a_stream_follows_it_live() {
    let house = House::new().await;
    let body = said("live", true);
    let call = || house.client().post(CHAT).json(&body);
    let early = house.hold_stream("POST /v1/chat", 2);
    let late = house.hold_stream("POST /v1/chat", 4);
    let mut first = call().open().await.unwrap();
    early.arrived(1).await;
    let mut second = call().open().await.unwrap();
    second.read_to("PING").await;
    let before = second.so_far().len();
    early.release();
    late.arrived(1).await;
    while second.so_far().matches("data: ").count() < 4 {
        second.next().await.unwrap().unwrap();
    }
    assert!(second.so_far().len() > before);
    first.read_to("PING").await;
    late.release();
    assert_eq!(
        first.rest().await.unwrap().body,
        second.rest().await.unwrap().body
    );
}

/// An event stream of so many mebibytes, as upstream would send it.
fn large_stream(mebibytes: usize) -> Bytes {
    let event = |at: usize| {
        let words = "word ".repeat(1_600);
        let choice = json!({"index": 0, "delta": {"content": format!("{at} {words}")}});
        let chunk = json!({"object": "chat.completion.chunk", "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let events: String = (0..mebibytes * 128).map(event).collect();
    Bytes::from(events + "data: [DONE]\n\n")
}

#[tokio::test]
async fn a_joiner_that_never_reads_slows_nobody() {
    let house = House::new().await;
    let stream = large_stream(24);
    house
        .sandbox
        .on("POST /v1/chat")
        .answer_billed(200, "text/event-stream", stream.clone());
    let body = said("large", true);
    let gate = house.hold("POST /v1/chat");
    let call = || house.client().post(CHAT).json(&body);
    let first = call().begin();
    gate.arrived(1).await;
    let slow = tokio::spawn(call().open());
    let second = call().begin();
    house.waiting(3).await;
    gate.release();
    // Its head is here; its body is far more than sockets hold.
    let slow = slow.await.unwrap().unwrap();
    let first = first.answer().await;
    assert!(first.body == stream, "{} bytes", first.body.len());
    assert!(second.answer().await.body == stream);
    let hit = call().send().await;
    assert!(hit.is_hit());
    assert!(hit.body == stream);
    // It reads after all, and misses nothing.
    assert!(slow.rest().await.unwrap().body == stream);
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_lead_s_client_that_never_reads_slows_nobody() {
    let house = House::new().await;
    let stream = large_stream(24);
    house
        .sandbox
        .on("POST /v1/chat")
        .answer_billed(200, "text/event-stream", stream.clone());
    let body = said("large", true);
    let call = || house.client().post(CHAT).json(&body);
    let slow = call().open().await.unwrap();
    assert_eq!(slow.cache_status(), STORED);
    assert!(call().send().await.body == stream);
    drop(slow);
    assert!(call().send().await.is_hit());
    assert_eq!(house.billed(), 1);
}

fn image(client: &Client, prompt: &str) -> Call {
    let body = json!({"model": "gpt-image-2", "prompt": prompt});
    client.post("/v1/images/generations").json(&body)
}

#[tokio::test]
async fn a_refusal_reaches_everybody_and_the_next_one_runs() {
    let house = House::new().await;
    let refusal =
        r#"{"error":{"message":"slow down","type":"new_api_error","param":"","code":""}}"#;
    house
        .sandbox
        .on("POST /v1/images")
        .answer(429, "application/json", refusal);
    let body = json!({"model": "gpt-image-2", "prompt": "refused"});
    let answers = crowd(&house, "/v1/images/generations", &body, 20).await;
    for answer in &answers {
        assert_eq!((answer.status, answer.text().as_str()), (429, refusal));
    }
    assert_eq!((house.sandbox.count("POST "), house.billed()), (1, 0));
    let next = image(&house.client(), "refused").send().await;
    assert_eq!((next.status, next.cache_status()), (200, STORED));
}

#[tokio::test]
async fn a_lead_that_is_cut_off_costs_nobody_a_second_run() {
    let house = House::new().await;
    house.sandbox.on("POST /v1/images").close_before_head();
    let body = json!({"model": "gpt-image-2", "prompt": "cut"});
    let answers = crowd(&house, "/v1/images/generations", &body, 20).await;
    for answer in &answers {
        assert!([502, 409].contains(&answer.status), "{answer:?}");
        assert!(
            answer.error_code().contains("outcome_unknown"),
            "{answer:?}"
        );
        assert_eq!(answer.header("x-should-retry"), "false");
    }
    assert_eq!(answers[0].status, 502);
    assert_eq!((house.sandbox.count("POST "), house.billed()), (1, 1));
}

#[tokio::test]
async fn a_stream_that_is_cut_off_breaks_for_everybody() {
    let house = House::new().await;
    let body = said("cut", true);
    let call = || house.client().post(CHAT).json(&body);
    let gate = house.hold("POST /v1/chat");
    house.sandbox.on("POST /v1/chat").cut_after(700);
    let first = call().begin();
    gate.arrived(1).await;
    let second = call().begin();
    house.waiting(2).await;
    gate.release();
    let (first, second) = (first.try_answer().await, second.try_answer().await);
    assert!(
        first.is_err(),
        "a stream without its end must not end well: {first:?}"
    );
    assert!(
        second.is_err() || second.as_ref().unwrap().status == 502,
        "{second:?}"
    );
    assert_eq!(house.billed(), 1);
    assert!(call().send().await.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn what_differs_does_not_join() {
    let house = House::new().await;
    let gate = house.hold("POST /v1/");
    let client = house.client();
    let clip = json!({"model": "m", "prompt": "same"});
    let calls = [
        client.post(CHAT).json(&said("same", false)),
        client.post(CHAT).json(&said("same", true)),
        client.post("/v1/images/generations").json(&clip),
        client.post("/v1/videos").json(&clip),
        client.post("/v1/video/generations").json(&clip),
        client
            .post("/v1/videos")
            .json(&clip)
            .header("reprise-take", "2"),
    ];
    let calls = calls.map(Call::begin);
    gate.arrived(6).await;
    gate.release();
    for call in calls {
        assert_eq!(call.answer().await.cache_status(), STORED);
    }
    assert_eq!(house.billed(), 6);
}

#[tokio::test]
async fn who_joins_beside_a_no_cache_takes_the_newest() {
    let house = House::new().await;
    let client = house.client();
    let gate = house.hold("POST /v1/images");
    let first = image(&client, "newest").begin();
    gate.arrived(1).await;
    let fresh = image(&client, "newest").cache_control("no-cache").begin();
    gate.arrived(2).await;
    let joined = image(&client, "newest").begin();
    house.waiting(3).await;
    gate.release();
    let (first, fresh) = (first.answer().await, fresh.answer().await);
    assert_ne!(first.body, fresh.body);
    let joined = joined.answer().await;
    assert_eq!(joined.cache_status(), COLLAPSED);
    assert_eq!(joined.body, fresh.body);
    assert_eq!(house.billed(), 2);
}
