//! Requests that two servers could read differently.

use std::time::Duration;

use crate::house::House;

const IMAGE: &str = r#"{"model":"m","prompt":"p"}"#;

#[tokio::test]
async fn two_lengths_are_refused_in_every_form() {
    let house = House::new().await;
    let heads = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "content-length: 5\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n",
        "TRANSFER-encoding:\tChunked\r\nx: y\r\ncOnTeNt-LeNgTh:5\r\n",
        "content-length: 0\ntransfer-encoding: chunked\n",
        "transfer-encoding: gzip, chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
    ];
    for path in [
        "/v1/images/generations",
        "/v1/files",
        "/healthz",
        "/api/stats",
    ] {
        for head in heads {
            let mut socket = house.connect().await;
            let host = if head.contains("host") {
                ""
            } else {
                "Host: localhost\r\n"
            };
            let sent = format!("POST {path} HTTP/1.1\r\n{host}{head}\r\n0\r\n\r\n");
            // In two pieces, so that the head does not come at once.
            let (one, two) = sent.split_at(60);
            socket.send(one).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            socket.send(two).await;
            let answer = socket.answer().await;
            assert_eq!(answer.status, 400, "{path} {head:?}");
            assert_eq!(answer.code(), "invalid_request", "{head:?}");
            assert!(answer.head.contains("connection: close"), "{}", answer.head);
            socket.closed().await;
        }
    }
    assert_eq!(house.sandbox.requests().len(), 0, "nothing went upstream");
}

#[tokio::test]
async fn what_hyper_refuses_stays_refused() {
    let house = House::new().await;
    for head in [
        "transfer-encoding : chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ntransfer-encoding:\r\n chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: gzip\r\n",
    ] {
        let mut socket = house.connect().await;
        let sent = format!("POST /v1/files HTTP/1.1\r\nhost: localhost\r\n{head}\r\n0\r\n\r\n");
        socket.send(sent).await;
        assert_eq!(socket.answer().await.status, 400, "{head:?}");
    }
    assert_eq!(house.sandbox.requests().len(), 0, "nothing went upstream");
}

#[tokio::test]
async fn pipelined_requests_are_told_apart() {
    let house = House::new().await;
    let host = "host: localhost\r\ncontent-type: application/json\r\n";
    let fake = "content-length: 9\r\ntransfer-encoding: chunked\r\n\r\n";
    let length = IMAGE.len();
    let all = [
        format!("GET /v1/models HTTP/1.1\r\n{host}\r\n"),
        format!("POST /v1/echo HTTP/1.1\r\n{host}content-length: {}\r\n\r\n{fake}", fake.len()),
        format!(
            "POST /v1/echo HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n{:x};a=b\r\n{fake}\r\n0\r\n\r\n",
            fake.len()
        ),
        "\r\n".to_owned(),
        format!("POST /v1/images/generations HTTP/1.1\r\n{host}content-length: {length}\r\n\r\n{IMAGE}"),
        format!("POST /v1/files HTTP/1.1\r\n{host}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
        format!("GET /v1/models HTTP/1.1\r\n{host}\r\n"),
    ]
    .concat();
    for pieces in [all.len(), 1000, 70, 1] {
        let mut socket = house.connect().await;
        for piece in all.as_bytes().chunks(pieces) {
            socket.try_send(piece).await;
        }
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(socket.answer().await.status);
        }
        assert_eq!(statuses, [200, 200, 200, 200, 400], "in pieces of {pieces}");
        socket.closed().await;
    }
    assert_eq!(house.sandbox.bill().total(), 1);
    assert_eq!(house.sandbox.count("POST /v1/files"), 0);
}

/// Chunked bodies of which one server could see another end than we do, so that what follows would be
/// counted, or not, as a request.
fn chunked_two_ways() -> [String; 3] {
    [
        "0\r\nX: a\n\nGET / HTTP/1.1\nHost: x\n\n\r\n\r\n".to_owned(),
        "0\r\n\nGET / HTTP/1.1\nHost: x\n\n\r\n\r\n".to_owned(),
        format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(300)),
    ]
}

#[tokio::test]
async fn a_chunked_body_that_can_be_read_in_two_ways_ends_the_connection() {
    let house = House::new().await;
    let head = "POST /healthz HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in chunked_two_ways() {
        for at_once in [true, false] {
            let mut socket = house.connect().await;
            if at_once {
                socket.send(format!("{head}{body}")).await;
            } else {
                socket.send(head).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                socket.try_send(body.as_bytes()).await;
            }
            let ended = socket.closed_at_last().await;
            assert!(ended < Duration::from_secs(15), "{body:?} {ended:?}");
        }
    }
}

/// Whatever such a body hides, the two lengths behind it are not acted on.
#[tokio::test]
async fn two_lengths_are_refused_behind_any_body() {
    let house = House::new().await;
    for body in chunked_two_ways() {
        let first = format!(
            "POST /v1/echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{body}"
        );
        let second = "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\
                      transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        let mut socket = house.connect().await;
        socket.try_send(first.as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        socket.try_send(second.as_bytes()).await;
        socket.closed_at_last().await;
        assert_eq!(house.sandbox.count("POST /v1/files"), 0, "{body:?}");
    }
}
