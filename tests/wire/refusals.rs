//! What the client is told where no request ever came about.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::house::{House, soon};
use crate::upstream::Upstream;

const LARGEST: usize = 16 * 1024;

async fn house() -> House {
    House::with(|config| config.server.max_header_bytes = LARGEST).await
}

#[tokio::test]
async fn every_refusal_is_an_error_that_clients_can_read() {
    let house = house().await;
    let long = "x".repeat(LARGEST + 1000);
    let many = "a: b\r\n".repeat(1100);
    for (head, status, code) in [
        (
            format!("GET /v1/{long} HTTP/1.1\r\nhost: localhost\r\n"),
            414,
            "uri_too_long",
        ),
        (
            format!("GET /v1/m HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n"),
            431,
            "headers_too_large",
        ),
        (
            format!("GET /v1/m HTTP/1.1\r\nhost: localhost\r\n{many}"),
            431,
            "headers_too_large",
        ),
        (
            "GET /v1/m\0 HTTP/1.1\r\nhost: localhost\r\n".to_owned(),
            400,
            "invalid_request",
        ),
        ("nonsense\r\n".to_owned(), 400, "invalid_request"),
        (
            "\x16\x03\x01\x02\0\x01\0\x01\r\n".to_owned(),
            400,
            "invalid_request",
        ),
    ] {
        for before in 0..2 {
            let mut socket = house.connect().await;
            for _ in 0..before {
                socket.get("/healthz").await;
                assert_eq!(socket.answer().await.status, 200);
            }
            socket.try_send(format!("{head}\r\n").as_bytes()).await;
            let answer = socket.answer().await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code));
            assert!(answer.head.contains("connection: close"), "{answer:?}");
            assert!(
                answer.head.contains("content-type: application/json"),
                "{answer:?}"
            );
            assert!(answer.head.contains("x-request-id: req_"), "{answer:?}");
            assert!(
                answer.body.contains("\"type\":\"invalid_request_error\""),
                "{answer:?}"
            );
            socket.closed().await;
        }
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

/// An answer of upstream's own that looks like one of hyper's goes as it came.
#[tokio::test]
async fn an_answer_that_only_looks_like_a_refusal_passes() {
    let upstream = Upstream::saying(&[
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "012345678901234567890123456789abcd",
    ])
    .await;
    let house = House::with(upstream.behind()).await;
    let mut socket = house.connect().await;
    for _ in 0..3 {
        socket.get("/v1/models").await;
        let answer = socket.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.starts_with("HTTP/1.1 400"), "{answer:?}");
        assert!(answer.body.ends_with("abcd"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_has_a_reason_over_http2() {
    let house = house().await;
    let long = "x".repeat(LARGEST);
    for (path, header, status, code) in [
        (format!("/v1/{long}"), "", 414, "uri_too_long"),
        (
            "/v1/models".to_owned(),
            long.as_str(),
            431,
            "headers_too_large",
        ),
    ] {
        let stream = tokio::net::TcpStream::connect(house.addr).await.unwrap();
        let client = http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = soon(client.handshake(TokioIo::new(stream))).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get(format!("http://{}{path}", house.addr))
            .header("x-long", header)
            .body(Full::<Bytes>::default())
            .unwrap();
        let response = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), status);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["error"]["code"], code);
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}
