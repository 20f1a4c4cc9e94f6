//! Gates and faults.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use reprise::sandbox::{Options, Sandbox, Seen};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::call::{Broken, Caller, sandbox, soon};

const CHAT: &str = "/v1/chat/completions";
const IMAGES: &str = "/v1/images/generations";

fn chat(stream: bool) -> Value {
    json!({"model": "grok-4.5", "messages": [{"role": "user", "content": "hello there"}], "stream": stream})
}

fn image() -> Value {
    json!({"model": "grok-imagine-image", "prompt": "a cat"})
}

#[tokio::test]
async fn a_gate_holds_counts_and_releases() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let gate = sandbox.hold("POST /v1/images");
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.post(IMAGES, image()).await.status })
        })
        .collect();
    soon(gate.arrived(3)).await;
    assert!(calls.iter().all(|call| !call.is_finished()));
    assert_eq!(
        (sandbox.bill().images, sandbox.count("POST /v1/images")),
        (3, 3)
    );
    assert_eq!(
        caller.post(CHAT, chat(false)).await.status,
        200,
        "another route is not held"
    );
    gate.release();
    for call in calls {
        assert_eq!(soon(call).await.unwrap(), 200);
    }
    assert_eq!(
        caller.post(IMAGES, image()).await.status,
        200,
        "later ones go through"
    );
}

#[tokio::test]
async fn a_held_poll_shows_what_is_true_when_it_goes_on() {
    let options = Options {
        job_time: Duration::from_hours(1),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let caller = Caller::new(&sandbox);
    let id = caller
        .post("/v1/videos", json!({"model": "m", "prompt": "p"}))
        .await
        .json();
    let poll = format!("/v1/videos/{}", id["id"].as_str().unwrap());
    let gate = sandbox.hold("GET /v1/videos/");
    let polled = tokio::spawn(async move { caller.get(&poll).await.json() });
    soon(gate.arrived(1)).await;
    sandbox.finish_jobs();
    drop(gate);
    assert_eq!(soon(polled).await.unwrap()["status"], "completed");
}

#[tokio::test]
async fn a_requester_that_leaves_is_noticed() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let gate = sandbox.hold(CHAT);
    let call = tokio::spawn(async move { caller.post(CHAT, chat(false)).await });
    soon(gate.arrived(1)).await;
    assert!(!sandbox.requests()[0].is_abandoned());
    call.abort();
    let left = async {
        while !sandbox.requests()[0].is_abandoned() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(left).await;
}

#[tokio::test]
async fn a_stream_stops_at_its_gate() {
    let sandbox = sandbox().await;
    let gate = sandbox.hold_stream("POST /v1/chat", 2);
    let tcp = TcpStream::connect(sandbox.addr()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::post(CHAT)
        .header("host", "sandbox")
        .header("authorization", "Bearer k")
        .body(chat(true).to_string())
        .unwrap();
    let mut body = soon(sender.send_request(request))
        .await
        .unwrap()
        .into_body();
    soon(gate.arrived(1)).await;
    let mut got = String::new();
    while got.matches("data: ").count() < 2 {
        let frame = soon(body.frame()).await.unwrap().unwrap();
        got += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    let more = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
    assert!(more.is_err(), "nothing more came while the gate was shut");
    gate.release();
    let rest = soon(body.collect()).await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    connection.abort();
}

#[tokio::test]
async fn connections_are_cut_after_the_bill() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    sandbox.on(IMAGES).close_before_head();
    assert_eq!(
        caller.try_post(IMAGES, image()).await.unwrap_err(),
        Broken::BeforeHead
    );
    sandbox.on(IMAGES).reset();
    assert_eq!(
        caller.try_post(IMAGES, image()).await.unwrap_err(),
        Broken::BeforeHead
    );
    sandbox.on(IMAGES).cut_after(10);
    assert_eq!(
        caller.try_post(IMAGES, image()).await.unwrap_err(),
        Broken::InBody
    );
    assert_eq!(sandbox.bill().images, 3);
    assert!(sandbox.requests().iter().all(Seen::is_abandoned));
    assert_eq!(caller.post(IMAGES, image()).await.status, 200);
    assert!(!sandbox.requests()[3].is_abandoned());
}

/// What a bare socket sees: everything that came, and how it ended.
async fn raw(sandbox: &Sandbox, body: &Value) -> (String, std::io::Result<()>) {
    let mut socket = TcpStream::connect(sandbox.addr()).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {IMAGES} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let end = soon(socket.read_to_end(&mut got)).await.map(|_| ());
    (String::from_utf8_lossy(&got).into_owned(), end)
}

#[tokio::test]
async fn the_ways_to_end_differ_on_the_wire() {
    let sandbox = sandbox().await;
    sandbox.on(IMAGES).close_before_head();
    let (got, end) = raw(&sandbox, &image()).await;
    assert!(
        got.is_empty() && end.is_ok(),
        "an orderly end: {got} {end:?}"
    );
    sandbox.on(IMAGES).reset();
    let (got, end) = raw(&sandbox, &image()).await;
    assert_eq!(
        (got.as_str(), end.unwrap_err().kind()),
        ("", std::io::ErrorKind::ConnectionReset)
    );
    sandbox.on(IMAGES).cut_after(10);
    let (got, _) = raw(&sandbox, &image()).await;
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    assert_eq!(body.len(), 10);
}

#[tokio::test]
async fn a_stalled_answer_stays_open() {
    let sandbox = sandbox().await;
    sandbox.on("GET /v1/bytes").stall_after(70_000);
    let tcp = TcpStream::connect(sandbox.addr()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("/v1/bytes/100000").header("authorization", "Bearer k");
    let response = soon(sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()))
        .await
        .unwrap();
    let mut body = response.into_body();
    let mut got = 0;
    while got < 70_000 {
        got += soon(body.frame())
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len();
    }
    assert_eq!(got, 70_000);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), body.frame())
            .await
            .is_err()
    );
    assert!(!connection.is_finished());
    connection.abort();
}

#[tokio::test]
async fn other_answers_billed_or_not() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    sandbox.on(IMAGES).answer(429, "", "").times(2);
    for _ in 0..2 {
        let reply = caller.post(IMAGES, image()).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (429, 0));
    }
    assert_eq!(sandbox.bill().images, 0);
    sandbox
        .on(IMAGES)
        .answer_billed(502, "text/html", "<h1>Bad gateway</h1>");
    let reply = caller.post(IMAGES, image()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (502, "text/html")
    );
    assert_eq!(reply.text(), "<h1>Bad gateway</h1>");
    assert_eq!(sandbox.bill().images, 1);
    sandbox.on(IMAGES).answer(503, "", "").always();
    for _ in 0..3 {
        assert_eq!(caller.post(IMAGES, image()).await.status, 503);
    }
}

#[tokio::test]
async fn streams_without_an_end() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    for (path, body, end) in [
        (CHAT, chat(true), "[DONE]"),
        ("/v1/messages", chat(true), "message_stop"),
        (
            "/v1/responses",
            json!({"model": "m", "input": "hi", "stream": true}),
            "response.completed",
        ),
        (
            IMAGES,
            json!({"model": "m", "prompt": "p", "stream": true}),
            "image_generation.completed",
        ),
    ] {
        let whole = caller.post(path, body.clone()).await;
        sandbox.on(path).without_done();
        let endless = caller.post(path, body.clone()).await;
        assert_eq!(endless.events().len() + 1, whole.events().len());
        assert!(
            whole.text().contains(end) && !endless.text().contains(end),
            "{path}"
        );
        sandbox.on(path).error_event();
        let broken = caller.post(path, body).await.events();
        let last: Value = serde_json::from_str(broken.last().unwrap()).unwrap();
        assert!(last["error"]["message"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn a_delay_comes_before_the_head() {
    let sandbox = sandbox().await;
    sandbox.on(CHAT).delay(Duration::from_millis(80));
    let started = std::time::Instant::now();
    assert_eq!(
        Caller::new(&sandbox).post(CHAT, chat(false)).await.status,
        200
    );
    assert!(started.elapsed() >= Duration::from_millis(80));
}
