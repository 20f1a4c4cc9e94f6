//! What is no generation goes through as it came, both ways, while it comes.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Method, Request, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::house::{Broken, House, UPSTREAM_KEY, soon, until};
use crate::wire::{Parrot, Wire, exchange};

const BYPASS: &str = "reprise; fwd=bypass; detail=not-a-generation";

#[tokio::test]
async fn method_and_target_arrive_byte_for_byte() {
    let house = House::new().await;
    for target in [
        "/v1/echo",
        "/v1/echo/",
        "/v1/echo/a%2Fb%20c/%E2%82%AC?x=%20&y=a+b&&z",
        "/v1/echo/%41%7e~A/%c3%A9?%41=%7E",
        "/v1/echo/;p=1/@:!$&'()*+,=-._~",
        "/v1/echo//double///slashes/",
        "/v1/echo/a/../b/./c",
        "/v1/echo/100%/%zz?%",
        "/v1/echo?a=b?c=d/e&a=b&A=B",
        "/v1/echo?",
        "/v1/echo?key",
        "/v1/echo?=&=&?",
        "/v1/echo?monkey=1&keys=2",
    ] {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "get",
        ] {
            let text = format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            );
            let (head, _) = exchange(house.addr(), text).await;
            assert_eq!(head.status(), 200, "{method} {target}");
            assert_eq!(head.all("cache-status"), [BYPASS]);
            let seen = house.sandbox.requests().pop().unwrap();
            assert_eq!(
                (seen.method.as_str(), seen.uri.to_string().as_str()),
                (method, target)
            );
        }
    }
}

#[tokio::test]
async fn headers_arrive_as_they_were_but_for_those_of_the_connection() {
    let parrot = Parrot::saying("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    let house = House::new().config(parrot.behind()).await;
    let mut text = b"POST /v1/anything HTTP/1.1\r\n\
        Host: localhost\r\n\
        User-Agent: test/1 (a; b)\r\n\
        X-Repeated: first\r\n\
        X-Other: 1\r\n\
        x-repeated: second, third\r\n\
        Cookie: a=1; b=2\r\n\
        Cookie: c=3\r\n\
        Accept-Encoding: gzip, br;q=0.5\r\n\
        Cache-Control: no-cache\r\n\
        If-None-Match: \"x\"\r\n\
        Idempotency-Key: 42\r\n\
        X-Forwarded-For: 192.0.2.1\r\n\
        Content-Type: text/plain\r\n\
        X-Empty:\r\n\
        X-Latin: caf\xe9\r\n"
        .to_vec();
    let end_to_end = text.clone();
    text.extend_from_slice(
        b"Connection: X-Private , keep-alive,x-also\r\n\
        X-Private: 1\r\nX-Also: 2\r\n\
        Keep-Alive: timeout=5\r\n\
        Proxy-Connection: keep-alive\r\n\
        Proxy-Authorization: Basic abc\r\n\
        Proxy-Authenticate: Basic\r\n\
        Authorization: Bearer sk-client\r\n\
        Reprise-Take: 2\r\n\
        Reprise-Anything: 1\r\n\
        Content-Length: 2\r\n\r\nhi",
    );
    let (answer, _) = exchange(house.addr(), &text).await;
    assert_eq!(answer.status(), 204, "{answer:?}");

    let (heard, sent) = parrot.last();
    assert_eq!(heard.first, "POST /v1/anything HTTP/1.1");
    assert_eq!(sent, b"hi");
    let mut expected: Vec<(String, Vec<u8>)> = end_to_end
        .split(|byte| *byte == b'\n')
        .skip(2)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            (name, line[colon + 1..].trim_ascii().to_vec())
        })
        .collect();
    for (name, value) in [
        ("host", parrot.addr().to_string()),
        ("authorization", format!("Bearer {UPSTREAM_KEY}")),
        ("content-length", "2".to_owned()),
    ] {
        expected.push((name.to_owned(), value.into_bytes()));
    }
    let mut got = heard.fields;
    // Stable: repeated ones keep their order.
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    got.sort_by(|a, b| a.0.cmp(&b.0));
    let shown = |fields: &[(String, Vec<u8>)]| -> Vec<String> {
        let line = |(name, value): &(String, Vec<u8>)| format!("{name}: {}", value.escape_ascii());
        fields.iter().map(line).collect()
    };
    assert_eq!(shown(&got), shown(&expected));
}

#[tokio::test]
async fn answers_come_back_as_they_were_but_for_those_of_the_connection() {
    let answer = b"HTTP/1.1 299 Rather Good\r\n\
        Content-Type: application/x-odd; q=\"a,b\"\r\n\
        Set-Cookie: a=1; Path=/\r\n\
        X-Other: 1\r\n\
        Set-Cookie: b=2\r\n\
        Content-Encoding: gzip\r\n\
        ETag: W/\"x\"\r\n\
        Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
        X-Request-Id: up-1\r\n\
        X-RateLimit-Remaining-Requests: 7\r\n\
        X-Latin: caf\xe9\r\n\
        Connection: close, X-Private\r\n\
        X-Private: 1\r\n\
        Keep-Alive: timeout=5\r\n\
        Proxy-Authenticate: Basic\r\n\
        Upgrade: h2c\r\n\
        Content-Length: 4\r\n\r\n\x1f\x8b\x00\xff";
    let parrot = Parrot::saying(&answer[..]).await;
    let house = House::new().config(parrot.behind()).await;
    let (head, body) = exchange(
        house.addr(),
        "GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    assert_eq!(head.first, "HTTP/1.1 299 Rather Good");
    assert_eq!(body, b"\x1f\x8b\x00\xff");
    for (name, values) in [
        ("content-type", &["application/x-odd; q=\"a,b\""][..]),
        ("set-cookie", &["a=1; Path=/", "b=2"]),
        ("content-encoding", &["gzip"]),
        ("etag", &["W/\"x\""]),
        ("date", &["Thu, 01 Jan 1970 00:00:00 GMT"]),
        ("x-request-id", &["up-1"]),
        ("x-ratelimit-remaining-requests", &["7"]),
        ("content-length", &["4"]),
        ("x-other", &["1"]),
        ("cache-status", &[BYPASS]),
        ("x-private", &[]),
        ("connection", &[]),
        ("keep-alive", &[]),
        ("proxy-authenticate", &[]),
        ("upgrade", &[]),
        ("age", &[]),
    ] {
        assert_eq!(head.all(name), values, "{name}");
    }
    let latin = head.fields.iter().find(|(name, _)| name == "x-latin");
    assert_eq!(latin.map(|(_, value)| &value[..]), Some(&b"caf\xe9"[..]));
    // HTTP/2 has no reason phrase, and all the rest.
    let h2 = house.client_h2().get("/v1/x").send().await;
    assert_eq!((h2.status, h2.header("x-request-id")), (299, "up-1"));
    assert!(h2.headers.get("connection").is_none() && h2.headers.get("keep-alive").is_none());
}

#[tokio::test]
async fn an_answer_without_an_id_gets_one() {
    let house = House::new().await;
    let mut ids = Vec::new();
    for client in [house.client(), house.client_h2()] {
        let answer = client.get("/v1/models").send().await;
        let id = answer.header("x-request-id").to_owned();
        assert!(id.len() > 8, "{id}");
        assert!(!answer.header("x-oneapi-request-id").is_empty());
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn interim_answers_do_no_harm() {
    let parrot = Parrot::saying(
        "HTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"data\":[{}]}",
    )
    .await;
    let house = House::new().config(parrot.behind()).await;
    let answer = house.client().get("/v1/models").send().await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"data\":[{}]}")
    );
}

/// HTTP/2 may split it, and upstream speaks HTTP/1.1 (RFC 9113 §8.2.3).
#[tokio::test]
async fn a_cookie_in_crumbs_is_made_whole() {
    let parrot = Parrot::saying("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    let house = House::new().config(parrot.behind()).await;
    let call = house.client_h2().get("/v1/anything");
    let call = call.header("cookie", "a=1").header("cookie", "b=2");
    assert_eq!(call.send().await.status, 204);
    assert_eq!(parrot.last().0.all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn a_client_that_waits_for_a_hundred_gets_it() {
    let house = House::new().await;
    for path in ["/v1/echo", "/v1/images/generations"] {
        let mut wire = Wire::open(house.addr()).await;
        let body = json!({"model": "gpt-image-2", "prompt": "a"}).to_string();
        wire.say(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))
        .await;
        assert_eq!(wire.head().await.status(), 100, "{path}");
        wire.say(&body).await;
        assert_eq!(wire.head().await.status(), 200, "{path}");
        assert_eq!(house.sandbox.requests().pop().unwrap().body, body);
    }
}

#[tokio::test]
async fn both_framings_of_a_body_arrive() {
    let house = House::new().await;
    let head = "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n";
    let (_, told) = exchange(
        house.addr(),
        format!("{head}Content-Length: 11\r\n\r\nhello there"),
    )
    .await;
    let whole: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(
        house
            .sandbox
            .requests()
            .pop()
            .unwrap()
            .header("content-length"),
        Some("11")
    );
    let (_, told) = exchange(
        house.addr(),
        format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n6;x=y\r\nhello \r\n5\r\nthere\r\n0\r\n\r\n"
        ),
    )
    .await;
    let chunked: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(chunked["body_blake3"], whole["body_blake3"]);
    let seen = house.sandbox.requests().pop().unwrap();
    assert_eq!(seen.header("content-length"), None);
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    // And none at all stays none.
    exchange(
        house.addr(),
        "GET /v1/echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    let seen = house.sandbox.requests().pop().unwrap();
    assert!(seen.header("content-length").is_none() && seen.header("transfer-encoding").is_none());
}

/// 20 MiB, in pieces of 64 KiB.
const PIECES: usize = 320;

fn piece(at: usize) -> Bytes {
    (0..64 * 1024)
        .map(|i| u8::try_from((i * 7 + at) % 251).unwrap())
        .collect()
}

/// Sends 20 MiB up and the same down. The first piece comes back before the second one is sent.
async fn there_and_back(house: &House, http2: bool, length: Option<usize>) {
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = unfold(receive, |mut receive| async {
        let piece = receive.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), receive))
    });
    let mut request =
        Request::post(format!("http://{}/v1/echo", house.addr())).header("x-sandbox-echo", "body");
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    let request = request.body(StreamBody::new(Box::pin(frames))).unwrap();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .build_http();
    send.send(piece(0)).await.unwrap();
    let response = soon(client.request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let (mut came, mut hash) = (0, blake3::Hasher::new());
    while came < piece(0).len() {
        let frame = soon(body.frame()).await.unwrap().unwrap();
        let data = frame.into_data().unwrap();
        came += data.len();
        hash.update(&data);
    }
    let sending = tokio::spawn(async move {
        for at in 1..PIECES {
            send.send(piece(at)).await.unwrap();
        }
    });
    while let Some(frame) = soon(body.frame()).await {
        let data = frame.unwrap().into_data().unwrap();
        came += data.len();
        hash.update(&data);
    }
    soon(sending).await.unwrap();
    let mut expected = blake3::Hasher::new();
    (0..PIECES).for_each(|at| {
        expected.update(&piece(at));
    });
    assert_eq!(came, PIECES * 64 * 1024);
    assert_eq!(hash.finalize(), expected.finalize());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_both_ways_at_once() {
    let house = House::new().await;
    there_and_back(&house, false, None).await;
    there_and_back(&house, false, Some(PIECES * 64 * 1024)).await;
    there_and_back(&house, true, None).await;
}

#[tokio::test]
async fn a_large_answer_comes_whole_and_says_its_length() {
    let house = House::new().await;
    for client in [house.client(), house.client_h2()] {
        let answer = client.get("/v1/bytes/20000000").send().await;
        assert_eq!(answer.header("content-length"), "20000000");
        let expected: Vec<u8> = (0..=250_u8).cycle().take(20_000_000).collect();
        assert!(answer.body == expected);
    }
}

/// Upstream falls silent in the middle: what it said until then is with the client.
#[tokio::test]
async fn an_answer_is_shown_while_it_comes() {
    let house = House::new().await;
    for client in [house.client(), house.client_h2()] {
        house.sandbox.on("GET /v1/bytes").stall_after(100_000);
        let mut answer = client.get("/v1/bytes/200000").open().await.unwrap();
        let mut came = 0;
        while came < 100_000 {
            came += answer.next().await.unwrap().unwrap().len();
        }
        assert_eq!(came, 100_000);
    }
    // An event stream that is not kept, frame by frame.
    let gate = house.hold_stream("POST /v1/chat", 2);
    let chat = json!({"model": "grok-4.5", "stream": true, "messages": [{"role": "user", "content": "a"}]});
    let call = house
        .client()
        .post("/v1/chat/completions")
        .cache_control("no-store")
        .json(&chat);
    let mut stream = call.open().await.unwrap();
    assert_eq!(
        stream.cache_status(),
        "reprise; fwd=bypass; detail=no-store"
    );
    gate.arrived(1).await;
    while stream.so_far().matches("data: ").count() < 2 {
        stream.next().await.unwrap().unwrap();
    }
    gate.release();
    assert!(
        stream
            .rest()
            .await
            .unwrap()
            .text()
            .ends_with("data: [DONE]\n\n")
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    let house = House::new().await;
    for client in [house.client(), house.client_h2()] {
        house.sandbox.on("GET /v1/bytes").cut_after(100_000);
        let broken = client.get("/v1/bytes/200000").try_send().await;
        assert_eq!(broken.map(|answer| answer.body.len()), Err(Broken::InBody));
    }
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhello",
    ] {
        let parrot = Parrot::saying(answer).await;
        let house = House::new().config(parrot.behind()).await;
        for client in [house.client(), house.client_h2()] {
            let broken = client.get("/v1/models").try_send().await;
            assert_eq!(
                broken.map(|answer| answer.text()),
                Err(Broken::InBody),
                "{answer}"
            );
        }
    }
    // One that ends with its connection cannot be told from a cut one; it passes.
    let parrot = Parrot::saying("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello").await;
    let house = House::new().config(parrot.behind()).await;
    assert_eq!(
        house.client().get("/v1/models").send().await.text(),
        "hello"
    );
}

#[tokio::test]
async fn trailers_come_through() {
    let house = House::new().await;
    let mut wire = Wire::open(house.addr()).await;
    wire.say(
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE, close\r\n\
         X-Sandbox-Echo: body\r\nX-Sandbox-Trailer: over\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    assert_eq!(wire.head().await.status(), 200);
    let rest = String::from_utf8(wire.rest().await).unwrap();
    assert!(
        rest.to_ascii_lowercase()
            .ends_with("0\r\nx-sandbox-end: over\r\n\r\n"),
        "{rest:?}"
    );
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let house = House::new().await;
    let mut wire = Wire::open(house.addr()).await;
    house
        .sandbox
        .on("DELETE /v1/echo")
        .answer(204, "text/plain", "");
    house
        .sandbox
        .on("GET /v1/echo/304")
        .answer(304, "text/plain", "");
    house
        .sandbox
        .on("GET /v1/echo/205")
        .answer(205, "text/plain", "");
    for (method, target, status, length) in [
        ("HEAD", "/v1/bytes/12345", 200, Some("12345")),
        ("HEAD", "/v1/models", 404, None),
        ("DELETE", "/v1/echo", 204, None),
        ("GET", "/v1/echo/304", 304, None),
        ("GET", "/v1/echo/205", 205, None),
    ] {
        wire.say(format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
        let head = wire.head().await;
        assert_eq!(head.status(), status, "{method} {target}");
        if let Some(length) = length {
            assert_eq!(head.all("content-length"), [length]);
        }
        if status == 204 {
            assert!(
                !head.has("transfer-encoding") && !head.has("content-length"),
                "{head:?}"
            );
        }
        if status == 205 {
            assert_eq!(wire.body(&head).await, b"");
        }
        wire.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let next = wire.head().await;
        assert_eq!(
            (next.status(), &wire.body(&next).await[..]),
            (200, &br#"{"status":"ok"}"#[..]),
            "{method} {target}"
        );
    }
}

/// Errors of every form that the gateway is known for.
const ERRORS: [(u16, &str, &str); 12] = [
    (
        400,
        "application/json",
        r#"{"code":"invalid_request","message":"prompt is required","data":null}"#,
    ),
    (
        401,
        "application/json",
        r#"{"error":{"message":"bad","type":"new_api_error","param":"","code":""}}"#,
    ),
    (402, "text/plain; charset=utf-8", "pay first"),
    (
        403,
        "application/json; charset=utf-8",
        r#"{"error":{"message":"low","type":"new_api_error","code":"insufficient_user_quota"}}"#,
    ),
    (
        404,
        "application/json",
        "{\"error\" : { \"message\":\"\u{4f60}\u{597d}\" , \"code\":404}}\n",
    ),
    (413, "application/json", "not json at all"),
    (418, "", ""),
    (429, "", ""),
    (500, "application/json", ""),
    (
        501,
        "application/json",
        r#"{"error":{"code":"api_not_implemented"}}"#,
    ),
    (
        503,
        "application/json",
        r#"{"error":{"message":"no channel","code":"model_not_found"}}"#,
    ),
    (
        520,
        "text/html",
        "<html><body>Web server is returning an unknown error</body></html>",
    ),
];

#[tokio::test]
async fn upstreams_errors_pass_unchanged_and_are_never_kept() {
    let house = House::new().await;
    let image = json!({"model": "gpt-image-2", "prompt": "an error"});
    let chat = json!({"model": "grok-4.5", "messages": [{"role": "user", "content": "an error"}]});
    let video = json!({"model": "doubao-seedance-2-0-720p", "prompt": "an error"});
    for (status, content_type, body) in ERRORS {
        let client = house.client();
        for (route, call) in [
            ("GET /v1/models", client.get("/v1/models")),
            (
                "POST /v1/files",
                client.post("/v1/files").raw("text/plain", "x"),
            ),
            (
                "POST /v1/images/generations",
                client.post("/v1/images/generations").json(&image),
            ),
            (
                "POST /v1/chat/completions",
                client.post("/v1/chat/completions").json(&chat),
            ),
            (
                "POST /v1/video/generations",
                client.post("/v1/video/generations").json(&video),
            ),
        ] {
            house.sandbox.on(route).answer(status, content_type, body);
            let answer = call.send().await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (status, body),
                "{route}"
            );
            assert_eq!(
                answer.header("content-type"),
                content_type,
                "{route} {status}"
            );
            assert_eq!(answer.header("x-should-retry"), "", "{route} {status}");
            assert!(
                !answer.cache_status().contains("stored"),
                "{}",
                answer.cache_status()
            );
        }
    }
    assert_eq!(house.billed(), 0);
    for (path, body) in [
        ("/v1/images/generations", &image),
        ("/v1/chat/completions", &chat),
        ("/v1/video/generations", &video),
    ] {
        let answer = house.client().post(path).json(body).send().await;
        assert_eq!(answer.cache_status(), "reprise; fwd=miss; stored", "{path}");
    }
}

/// Names and shapes of the answers that are upstream's own.
#[tokio::test]
async fn models_and_files_are_upstreams() {
    let house = House::new().await;
    let models = house.client().get("/v1/models").send().await;
    assert_eq!(models.json()["object"], "list");
    // Never kept, though it is the same each time.
    for _ in 0..2 {
        assert_eq!(
            house.client().get("/v1/models").send().await.body,
            models.body
        );
    }
    assert_eq!(house.sandbox.count("GET /v1/models"), 3);
    let unknown = house.client().get("/v1/models/no-such").send().await;
    assert_eq!(
        (unknown.status, unknown.error_code().as_str()),
        (200, "model_not_found")
    );
    let files = house
        .client()
        .post("/v1/files")
        .raw("multipart/form-data; boundary=b", "--b--\r\n")
        .send()
        .await;
    assert_eq!((files.status, files.cache_status()), (501, BYPASS));
    assert_eq!(files.error_code(), "api_not_implemented");
    let wrong = house
        .client()
        .post("/v1/no/such/route")
        .raw("text/plain", "x")
        .send()
        .await;
    assert_eq!((wrong.status, wrong.cache_status()), (404, BYPASS));
}

#[tokio::test]
async fn http2_comes_in_by_prior_knowledge() {
    let house = House::new().await;
    let client = house.client_h2();
    let calls: Vec<_> = (0..50)
        .map(|at| {
            let call = client.post(&format!("/v1/echo/{at}?n={at}"));
            call.header("x-repeated", "a")
                .header("x-repeated", "b")
                .raw("text/plain", vec![7; at])
                .begin()
        })
        .collect();
    for (at, call) in calls.into_iter().enumerate() {
        let told = call.answer().await.json();
        assert_eq!(
            (&told["body_length"], &told["uri"]),
            (&json!(at), &json!(format!("/v1/echo/{at}?n={at}")))
        );
        let repeated: Vec<_> = told["headers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|pair| pair[0] == "x-repeated")
            .cloned()
            .collect();
        assert_eq!(
            json!(repeated),
            json!([["x-repeated", "a"], ["x-repeated", "b"]])
        );
    }
    for seen in house.sandbox.requests() {
        assert_eq!(seen.version, Version::HTTP_11);
        let host = house.sandbox.addr().to_string();
        assert_eq!(seen.header("host"), Some(host.as_str()));
    }
}

#[tokio::test]
async fn a_range_is_upstreams_to_answer() {
    let house = House::new().await;
    let answer = house
        .client()
        .get("/v1/bytes/1000")
        .header("range", "bytes=5-9")
        .send()
        .await;
    let seen = house.sandbox.requests().pop().unwrap();
    assert_eq!(seen.header("range"), Some("bytes=5-9"));
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, 1000),
        "this one knows no ranges"
    );
    let parrot = Parrot::saying(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/1000\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde",
    )
    .await;
    let house = House::new().config(parrot.behind()).await;
    let part = house
        .client()
        .get("/v1/files/f/content")
        .header("range", "bytes=5-9")
        .send()
        .await;
    assert_eq!(
        (part.status, part.header("content-range")),
        (206, "bytes 5-9/1000")
    );
}

/// Legal, if seldom seen: they come as they went.
#[tokio::test]
async fn odd_answers_stay_odd() {
    for (first, fields, body) in [
        (
            "HTTP/1.1 599 Network Connect Timeout",
            "Content-Length: 3\r\nX-Empty:\r\n",
            "odd",
        ),
        ("HTTP/1.1 200  two  spaces!", "Content-Length: 3\r\n", "odd"),
        (
            "HTTP/1.1 200 ",
            "Content-Length: 3\r\nX-Last: a, b\r\nX-Last: c\r\n",
            "odd",
        ),
        (
            "HTTP/1.1 416 Range Not Satisfiable",
            "Content-Range: bytes */9\r\nContent-Length: 0\r\n",
            "",
        ),
        (
            "HTTP/1.1 203 Non-Authoritative",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nodd\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 429 Too Many Requests",
            "Content-Length: 0\r\nRetry-After: 5\r\n",
            "",
        ),
        (
            "HTTP/1.1 300 Multiple Choices",
            "Location: /v2/x\r\nContent-Length: 0\r\n",
            "",
        ),
    ] {
        let answer = format!("{first}\r\n{fields}Connection: close\r\n\r\n{body}");
        let parrot = Parrot::saying(answer).await;
        let house = House::new().config(parrot.behind()).await;
        let request = "GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (head, told) = exchange(house.addr(), request).await;
        assert_eq!(head.first, first);
        for field in fields.lines() {
            let (name, value) = field.split_once(':').unwrap();
            let name = name.to_ascii_lowercase();
            assert!(
                head.all(&name).contains(&value.trim().to_owned()),
                "{field}: {head:?}"
            );
        }
        let whole = if body.contains("odd") { "odd" } else { "" };
        assert_eq!(told, whole.as_bytes(), "{first}");
        let h2 = house.client_h2().get("/v1/x").send().await;
        assert_eq!(
            (h2.status, h2.text().as_str()),
            (head.status(), whole),
            "{first}"
        );
    }
}

#[tokio::test]
async fn a_request_ends_with_its_client() {
    let house = House::new().await;
    for client in [house.client(), house.client_h2()] {
        let gate = house.hold("GET /v1/models");
        let asked = client.get("/v1/models").begin();
        gate.arrived(1).await;
        asked.leave().await;
        until(|| {
            house
                .sandbox
                .requests()
                .iter()
                .all(reprise::sandbox::Seen::is_abandoned)
        })
        .await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_said_to_be() {
    let house = House::new().await;
    house.stop_sandbox().await;
    for call in [
        house.client().get("/v1/models"),
        house.client().call(Method::DELETE, "/v1/files/f"),
        house
            .client()
            .post("/v1/images/generations")
            .json(&json!({"model": "gpt-image-2", "prompt": "a"})),
        house
            .client()
            .post("/v1/chat/completions")
            .json(&json!({"model": "grok-4.5", "messages": []})),
    ] {
        let answer = call.send().await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (502, "upstream_unreachable")
        );
        assert_eq!(answer.json()["error"]["type"], "api_error");
        assert!(!answer.text().contains(UPSTREAM_KEY));
    }
}

/// No second attempt of a request that has effects; nothing is said to be kept or paid.
#[tokio::test]
async fn a_cut_request_is_sent_once() {
    let parrot = Parrot::saying("").await;
    let house = House::new().config(parrot.behind()).await;
    let answer = house
        .client()
        .post("/v1/files")
        .raw("text/plain", "x")
        .send()
        .await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(parrot.count(), 1);
    // Garbage instead of HTTP.
    let parrot = Parrot::saying("+OK hello\r\n\r\n").await;
    let house = House::new().config(parrot.behind()).await;
    let answer = house
        .client()
        .post("/v1/files")
        .raw("text/plain", "x")
        .send()
        .await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(parrot.count(), 1);
}

/// What stands in `Connection` goes, and neither the body nor the real key with it.
#[tokio::test]
async fn a_connection_header_cannot_take_out_what_is_ours() {
    let house = House::new().await;
    for listed in [
        "authorization, host, content-length, x-request-id",
        "transfer-encoding, te, close",
        "cache-status, content-type",
    ] {
        for framing in [
            "Content-Length: 2\r\n\r\nhi",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ] {
            let text = format!(
                "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-client\r\n\
                 Connection: {listed}\r\n{framing}"
            );
            let (head, _) = exchange(house.addr(), text).await;
            assert_eq!(head.status(), 200, "{listed} {framing}");
            let seen = house.sandbox.requests().pop().unwrap();
            assert_eq!(seen.body, "hi", "{listed} {framing}");
            let bearer = format!("Bearer {UPSTREAM_KEY}");
            assert_eq!(seen.header("authorization"), Some(bearer.as_str()));
        }
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_in_its_own_framing() {
    let house = House::new().await;
    let chat = json!({"model": "grok-4.5", "stream": true, "messages": [{"role": "user", "content": "a"}]}).to_string();
    for directive in ["no-store", "max-age=9"] {
        let mut wire = Wire::open(house.addr()).await;
        wire.say(format!(
            "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Cache-Control: {directive}\r\nContent-Length: {}\r\n\r\n{chat}",
            chat.len()
        ))
        .await;
        let head = wire.head().await;
        assert_eq!((head.status(), head.has("transfer-encoding")), (200, false));
        let body = String::from_utf8(wire.rest().await).unwrap();
        assert!(
            body.starts_with("data: ") || body.starts_with(": "),
            "{body}"
        );
        assert!(body.ends_with("data: [DONE]\n\n"), "{body}");
    }
}

#[tokio::test]
async fn an_answer_may_have_many_headers() {
    let many = (0..300).fold(String::new(), |many, at| {
        many + &format!("x-h{at}: {at}\r\n")
    });
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n{many}\r\nok");
    let parrot = Parrot::saying(answer).await;
    let house = House::new().config(parrot.behind()).await;
    let answer = house.client_h2().get("/v1/models").send().await;
    assert_eq!(
        (answer.status, answer.header("x-h299")),
        (200, "299"),
        "{}",
        answer.text()
    );
}
