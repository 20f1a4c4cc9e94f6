//! Requests with bodies: asked for, broken, slow, answered early, left behind.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reprise::config::{self, Config, OwnLimits};
use serde_json::json;
use tokio::sync::mpsc;

use crate::house::{House, soon};
use crate::wire::{Stage, Wire, exchange};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A proxy before a stage.
async fn before(stage: &Stage) -> House {
    House::new().config(stage.behind()).await
}

fn with_a_client(config: &mut Config) {
    let client = config::Client {
        key_hash: blake3::hash(b"sk-key-of-una"),
        limits: OwnLimits::default(),
    };
    config.clients.insert("una".to_owned(), client);
}

fn code(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    json["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_stranger_is_not_asked_for_a_body() {
    let house = House::new().config(with_a_client).await;
    for path in ["/v1/echo", "/v1/files", "/v1/images/generations"] {
        let (head, body) = exchange(
            house.addr(),
            format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-x\r\n\
                 Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n"
            ),
        )
        .await;
        assert_eq!(
            (head.status(), code(&body).as_str()),
            (401, "invalid_api_key"),
            "{path}"
        );
    }
    let (head, body) = exchange(
        house.addr(),
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    assert_eq!(
        (head.status(), code(&body).as_str()),
        (417, "expectation_failed")
    );
    assert_eq!(house.sandbox.requests().len(), 0);
}

#[tokio::test]
async fn a_client_that_is_let_in_gets_one_hundred() {
    let stage = Stage::open();
    let house = before(&stage).await;
    let mut client = Wire::open(house.addr()).await;
    client
        .say("POST /v1/files HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let mut upstream = stage.accept().await;
    let asked = upstream.head().await;
    assert_eq!(
        asked.all("expect"),
        ["100-Continue"],
        "said once, as it came"
    );
    // Upstream says nothing, and that for long enough.
    assert_eq!(client.head().await.status(), 100);
    client.say("body").await;
    assert_eq!(upstream.body(&asked).await, b"body");
    // It came too late: the client has its own already.
    upstream
        .say(format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"))
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.status(), &client.body(&head).await[..]),
        (200, &b"ok"[..])
    );
}

const EXPECTING: &str = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
    Content-Length: 4\r\n\r\n";

#[tokio::test]
async fn the_hundred_of_a_client_follows_the_one_of_upstream() {
    let stage = Stage::open();
    let house = before(&stage).await;
    let mut client = Wire::open(house.addr()).await;
    client.say(EXPECTING).await;
    let mut upstream = stage.accept().await;
    let asked = upstream.head().await;
    assert!(client.is_silent().await, "nobody has asked for the body");
    // Other interim answers say nothing about it.
    upstream.say("HTTP/1.1 102 Processing\r\n\r\n").await;
    assert!(client.is_silent().await);
    upstream.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.say("body").await;
    assert_eq!(upstream.body(&asked).await, b"body");
    upstream.say(OK).await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test]
async fn an_answer_in_place_of_a_hundred_spares_the_upload() {
    let stage = Stage::open();
    let house = before(&stage).await;
    let mut client = Wire::open(house.addr()).await;
    client.say(EXPECTING).await;
    let mut upstream = stage.accept().await;
    upstream.head().await;
    upstream
        .say("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.status(), &client.body(&head).await[..]),
        (413, &b"no"[..])
    );
    assert_eq!(
        upstream.rest().await,
        b"",
        "and the connection is not used again"
    );
}

/// Nothing that is not whole is made to look whole.
#[tokio::test]
async fn a_broken_body_is_the_clients_fault_and_ends_nothing_upstream() {
    let stage = Stage::open();
    let house = before(&stage).await;
    let head = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
    for (what, body, finish) in [
        (
            "no size",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
            false,
        ),
        (
            "a long chunk",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello, you\r\n0\r\n\r\n",
            false,
        ),
        (
            "a cut chunk",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n9\r\nwor",
            true,
        ),
        (
            "no last chunk",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            true,
        ),
        ("a short body", "Content-Length: 10\r\n\r\nhello", true),
    ] {
        let mut client = Wire::open(house.addr()).await;
        client.say(format!("{head}{body}")).await;
        if finish {
            client.finish().await;
        }
        let mut upstream = stage.accept().await;
        let asked = upstream.head().await;
        let told = String::from_utf8(upstream.rest().await).unwrap();
        assert!(
            !told.contains("\r\n0\r\n"),
            "{what}: {told:?} ended as if whole"
        );
        assert!(
            asked.has("transfer-encoding") || told.len() < 10,
            "{what}: {told:?}"
        );
        let answer = client.head().await;
        let body = client.body(&answer).await;
        assert_eq!(
            (answer.status(), code(&body).as_str()),
            (400, "incomplete_body"),
            "{what}"
        );
        assert_eq!(
            client.rest().await,
            b"",
            "{what}: no further request is read"
        );
    }
}

/// Sends what a test says, when it says it.
fn upload(
    house: &House,
    http2: bool,
) -> (mpsc::Sender<Bytes>, tokio::task::JoinHandle<(u16, Bytes)>) {
    let (send, receive) = mpsc::channel::<Bytes>(1);
    let frames = unfold(receive, |mut receive| async {
        let piece = receive.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), receive))
    });
    let body = StreamBody::new(Box::pin(frames));
    let request = Request::post(format!("http://{}/v1/files", house.addr()));
    let request = request.body(body).unwrap();
    let client = Client::builder(TokioExecutor::new());
    let client = client.clone().http2_only(http2).build_http();
    let call = tokio::spawn(async move {
        let response = client.request(request).await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    });
    (send, call)
}

#[tokio::test]
async fn the_time_for_an_answer_begins_with_the_end_of_the_request() {
    let stage = Stage::open();
    let behind = stage.behind();
    let house = House::new()
        .config(|config| config.upstream.response_timeout = Duration::from_millis(400))
        .config(behind)
        .await;
    for http2 in [false, true] {
        let (send, call) = upload(&house, http2);
        send.send("a".into()).await.unwrap();
        let mut upstream = stage.accept().await;
        let asked = upstream.head().await;
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            send.send("b".into()).await.unwrap();
        }
        drop(send);
        assert_eq!(upstream.body(&asked).await, b"abbbbb");
        let whole = Instant::now();
        let (status, body) = soon(call).await.unwrap();
        assert_eq!((status, code(&body).as_str()), (504, "upstream_timeout"));
        assert!(
            whole.elapsed() >= Duration::from_millis(300),
            "{:?}",
            whole.elapsed()
        );
        assert!(
            whole.elapsed() < Duration::from_secs(15),
            "{:?}",
            whole.elapsed()
        );
    }
}

#[tokio::test]
async fn each_side_of_an_upload_has_its_own_patience() {
    let stage = Stage::open();
    let behind = stage.behind();
    let house = House::new()
        .config(|config| config.upstream.idle_timeout = Duration::from_millis(700))
        .config(behind)
        .await;
    // The client says nothing more.
    let (send, call) = upload(&house, false);
    send.send("a".into()).await.unwrap();
    let mut upstream = stage.accept().await;
    upstream.head().await;
    let (status, body) = soon(call).await.unwrap();
    assert_eq!((status, code(&body).as_str()), (408, "request_timeout"));
    assert!(
        !upstream.rest().await.ends_with(b"0\r\n\r\n"),
        "aborted, not ended"
    );
    drop(send);
    // Upstream takes nothing more.
    for (path, expected) in [
        ("/v1/files", "upstream_timeout"),
        ("/v1/images/generations", "upstream_outcome_unknown"),
    ] {
        let large = json!({"model": "gpt-image-2", "prompt": "x".repeat(30_000_000)}).to_string();
        let call = house.client().post(path).json_text(large).begin();
        let mut upstream = stage.accept().await;
        upstream.head().await;
        let answer = call.answer().await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (504, expected)
        );
    }
}

/// What upstream says before it has everything is with the client at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_does_not_wait_for_the_upload() {
    const PIECE: usize = 64 * 1024;
    let stage = Stage::open();
    let house = before(&stage).await;
    for http2 in [false, true] {
        for connection in ["close", "keep-alive"] {
            let (send, call) = upload(&house, http2);
            let sending = tokio::spawn(async move {
                // 50 MB, as fast as they are taken.
                let piece = Bytes::from(vec![7; PIECE]);
                for _ in 0..50_000_000 / PIECE {
                    if send.send(piece.clone()).await.is_err() {
                        return;
                    }
                }
            });
            let mut upstream = stage.accept().await;
            upstream.head().await;
            upstream.take(1_000_000).await;
            let said = Instant::now();
            upstream
                .say(format!(
                    "HTTP/1.1 413 Too Large\r\nConnection: {connection}\r\nContent-Length: 3\r\n\r\nno!"
                ))
                .await;
            // It reads nothing more, and does not hang up.
            let (status, body) = soon(call).await.unwrap();
            assert_eq!(
                (status, &body[..]),
                (413, &b"no!"[..]),
                "{http2} {connection}"
            );
            assert!(
                said.elapsed() < Duration::from_secs(3),
                "{:?}",
                said.elapsed()
            );
            soon(sending).await.unwrap();
            // Nobody goes on with that connection: what is left is what was under way.
            let left = upstream.rest().await.len();
            assert!(left < 16_000_000, "{left}");
        }
    }
}

#[tokio::test]
async fn a_connection_is_of_use_after_an_early_answer_or_closed() {
    let stage = Stage::open();
    let house = before(&stage).await;
    // All of the body comes, late.
    let mut client = Wire::open(house.addr()).await;
    client
        .say("POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    let mut upstream = stage.accept().await;
    upstream.head().await;
    upstream
        .say("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!")
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.status(), &client.body(&head).await[..]),
        (403, &b"no!"[..])
    );
    client
        .say("worldGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    if let Some(head) = client.try_head().await {
        assert_eq!(head.status(), 200);
        assert_eq!(client.body(&head).await, br#"{"status":"ok"}"#);
    }
    // The connection to upstream was not used again in the middle of a request.
    let call = house.client().get("/v1/models").begin();
    let mut fresh = stage.accept().await;
    fresh.head().await;
    fresh.say(OK).await;
    assert_eq!(call.answer().await.text(), "ok");
}

/// The end of a request is the end of its client, at each of its stages.
#[tokio::test]
async fn who_leaves_cancels_what_was_passed_on() {
    for http2 in [false, true] {
        let stage = Stage::open();
        let house = before(&stage).await;
        // In the middle of the upload.
        let (send, call) = upload(&house, http2);
        send.send("a".into()).await.unwrap();
        let mut upstream = stage.accept().await;
        upstream.head().await;
        call.abort();
        drop(send);
        assert!(
            !upstream.rest().await.ends_with(b"0\r\n\r\n"),
            "aborted, not ended"
        );
        // While it waits for the head.
        let (send, call) = upload(&house, http2);
        send.send("a".into()).await.unwrap();
        drop(send);
        let mut upstream = stage.accept().await;
        let head = upstream.head().await;
        assert_eq!(upstream.body(&head).await, b"a");
        call.abort();
        assert_eq!(upstream.rest().await, b"");
        // In the middle of the answer.
        let client = if http2 {
            house.client_h2()
        } else {
            house.client()
        };
        let call = tokio::spawn(client.get("/v1/files/f/content").open());
        let mut upstream = stage.accept().await;
        upstream.head().await;
        upstream
            .say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")
            .await;
        let mut answer = soon(call).await.unwrap().unwrap();
        assert_eq!(answer.next().await.unwrap().unwrap(), "hello");
        drop((answer, client));
        assert_eq!(upstream.rest().await, b"");
    }
}

/// A kept connection may be closed in the moment it is used. What has no effect is asked once more.
#[tokio::test]
async fn only_a_question_is_repeated_and_only_on_a_connection_that_was_used() {
    for (method, body, again) in [
        ("GET", "", true),
        ("HEAD", "", true),
        ("OPTIONS", "", true),
        ("DELETE", "", false),
        ("POST", "Content-Length: 2\r\n", false),
        ("GET", "Content-Length: 2\r\n", false),
    ] {
        let stage = Stage::open();
        let house = before(&stage).await;
        let sent = if body.is_empty() { "" } else { "hi" };
        let text = format!("{method} /v1/files/f HTTP/1.1\r\nHost: localhost\r\n{body}\r\n{sent}");
        let warm = house.client().get("/v1/models").begin();
        let mut upstream = stage.accept().await;
        upstream.head().await;
        upstream.say(OK).await;
        assert_eq!(warm.answer().await.status, 200);
        let mut client = Wire::open(house.addr()).await;
        client.say(&text).await;
        let first = upstream.head().await;
        upstream.body(&first).await;
        drop(upstream);
        if again {
            let mut fresh = stage.accept().await;
            let second = fresh.head().await;
            assert_eq!(format!("{second:?}"), format!("{first:?}"));
            // The second time there is no third.
            drop(fresh);
        }
        assert_eq!(client.head().await.status(), 502, "{method} {body}");
        assert!(!stage.is_called().await, "{method} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_began_is_not_asked_for_again() {
    let stage = Stage::open();
    let house = before(&stage).await;
    let warm = house.client().get("/v1/models").begin();
    let mut upstream = stage.accept().await;
    upstream.head().await;
    upstream.say(OK).await;
    assert_eq!(warm.answer().await.status, 200);
    let call = house.client().get("/v1/models").begin();
    upstream.head().await;
    upstream.say("HTTP/1.1 2").await;
    drop(upstream);
    assert_eq!(call.answer().await.error_code(), "upstream_broke_off");
    // Nor on a connection that is new.
    let call = house.client().get("/v1/models").begin();
    let mut upstream = stage.accept().await;
    upstream.head().await;
    drop(upstream);
    assert_eq!(call.answer().await.error_code(), "upstream_broke_off");
    assert!(!stage.is_called().await);
}

#[tokio::test]
async fn a_storm_of_interim_answers_is_bounded() {
    let stage = Stage::open();
    let house = before(&stage).await;
    for (count, status) in [(2_000, 200), (20_000, 502)] {
        let call = house.client().get("/v1/models").begin();
        let mut upstream = stage.accept().await;
        upstream.head().await;
        let storm = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(count);
        upstream.say(storm).await;
        if status == 200 {
            upstream
                .say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
        assert_eq!(call.answer().await.status, status, "{count}");
    }
}
