//! HTTP/1.1 and HTTP/2 on both sides, in every combination: nobody can tell what the other speaks.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::iter;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{HeaderMap, Request, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reprise::sandbox::{Sandbox, Seen};
use serde_json::json;

use crate::house::{self, House, soon, until};
use crate::tls::{Authority, upstream};
use crate::wire::{Stage, Wire};

/// A proxy, its upstream, and what the two speak with each other.
async fn houses() -> Vec<(House, Sandbox, Version)> {
    let authority = Authority::new("ours");
    let plain = House::new().await;
    let sandbox = plain.sandbox.clone();
    let mut houses = vec![(plain, sandbox, Version::HTTP_11)];
    for (alpn, version) in [
        (&["http/1.1"][..], Version::HTTP_11),
        (&["h2", "http/1.1"], Version::HTTP_2),
    ] {
        let server = authority.server("localhost", false, alpn);
        let (house, sandbox) = upstream::house(server, Some(authority.file())).await;
        houses.push((house, sandbox, version));
    }
    houses
}

fn both(house: &House) -> [(house::Client, bool); 2] {
    [(house.client(), false), (house.client_h2(), true)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_in_every_combination() {
    let bytes = |length: usize| -> Vec<u8> { (0..=250_u8).cycle().take(length).collect() };
    for (house, sandbox, version) in houses().await {
        for (client, http2) in both(&house) {
            let what = format!("h2 {http2}, upstream {version:?}");
            let target = "/v1/echo/a%2Fb%20c?x=%20&&y=a+b";
            let call = client.get(target).header("x-r", "a").header("x-r", "b");
            let told = call.send().await.json();
            assert_eq!(told["uri"], target, "{what}");
            let repeated: Vec<_> = told["headers"].as_array().unwrap().iter().collect();
            let repeated: Vec<_> = repeated.iter().filter(|pair| pair[0] == "x-r").collect();
            assert_eq!(
                json!(repeated),
                json!([["x-r", "a"], ["x-r", "b"]]),
                "{what}"
            );
            let call = client.post("/v1/echo").header("x-sandbox-echo", "body");
            let large = call.raw("a/b", bytes(3_000_000)).send().await;
            assert!(large.body == bytes(3_000_000), "{what}");
            let large = client.get("/v1/bytes/3000000").send().await;
            assert_eq!(large.header("content-length"), "3000000", "{what}");
            assert!(large.body == bytes(3_000_000), "{what}");
            let head = client.call(hyper::Method::HEAD, "/v1/bytes/12345");
            let head = head.send().await;
            assert_eq!(
                (head.header("content-length"), head.body.len()),
                ("12345", 0),
                "{what}"
            );
            for (status, content_type, body) in [
                (429, "", ""),
                (500, "", ""),
                (503, "text/html", "<html>bad gateway</html>"),
                (
                    400,
                    "application/json",
                    r#"{"code":"task_not_exist","message":"","data":null}"#,
                ),
            ] {
                sandbox
                    .on("GET /v1/models")
                    .answer(status, content_type, body);
                let answer = client.get("/v1/models").send().await;
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (status, body),
                    "{what}"
                );
            }
        }
        for seen in sandbox.requests() {
            assert_eq!(seen.version, version, "{}", seen.route);
        }
    }
}

#[tokio::test]
async fn an_event_passes_before_the_next_is_sent() {
    let chat = json!({"model": "grok-4.5", "stream": true, "messages": [{"role": "user", "content": "a"}]});
    for (house, sandbox, version) in houses().await {
        for (client, http2) in both(&house) {
            let gate = sandbox.hold_stream("POST /v1/chat", 2);
            let call = client.post("/v1/chat/completions");
            let call = call.cache_control("no-store").json(&chat);
            let mut stream = call.open().await.unwrap();
            soon(gate.arrived(1)).await;
            while stream.so_far().matches("data: ").count() < 2 {
                stream.next().await.unwrap().unwrap();
            }
            gate.release();
            let whole = stream.rest().await.unwrap().text();
            assert!(whole.ends_with("data: [DONE]\n\n"), "{http2} {version:?}");
        }
    }
}

/// The request's trailer comes back as the answer's; what may not be a trailer is on neither way.
#[tokio::test]
async fn trailers_pass_in_every_combination() {
    for (house, _, version) in houses().await {
        for http2 in [false, true] {
            let mut trailers = HeaderMap::new();
            for (name, value) in [
                ("x-sandbox-end", "from the client"),
                ("authorization", "Bearer sk-in-a-trailer"),
                ("x-api-key", "sk-in-a-trailer"),
                ("cookie", "a=sk-in-a-trailer"),
                ("content-length", "7"),
            ] {
                trailers.insert(name, value.parse().unwrap());
            }
            let frames = [Frame::data(Bytes::from("hi")), Frame::trailers(trailers)];
            let body = StreamBody::new(iter(frames.map(Ok::<_, Infallible>)));
            let request = Request::post(format!("http://{}/v1/echo", house.addr()))
                .header("x-sandbox-echo", "body")
                .header("x-sandbox-trailer", "from upstream")
                .header("te", "trailers")
                .header("trailer", "x-sandbox-end, authorization, x-api-key, cookie")
                .body(body)
                .unwrap();
            let client = Client::builder(TokioExecutor::new())
                .http2_only(http2)
                .build_http();
            let answer = soon(client.request(request)).await.unwrap();
            let whole = soon(answer.into_body().collect()).await.unwrap();
            let what = format!("h2 {http2}, upstream {version:?}");
            let trailers = whole.trailers().cloned().unwrap_or_default();
            let told: Vec<_> = trailers
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_bytes()))
                .collect();
            assert_eq!(told, [("x-sandbox-end", &b"from the client"[..])], "{what}");
            assert_eq!(whole.to_bytes(), "hi", "{what}");
        }
    }
}

/// HTTP/1.1 letter by letter: announced trailers pass, others are dropped (RFC 9110 §6.5.1).
#[tokio::test]
async fn only_announced_trailers_pass_over_http_1() {
    let stage = Stage::open();
    let house = House::new().config(stage.behind()).await;
    let mut client = Wire::open(house.addr()).await;
    client
        .say(
            "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\
             Trailer: X-Sum, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\
             X-Sum: 42\r\nAuthorization: Bearer sk-in-a-trailer\r\nX-Other: 1\r\n\r\n",
        )
        .await;
    let mut upstream = stage.accept().await;
    let asked = upstream.head().await;
    assert_eq!(asked.all("te"), ["trailers"]);
    let expected = "2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n";
    let body = upstream.take(expected.len()).await;
    assert_eq!(String::from_utf8(body).unwrap().to_lowercase(), expected);
    upstream
        .say(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
             X-Sum: 43\r\nConnection: close\r\nX-Other: 1\r\n\r\n",
        )
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.status(), head.all("trailer")),
        (200, vec!["X-Sum".to_owned()])
    );
    let expected = "2\r\nok\r\n0\r\nx-sum: 43\r\n\r\n";
    let body = client.take(expected.len()).await;
    assert_eq!(String::from_utf8(body).unwrap().to_lowercase(), expected);
    assert_eq!((client.heard(), upstream.heard()), (&b""[..], &b""[..]));
}

#[tokio::test]
async fn a_hundred_streams_share_a_connection() {
    for (house, sandbox, version) in houses().await {
        let client = house.client_h2();
        let gate = sandbox.hold("POST /v1/echo/slow");
        let call = |name: &str, at: usize| {
            let call = client.post(&format!("/v1/echo/{name}/{at}"));
            call.raw("a/b", vec![7; at * 1000]).begin()
        };
        let slow: Vec<_> = (0..10).map(|at| call("slow", at)).collect();
        soon(gate.arrived(10)).await;
        let fast: Vec<_> = (0..90).map(|at| call("fast", at)).collect();
        for (at, call) in fast.into_iter().enumerate() {
            assert_eq!(
                call.answer().await.json()["body_length"],
                at * 1000,
                "{version:?}"
            );
        }
        assert!(slow.iter().all(|call| !call.is_over()), "{version:?}");
        gate.release();
        for (at, call) in slow.into_iter().enumerate() {
            assert_eq!(
                call.answer().await.json()["body_length"],
                at * 1000,
                "{version:?}"
            );
        }
    }
}

#[tokio::test]
async fn who_leaves_is_gone_upstream_and_nobody_else() {
    for (house, sandbox, version) in houses().await {
        for (client, _) in both(&house) {
            let gate = sandbox.hold("GET /v1/models");
            let stays = client.get("/v1/models").begin();
            soon(gate.arrived(1)).await;
            let leaves = client.get("/v1/models").begin();
            soon(gate.arrived(2)).await;
            leaves.leave().await;
            until(|| {
                sandbox
                    .requests()
                    .iter()
                    .filter(|seen| Seen::is_abandoned(seen))
                    .count()
                    % 2
                    == 1
            })
            .await;
            gate.release();
            assert_eq!(stays.answer().await.status, 200, "{version:?}");
            // In the middle of the answer.
            sandbox.on("GET /v1/bytes").stall_after(100_000);
            let mut answer = client.get("/v1/bytes/200000").open().await.unwrap();
            assert!(answer.next().await.unwrap().is_ok());
            drop(answer);
            until(|| {
                sandbox
                    .requests()
                    .iter()
                    .filter(|seen| Seen::is_abandoned(seen))
                    .count()
                    % 2
                    == 0
            })
            .await;
        }
    }
}
