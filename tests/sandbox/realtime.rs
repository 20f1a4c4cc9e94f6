//! `/v1/realtime`: who gets in, and what comes back.

use reprise::sandbox::{Options, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::call::soon;

const GOOD: &str = "GET /v1/realtime?model=m HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-good\r\n\
                    connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a head and gives the answer's, with what it came over.
async fn shake(sandbox: &Sandbox, head: &str) -> (String, TcpStream) {
    let mut socket = TcpStream::connect(sandbox.addr()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(b"\r\n").await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(soon(socket.read_u8()).await.unwrap());
    }
    (String::from_utf8(got).unwrap().to_lowercase(), socket)
}

async fn guarded() -> Sandbox {
    let key = Some("sk-good".to_owned());
    let options = Options {
        key,
        ..Options::default()
    };
    Sandbox::start(options).await.unwrap()
}

#[tokio::test]
async fn says_everything_back_and_goodbye() {
    let sandbox = guarded().await;
    let (head, mut socket) = shake(&sandbox, GOOD).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{head}"
    );
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
    // "hi", a ping "!", and a goodbye with code 1000; the mask is 0.
    socket
        .write_all(b"\x81\x82\0\0\0\0hi\x89\x81\0\0\0\0!\x88\x82\0\0\0\0\x03\xe8")
        .await
        .unwrap();
    let mut back = Vec::new();
    let half = socket.into_split();
    let (mut reader, writer) = half;
    let mut exact = [0; 11];
    soon(reader.read_exact(&mut exact)).await.unwrap();
    assert_eq!(&exact, b"\x81\x02hi\x8a\x01!\x88\x02\x03\xe8");
    drop(writer);
    soon(reader.read_to_end(&mut back)).await.unwrap();
    assert!(back.is_empty(), "{back:?}");
}

#[tokio::test]
async fn a_key_may_stand_among_the_subprotocols() {
    let sandbox = guarded().await;
    let bare = GOOD.replace("authorization: Bearer sk-good\r\n", "");
    let offer = |key: &str| {
        format!("{bare}sec-websocket-protocol: openai-insecure-api-key.{key}, realtime, other\r\n")
    };
    let (head, _socket) = shake(&sandbox, &offer("sk-good")).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("\r\nsec-websocket-protocol: realtime\r\n"),
        "{head}"
    );
    let (head, _socket) = shake(&sandbox, &offer("sk-bad")).await;
    assert!(head.starts_with("http/1.1 401 "), "{head}");
    let (head, _socket) = shake(&sandbox, &bare).await;
    assert!(head.starts_with("http/1.1 401 "), "{head}");
}

#[tokio::test]
async fn what_is_no_handshake() {
    let sandbox = guarded().await;
    for (from, to, status) in [
        ("upgrade: websocket", "upgrade: h2c", 426),
        ("upgrade: websocket\r\n", "", 426),
        ("connection: keep-alive, Upgrade\r\n", "", 426),
        ("version: 13", "version: 8", 426),
        ("key: dGhlIHNhbXBsZSBub25jZQ==", "key: dGhl", 400),
        ("sec-websocket-key", "x-key", 400),
    ] {
        let (head, _socket) = shake(&sandbox, &GOOD.replace(from, to)).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert_eq!(
            head.contains("\r\nsec-websocket-version: 13\r\n"),
            status == 426,
            "{head}"
        );
    }
}
