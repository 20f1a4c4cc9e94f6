//! Clients that say too little, and those that only seem to.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reprise::sandbox::Seen;

use crate::house::{HEAD, House, soon};

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn a_connection_that_does_not_get_to_a_request_is_closed() {
    let house = House::new().await;
    let cases = [
        "",
        "\r\n",
        "G",
        "PRI * HT",
        "GET /healthz HTTP/1.1\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n",
    ];
    let waits = cases.map(|sent| {
        let house = &house;
        async move {
            let mut socket = house.connect().await;
            socket.send(sent).await;
            let after = socket.closed().await;
            let fits = after >= HEAD / 2 && after < 4 * HEAD;
            assert!(fits, "{sent:?} was closed after {after:?}");
        }
    });
    futures_util::future::join_all(waits).await;
}

#[tokio::test]
async fn a_preface_without_its_settings_is_closed() {
    let house = House::new().await;
    let mut socket = house.connect().await;
    socket.send(PREFACE).await;
    assert!(socket.closed_at_last().await < 4 * HEAD);
    let mut socket = house.connect().await;
    socket.send(format!("{PREFACE}\0\0\0\x04")).await;
    assert!(socket.closed_at_last().await < 4 * HEAD);
}

#[tokio::test]
async fn a_head_that_drips_is_closed() {
    let house = House::new().await;
    for before in [0, 1] {
        let mut socket = house.connect().await;
        for _ in 0..before {
            socket.get("/healthz").await;
            assert_eq!(socket.answer().await.status, 200);
        }
        let started = std::time::Instant::now();
        let dripped = soon(async {
            let mut dripped = 0;
            while socket.try_send(b"G").await {
                dripped += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            dripped
        });
        assert!(dripped.await > 10, "it had its time");
        assert!(started.elapsed() < 5 * HEAD);
    }
}

#[tokio::test]
async fn empty_lines_are_no_head_and_gain_no_time() {
    let house = House::new().await;
    let mut socket = house.connect().await;
    let started = std::time::Instant::now();
    while socket.try_send(b"\r\n").await {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(started.elapsed() < 5 * HEAD, "it goes on for ever");
    }
}

#[tokio::test]
async fn an_idle_connection_lives_longer_than_a_head_may_take() {
    let house = House::new().await;
    let mut socket = house.connect().await;
    for _ in 0..2 {
        socket.get("/healthz").await;
        assert_eq!(socket.answer().await.status, 200);
        assert!(socket.hears_nothing(HEAD * 5 / 2).await);
    }
    // Its next head may take its time as well, from its first byte on.
    socket.send("GET /healthz HTTP/1.1\r\n").await;
    tokio::time::sleep(HEAD / 2).await;
    socket.send("host: localhost\r\n\r\n").await;
    assert_eq!(socket.answer().await.status, 200);
}

#[tokio::test]
async fn nothing_is_expected_of_a_client_that_waits_for_its_answer() {
    let house = House::new().await;
    let gate = house.sandbox.hold("GET /v1/models");
    let mut plain = house.connect().await;
    plain.get("/v1/models").await;
    // The beginning of the next head is here long before anybody reads it.
    let mut pipelined = house.connect().await;
    let head = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    pipelined.send(format!("{head}GET /healthz HT")).await;
    soon(gate.arrived(2)).await;
    assert!(plain.hears_nothing(HEAD * 5 / 2).await);
    assert!(pipelined.hears_nothing(Duration::from_millis(1)).await);
    gate.release();
    assert_eq!(plain.answer().await.status, 200);
    assert_eq!(pipelined.answer().await.status, 200);
    pipelined.send("TP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(pipelined.answer().await.status, 200);
}

#[tokio::test]
async fn an_idle_http2_connection_lives_longer_than_a_head_may_take() {
    let house = House::new().await;
    let stream = tokio::net::TcpStream::connect(house.addr).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = soon(handshake).await.unwrap();
    tokio::spawn(connection);
    tokio::time::sleep(HEAD * 3 / 2).await;
    for _ in 0..2 {
        let uri = format!("http://{}/healthz", house.addr);
        let request = hyper::Request::get(uri).body(Full::<Bytes>::default());
        let response = soon(sender.send_request(request.unwrap())).await.unwrap();
        assert_eq!(response.status(), 200);
        soon(response.into_body().collect()).await.unwrap();
        tokio::time::sleep(HEAD * 3 / 2).await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_told_and_closed() {
    let house = House::with(|config| config.upstream.idle_timeout = HEAD).await;
    for (path, body) in [
        ("/v1/images/generations", "content-length: 99\r\n\r\n{"),
        (
            "/v1/images/generations",
            "transfer-encoding: chunked\r\n\r\n5\r\n{",
        ),
        ("/v1/files", "content-length: 99\r\n\r\n{"),
        ("/v1/files", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"),
    ] {
        let mut socket = house.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n");
        socket.send(format!("{head}{body}")).await;
        let answer = socket.answer().await;
        assert_eq!(answer.status, 408, "{path} {body:?}");
        assert_eq!(answer.code(), "request_timeout");
        assert!(answer.head.contains("x-request-id: "), "{}", answer.head);
        assert!(socket.closed().await < 5 * HEAD);
    }
    assert_eq!(house.sandbox.bill().total(), 0);
}

#[tokio::test]
async fn a_body_that_takes_long_and_does_not_stall_is_taken() {
    let house = House::with(|config| config.upstream.idle_timeout = HEAD).await;
    let mut socket = house.connect().await;
    socket
        .send("POST /v1/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20\r\n\r\n")
        .await;
    for _ in 0..20 {
        tokio::time::sleep(HEAD / 10).await;
        socket.send("x").await;
    }
    assert_eq!(socket.answer().await.status, 200);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed() {
    let house = House::with(|config| config.upstream.idle_timeout = HEAD).await;
    let mut socket = house.connect().await;
    socket.get("/v1/bytes/400000000").await;
    let given_up = async {
        while !house
            .sandbox
            .requests()
            .first()
            .is_some_and(Seen::is_abandoned)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(given_up).await;
}
