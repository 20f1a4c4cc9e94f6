//! Answers that are complete before the request is.

use std::time::Duration;

use crate::house::House;

/// More than the sockets of both sides hold, so that closing at once would lose the answer.
const SENT: usize = 900 * 1024;

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let house = House::with(|config| config.cache.max_request_body = 1024).await;
    let chat = "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2000000\r\n";
    let cases = [
        (
            format!("{chat}host: localhost\r\n\r\n"),
            413,
            "request_too_large",
        ),
        (
            format!("{chat}host: localhost\r\norigin: https://evil.example\r\n\r\n"),
            403,
            "origin_not_allowed",
        ),
        (
            format!("{chat}host: evil.example\r\n\r\n"),
            421,
            "host_not_allowed",
        ),
    ];
    for (head, status, code) in cases {
        let mut socket = house.connect().await;
        socket.send(head).await;
        // The answer is on its way while this goes on; a reset would fail the writes.
        for _ in 0..SENT / 10_240 {
            assert!(socket.try_send(&[b'x'; 10_240]).await, "{code}: reset");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let answer = socket.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert!(socket.closed().await < Duration::from_secs(4));
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

/// As programs do that send whatever the system takes before they look at what has come.
#[tokio::test]
async fn an_early_answer_reaches_a_client_that_sends_as_fast_as_it_can() {
    let house = House::with(|config| config.cache.max_request_body = 1024).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999\r\n\r\n";
    let mut socket = house.connect().await;
    socket.send(head).await;
    let piece = vec![b'x'; 65_536];
    let stalls = Duration::from_millis(500);
    let mut sent = 0;
    while let Ok(is_taken) = tokio::time::timeout(stalls, socket.try_send(&piece)).await {
        assert!(is_taken, "reset after {sent} bytes");
        sent += piece.len();
        assert!(sent < 64 * 1024 * 1024, "it goes on for ever");
    }
    assert!(sent > SENT);
    assert_eq!(socket.answer().await.status, 413);
}

#[tokio::test]
async fn nobody_is_listened_to_for_long() {
    let house = House::with(|config| config.cache.max_request_body = 1024).await;
    let mut socket = house.connect().await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999\r\n\r\n";
    socket.send(head).await;
    let mut sent = 0;
    while socket.try_send(&vec![b'x'; 65_536]).await {
        sent += 65_536;
        assert!(sent < 64 * 1024 * 1024, "it goes on for ever");
    }
    let mut silent = house.connect().await;
    silent.send(head).await;
    assert_eq!(silent.answer().await.status, 413);
    assert!(silent.closed().await < Duration::from_secs(4));
}
