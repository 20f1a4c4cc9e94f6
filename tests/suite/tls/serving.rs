//! HTTPS for clients.

use std::time::{Duration, Instant};

use reprise::app::Drained;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Authority;
use crate::house::{Client, House, Plan, soon};

/// A house that serves HTTPS under this name or address.
fn secured(authority: &Authority, name: &str) -> Plan {
    let files = authority.files(name);
    House::new().config(move |config| config.tls = Some(files.clone()))
}

async fn raw(house: &House) -> TcpStream {
    TcpStream::connect(house.addr()).await.unwrap()
}

/// A connection by hand, and the certificate it was shown.
async fn shake(
    house: &House,
    authority: &Authority,
    name: &str,
    alpn: &[&str],
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let config = authority.believed(alpn);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    soon(connector.connect(name, raw(house).await)).await
}

#[tokio::test]
async fn every_way_in_leads_to_the_same_kept_answers() {
    let authority = Authority::new("ours");
    let open = House::new().await;
    let secured = secured(&authority, "127.0.0.1").await;
    for (house, clients) in [
        (&open, [open.client(), open.client_h2()]),
        (
            &secured,
            [
                authority.client(&secured, false),
                authority.client(&secured, true),
            ],
        ),
    ] {
        for client in &clients {
            check(client).await;
        }
        // Whoever came second was served what the first one's runs had brought.
        assert_eq!((house.billed(), house.sandbox.bill().images), (2, 1));
    }
}

async fn check(client: &Client) {
    let health = client.get("/healthz").send().await;
    assert_eq!(
        (health.status, health.text().as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    assert_eq!(client.get("/v1/models").send().await.status, 200);
    let image = json!({"model": "gpt-image-2", "prompt": "a"});
    for _ in 0..2 {
        let call = client.post("/v1/images/generations").json(&image);
        assert_eq!(call.send().await.status, 200);
    }
    let chat = json!({"model": "grok-4.5", "stream": true, "messages": [{"role": "user", "content": "a"}]});
    let chat = client.post("/v1/chat/completions").json(&chat).send().await;
    assert!(chat.text().ends_with("data: [DONE]\n\n"));
    let large = client.get("/v1/bytes/3000000").send().await;
    assert_eq!(large.body.len(), 3_000_000);
    let echo = client.post("/v1/echo").raw("text/plain", vec![7; 300_000]);
    assert_eq!(echo.send().await.json()["body_length"], 300_000);
    assert_eq!(client.get("/nowhere").send().await.status, 404);
}

#[tokio::test]
async fn the_client_chooses_the_protocol() {
    let authority = Authority::new("ours");
    let house = secured(&authority, "127.0.0.1").await;
    for (offered, expected) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = shake(&house, &authority, "127.0.0.1", offered)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), expected, "{offered:?}");
        assert!(!stream.get_ref().1.is_early_data_accepted());
    }
    let refused = shake(&house, &authority, "127.0.0.1", &["smtp"]).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn plain_http_is_told_what_to_do_and_nothing_else_happens() {
    let authority = Authority::new("ours");
    let house = secured(&authority, "127.0.0.1").await;
    for sent in [
        &b"POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"
            [..],
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = raw(&house).await;
        stream.write_all(sent).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "https_required");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("https://"), "{message}");
    }
    for sent in [&b"\0\0\0"[..], b"\x80\x2e\x01", b"ssh"] {
        let mut stream = raw(&house).await;
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        // It may be closed by a reset: what was sent is not read.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{sent:?}");
    }
    assert_eq!((house.sandbox.requests().len(), house.billed()), (0, 0));
}

/// Slow handshakes take their places and nothing else, and not for longer than a head may take.
#[tokio::test]
async fn a_handshake_that_does_not_end_is_in_nobodys_way() {
    let authority = Authority::new("ours");
    let house = secured(&authority, "127.0.0.1")
        .config(|config| {
            config.server.header_timeout = Duration::from_millis(500);
            config.server.max_connections = 50;
        })
        .await;
    let mut slow = Vec::new();
    for nth in 0..49 {
        let mut stream = raw(&house).await;
        // A record that announces more than comes, or nothing at all.
        let begun: &[u8] = if nth % 2 == 0 {
            &[22, 3, 1, 2, 0, 1]
        } else {
            &[]
        };
        stream.write_all(begun).await.unwrap();
        slow.push(stream);
    }
    let client = authority.client(&house, false);
    assert_eq!(client.get("/v1/models").send().await.status, 200);
    let began = Instant::now();
    for mut stream in slow {
        let _ = soon(stream.read_to_end(&mut Vec::new())).await;
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    // All places are free again.
    for _ in 0..60 {
        let client = authority.client(&house, true);
        assert_eq!(client.get("/healthz").send().await.status, 200);
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_holds_up_no_shutdown() {
    let authority = Authority::new("ours");
    let mut house = secured(&authority, "127.0.0.1")
        .config(|config| {
            config.server.header_timeout = Duration::from_mins(5);
            config.shutdown_grace = Duration::from_mins(5);
        })
        .await;
    let silent = raw(&house).await;
    let client = authority.client(&house, false);
    // Sockets are accepted in order, so the silent one is inside.
    assert_eq!(client.get("/healthz").send().await.status, 200);
    assert_eq!(house.shutdown().await, Drained::Whole);
    drop(silent);
}

#[tokio::test]
async fn an_answer_that_is_under_way_ends_before_the_program_does() {
    let authority = Authority::new("ours");
    let mut house = secured(&authority, "127.0.0.1").await;
    for http2 in [false, true] {
        let gate = house.hold("POST /v1/images");
        let image = json!({"model": "gpt-image-2", "prompt": http2.to_string()});
        let client = authority.client(&house, http2);
        let call = client.post("/v1/images/generations").json(&image).begin();
        gate.arrived(1).await;
        house.begin_shutdown();
        // New connections are turned away, over TLS as well.
        let late = authority.client(&house, http2);
        crate::house::until_async(async || late.get("/readyz").send().await.status == 503).await;
        gate.release();
        assert_eq!(call.answer().await.status, 200);
        assert_eq!(house.shutdown().await, Drained::Whole);
        house.start().await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let authority = Authority::new("ours");
    let house = secured(&authority, "old.example").await;
    let mut open = shake(&house, &authority, "old.example", &["http/1.1"])
        .await
        .unwrap();

    authority.files("new.example");
    let is_new = async || shake(&house, &authority, "new.example", &[]).await.is_ok();
    crate::house::until_async(is_new).await;
    assert!(shake(&house, &authority, "old.example", &[]).await.is_err());
    // What was open before goes on.
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    open.write_all(request).await.unwrap();
    let mut answer = String::new();
    soon(open.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
