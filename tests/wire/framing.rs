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
