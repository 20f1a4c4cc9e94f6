//! Heads that are too large, and connections that are too many.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::house::{House, soon};

const LARGEST: usize = 16 * 1024;

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_over_http1() {
    let house = House::with(|config| config.server.max_header_bytes = LARGEST).await;
    for (length, status) in [
        (LARGEST - 200, 200),
        (LARGEST + 1, 431),
        (20 * LARGEST, 431),
    ] {
        let mut socket = house.connect().await;
        let long = "x".repeat(length);
        let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n");
        socket.try_send(head.as_bytes()).await;
        assert_eq!(socket.answer().await.status, status, "{length}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_over_http2() {
    let house = House::with(|config| config.server.max_header_bytes = LARGEST).await;
    for (length, status) in [(LARGEST - 1000, 200), (LARGEST + 1000, 431)] {
        let stream = tokio::net::TcpStream::connect(house.addr).await.unwrap();
        let client = http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = soon(client.handshake(TokioIo::new(stream))).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get(format!("http://{}/healthz", house.addr))
            .header("x-long", "x".repeat(length))
            .body(Full::<Bytes>::default())
            .unwrap();
        let response = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), status, "{length}");
    }
}

#[tokio::test]
async fn a_connection_too_many_takes_the_place_of_one_that_says_nothing() {
    let house = House::with(|config| {
        config.server.max_connections = 2;
        config.server.header_timeout = Duration::from_mins(1);
    })
    .await;
    let gate = house.sandbox.hold("GET /v1/models");
    let mut busy = house.connect().await;
    busy.get("/v1/models").await;
    soon(gate.arrived(1)).await;
    let mut silent = house.connect().await;
    let mut third = house.connect().await;
    third.get("/healthz").await;
    assert_eq!(third.answer().await.status, 200);
    silent.closed().await;
    // The third is idle now, and the next one needs its place.
    let mut fourth = house.connect().await;
    fourth.get("/v1/models").await;
    third.closed().await;
    soon(gate.arrived(2)).await;
    // Nobody can be sent away any more.
    let mut fifth = house.connect().await;
    fifth.get("/healthz").await;
    assert!(fifth.hears_nothing(Duration::from_millis(300)).await);
    gate.release();
    for socket in [&mut busy, &mut fourth, &mut fifth] {
        assert_eq!(socket.answer().await.status, 200);
    }
}
