//! An upstream that leads back to us.

use std::net::SocketAddr;

use reprise::config::BaseUrl;
use tokio::net::{TcpListener, TcpStream};

use crate::house::House;

/// Hands everything on to wherever `to` says, once it says so.
async fn relay() -> (SocketAddr, tokio::sync::watch::Sender<Option<SocketAddr>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::watch::channel(None);
    // Ends with the runtime of its test.
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let Some(to) = *told.borrow() else { continue };
            tokio::spawn(async move {
                let mut there = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
    (addr, tell)
}

/// A free port, taken again at once by the proxy.
async fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

const JSON: &str = "host: localhost\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn a_request_that_comes_back_to_us_goes_no_further() {
    let port = port().await;
    // By a name that no check at start sees through.
    let house = House::with(|config| {
        config.listen.set_port(port);
        config.upstream.base_url = BaseUrl::parse(&format!("http://127.0.0.1:{port}/v1")).unwrap();
    })
    .await;
    assert_eq!(house.addr.port(), port);
    let body = r#"{"model":"m","prompt":"p"}"#;
    for request in [
        format!("GET /v1/models HTTP/1.1\r\n{JSON}\r\n"),
        format!(
            "POST /v1/images/generations HTTP/1.1\r\n{JSON}content-length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!("GET /v1/video/generations/task_1 HTTP/1.1\r\n{JSON}\r\n"),
    ] {
        for _ in 0..2 {
            let mut socket = house.connect().await;
            socket.send(&request).await;
            let answer = socket.answer().await;
            assert_eq!(answer.status, 508, "{answer:?}");
            assert_eq!(answer.code(), "loop_detected");
            assert!(answer.head.contains("x-should-retry: false"), "{answer:?}");
        }
    }
}

/// Who only stands between two of us is no loop.
#[tokio::test]
async fn two_proxies_in_a_row_are_no_loop() {
    let last = House::new().await;
    let (addr, tell) = relay().await;
    tell.send_replace(Some(last.addr));
    let first = House::with(|config| {
        config.upstream.base_url = BaseUrl::parse(&format!("http://{addr}/v1")).unwrap();
    })
    .await;
    let mut socket = first.connect().await;
    socket.get("/v1/models").await;
    assert_eq!(socket.answer().await.status, 200);
    assert_eq!(last.sandbox.requests().len(), 1);
}
