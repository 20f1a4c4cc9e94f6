//! The upstream key, which an answer may show and no client may see.

use reprise::sandbox::Options;

use crate::house::{House, UPSTREAM_KEY};

const JSON: &str = "host: localhost\r\ncontent-type: application/json\r\n";

async fn told(house: &House, request: String) -> crate::house::Answer {
    let mut socket = house.connect().await;
    socket.send(request).await;
    let answer = socket.answer().await;
    assert!(!answer.body.contains(UPSTREAM_KEY), "{answer:?}");
    assert!(!answer.head.contains(UPSTREAM_KEY), "{answer:?}");
    answer
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\n{JSON}content-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_refusal_that_repeats_the_key_does_not_show_it() {
    let options = Options {
        key: Some("sk-another".to_owned()),
        ..Options::default()
    };
    let house = House::before(options, |_| {}).await;
    let image = r#"{"model":"m","prompt":"p"}"#;
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#;
    for request in [
        format!("GET /v1/models HTTP/1.1\r\n{JSON}\r\n"),
        post("/v1/images/generations", image),
        post("/v1/chat/completions", chat),
        post("/v1/video/generations", image),
        format!("GET /v1/video/generations/task_x HTTP/1.1\r\n{JSON}\r\n"),
    ] {
        let answer = told(&house, request.clone()).await;
        assert_eq!(answer.status, 401, "{request}");
        assert!(answer.body.contains("***"), "{answer:?}");
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert!(json["error"].is_object(), "its shape is as it was");
    }
}

#[tokio::test]
async fn a_mirror_does_not_show_it() {
    let house = House::new().await;
    let answer = told(&house, format!("GET /v1/echo HTTP/1.1\r\n{JSON}\r\n")).await;
    assert!(answer.body.contains("Bearer ***"), "{answer:?}");
    // As long as the key, in an answer whose length is not known before its end.
    let seen = house.sandbox.requests();
    assert_eq!(
        seen[0].header("authorization"),
        Some(format!("Bearer {UPSTREAM_KEY}").as_str()),
        "upstream itself has it"
    );
}

#[tokio::test]
async fn what_is_kept_does_not_hold_it() {
    let house = House::new().await;
    let chat = r#"{"model":"m","messages":[]}"#;
    let shown = format!(
        r#"{{"choices":[{{"message":{{"content":"it is {UPSTREAM_KEY}, again {UPSTREAM_KEY}"}},"finish_reason":"stop"}}]}}"#
    );
    house
        .sandbox
        .on("POST /v1/chat")
        .answer(200, "application/json", shown.clone());
    for cached in ["fwd=miss; stored", "hit; key="] {
        let answer = told(&house, post("/v1/chat/completions", chat)).await;
        assert!(answer.head.contains(cached), "{answer:?}");
        assert_eq!(answer.body, shown.replace(UPSTREAM_KEY, "***"));
    }
}

#[tokio::test]
async fn a_stream_does_not_show_it_and_stays_a_stream() {
    let house = House::new().await;
    let path = "/v1/echo";
    let sent = format!("data: {UPSTREAM_KEY}\n\n");
    let (one, two) = sent.split_at(20);
    let request = format!(
        "POST {path} HTTP/1.1\r\n{JSON}x-sandbox-echo: body\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    let answer = told(&house, request).await;
    assert!(
        answer.head.contains("transfer-encoding: chunked"),
        "{answer:?}"
    );
    assert_eq!(answer.body, "data: ***\n\n");
}

#[tokio::test]
async fn a_long_answer_keeps_its_length() {
    let house = House::new().await;
    let long = format!("{}{UPSTREAM_KEY}{}", "x".repeat(90_000), "y".repeat(90_000));
    house
        .sandbox
        .on("GET /v1/files")
        .answer(200, "text/plain", long.clone());
    let answer = told(&house, format!("GET /v1/files/f HTTP/1.1\r\n{JSON}\r\n")).await;
    let stars = "*".repeat(UPSTREAM_KEY.len());
    assert_eq!(answer.body, long.replace(UPSTREAM_KEY, &stars));
}
