//! `WebSockets`: let in first, then asked for upstream, then bytes that nobody touches.

use std::time::Duration;

use reprise::app::Drained;
use reprise::config::{self, Config, OwnLimits};

use crate::house::{House, UPSTREAM_KEY, soon};
use crate::wire::{Head, Parrot, Stage, Wire, exchange};

const KEY: &str = "sk-key-of-wanda";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: realtime\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

fn wanda(config: &mut Config) {
    let client = config::Client {
        key_hash: blake3::hash(KEY.as_bytes()),
        limits: OwnLimits::default(),
    };
    config.clients.insert("wanda".to_owned(), client);
}

fn asking(credential: &str) -> String {
    format!(
        "GET /v1/realtime?model=gpt%2Drealtime HTTP/1.1\r\nHost: localhost\r\n{credential}\
         Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
}

/// A tunnel that is open: the client's end, and upstream's.
async fn open(house: &House, stage: &Stage) -> (Wire, Wire) {
    let mut client = Wire::open(house.addr()).await;
    client.say(asking("")).await;
    let mut upstream = stage.accept().await;
    upstream.head().await;
    upstream.say(SWITCHED).await;
    assert_eq!(client.head().await.status(), 101);
    (client, upstream)
}

async fn ping(client: &mut Wire, upstream: &mut Wire) {
    client.say("up").await;
    assert_eq!(upstream.take(2).await, b"up");
    upstream.say("down").await;
    assert_eq!(client.take(4).await, b"down");
}

fn assert_asked(head: &Head, protocols: &[&str]) {
    assert_eq!(head.first, "GET /v1/realtime?model=gpt%2Drealtime HTTP/1.1");
    for (name, values) in [
        (
            "authorization",
            &[format!("Bearer {UPSTREAM_KEY}").as_str()][..],
        ),
        ("upgrade", &["websocket"]),
        ("connection", &["Upgrade"]),
        ("sec-websocket-version", &["13"]),
        ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ=="]),
        (
            "sec-websocket-extensions",
            &["permessage-deflate; client_max_window_bits"],
        ),
        ("sec-websocket-protocol", protocols),
        ("x-api-key", &[]),
    ] {
        assert_eq!(head.all(name), values, "{name}");
    }
    assert!(!format!("{head:?}").contains(KEY), "{head:?}");
}

#[tokio::test]
async fn the_key_is_replaced_wherever_it_stands_and_bytes_pass_both_ways() {
    let stage = Stage::open();
    let behind = stage.behind();
    let house = House::new().config(wanda).config(behind).await;
    let listed = format!("realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1");
    for (credential, protocols) in [
        (
            format!("Sec-WebSocket-Protocol: {listed}\r\n"),
            &["realtime, openai-beta.realtime-v1"][..],
        ),
        (
            format!("Sec-WebSocket-Protocol: openai-insecure-api-key.{KEY}\r\n"),
            &[],
        ),
        (format!("Authorization: Bearer {KEY}\r\n"), &[]),
        (
            format!("X-Api-Key: {KEY}\r\nSec-WebSocket-Protocol: realtime\r\n"),
            &["realtime"],
        ),
    ] {
        let mut client = Wire::open(house.addr()).await;
        // A client may not know better than to speak at once.
        client.say(format!("{}early", asking(&credential))).await;
        let mut upstream = stage.accept().await;
        assert_asked(&upstream.head().await, protocols);
        let told = exchange(
            house.addr(),
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
        assert_eq!(told.0.status(), 200);
        assert_eq!(upstream.heard(), b"", "nothing before the 101");
        upstream.say(format!("{SWITCHED}\u{81}")).await;
        let head = client.head().await;
        assert_eq!(head.first, "HTTP/1.1 101 Switching Protocols");
        for (name, value) in [
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "realtime"),
            ("sec-websocket-extensions", "permessage-deflate"),
            (
                "cache-status",
                "reprise; fwd=bypass; detail=not-a-generation",
            ),
        ] {
            assert_eq!(head.all(name), [value], "{name}");
        }
        assert!(head.all("connection")[0].eq_ignore_ascii_case("upgrade"));
        assert_eq!(client.take(2).await, "\u{81}".as_bytes());
        assert_eq!(upstream.take(5).await, b"early");
        let binary: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        for _ in 0..3 {
            client.say(&binary).await;
            assert!(upstream.take(binary.len()).await == binary);
            upstream.say(&binary).await;
            assert!(client.take(binary.len()).await == binary);
        }
    }
}

#[tokio::test]
async fn a_stranger_gets_401_and_upstream_hears_nothing() {
    let stage = Stage::open();
    let behind = stage.behind();
    let house = House::new().config(wanda).config(behind).await;
    for credential in [
        "",
        "Sec-WebSocket-Protocol: openai-insecure-api-key.sk-x\r\n",
    ] {
        let (head, _) = exchange(house.addr(), asking(credential)).await;
        assert_eq!((head.status(), head.has("upgrade")), (401, false));
    }
    let foreign = format!("Authorization: Bearer {KEY}\r\nOrigin: https://evil.example\r\n");
    assert_eq!(
        exchange(house.addr(), asking(&foreign)).await.0.status(),
        403
    );
    assert!(!stage.is_called().await);
}

#[tokio::test]
async fn any_other_answer_is_an_answer() {
    let stage = Stage::open();
    let house = House::new().config(stage.behind()).await;
    let mut client = Wire::open(house.addr()).await;
    for answer in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nX-Told: 1\r\n\r\nno!",
        "HTTP/1.1 426 Upgrade Required\r\nTransfer-Encoding: chunked\r\nX-Told: 1\r\n\r\n3\r\nno!\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Told: 1\r\nContent-Length: 3\r\n\r\nno!",
    ] {
        client.say(asking("")).await;
        let mut upstream = stage.accept().await;
        upstream.head().await;
        upstream.say(answer).await;
        let head = client.head().await;
        assert_eq!(head.first.as_bytes()[..12], answer.as_bytes()[..12]);
        assert_eq!((head.has("x-told"), head.has("upgrade")), (true, false));
        assert_eq!(client.body(&head).await, b"no!");
    }
    // It is HTTP still.
    client
        .say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test]
async fn no_other_protocol_is_asked_for_or_accepted() {
    let parrot = Parrot::saying("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    let house = House::new().config(parrot.behind()).await;
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0\r\n",
        "Connection: keep-alive\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n",
    ] {
        let body = if upgrade.contains("Length") { "hi" } else { "" };
        let text = format!("GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n{body}");
        let (head, _) = exchange(house.addr(), text).await;
        assert_eq!(
            (head.status(), head.has("upgrade")),
            (204, false),
            "{upgrade}"
        );
        let (asked, _) = parrot.last();
        for name in ["upgrade", "http2-settings"] {
            assert!(!asked.has(name), "{upgrade} {asked:?}");
        }
    }
    let other = SWITCHED.replace("websocket", "h2c");
    for (answer, text) in [
        (
            SWITCHED,
            "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (&other, asking("")),
    ] {
        let parrot = Parrot::saying(answer).await;
        let house = House::new().config(parrot.behind()).await;
        let (head, body) = exchange(house.addr(), text).await;
        assert_eq!((head.status(), head.has("upgrade")), (502, false));
        assert!(
            String::from_utf8(body)
                .unwrap()
                .contains("another protocol")
        );
    }
}

#[tokio::test]
async fn each_side_may_end_before_the_other() {
    let stage = Stage::open();
    let house = House::new().config(stage.behind()).await;
    let (mut client, mut upstream) = open(&house, &stage).await;
    upstream.say("last").await;
    upstream.finish().await;
    assert_eq!(client.rest().await, b"last");
    for _ in 0..3 {
        client.say("and more").await;
        assert_eq!(upstream.take(8).await, b"and more");
    }
    client.finish().await;
    assert_eq!(upstream.rest().await, b"");

    let (mut client, mut upstream) = open(&house, &stage).await;
    client.say("bye").await;
    client.finish().await;
    assert_eq!(upstream.rest().await, b"bye");
    upstream.say("the answer").await;
    upstream.finish().await;
    assert_eq!(client.rest().await, b"the answer");
}

#[tokio::test]
async fn who_leaves_takes_the_other_side_along() {
    let stage = Stage::open();
    let house = House::new().config(stage.behind()).await;
    let (mut client, mut upstream) = open(&house, &stage).await;
    ping(&mut client, &mut upstream).await;
    drop(client);
    upstream.close().await;
    let (mut client, upstream) = open(&house, &stage).await;
    drop(upstream);
    client.close().await;
    // Before upstream's answer, too.
    let mut client = Wire::open(house.addr()).await;
    client.say(asking("")).await;
    let mut upstream = stage.accept().await;
    upstream.head().await;
    drop(client);
    assert_eq!(upstream.rest().await, b"");
}

#[tokio::test]
async fn a_side_that_takes_nothing_slows_the_other_down() {
    const MOST: usize = 64 * 1024 * 1024;
    let stage = Stage::open();
    let house = House::new().config(stage.behind()).await;
    let (mut client, mut upstream) = open(&house, &stage).await;
    let sent = client.fill(MOST).await;
    assert!(sent < MOST / 2, "{sent} bytes went somewhere");
    assert_eq!(upstream.take(sent).await.len(), sent);
    let sent = upstream.fill(MOST).await;
    assert!(sent < MOST / 2, "{sent} bytes went somewhere");
    assert_eq!(client.take(sent).await.len(), sent);
    ping(&mut client, &mut upstream).await;
}

#[tokio::test]
async fn a_tunnel_has_the_patience_of_a_body_and_not_that_of_a_head() {
    let stage = Stage::open();
    let behind = stage.behind();
    let house = House::new()
        .config(|config| {
            config.server.header_timeout = Duration::from_millis(100);
            config.upstream.idle_timeout = Duration::from_millis(1500);
        })
        .config(behind)
        .await;
    let (mut client, mut upstream) = open(&house, &stage).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    ping(&mut client, &mut upstream).await;
    assert_eq!(client.rest().await, b"", "silence ends it");
    assert_eq!(upstream.rest().await, b"");
}

#[tokio::test]
async fn a_tunnel_keeps_its_place_among_the_connections() {
    let stage = Stage::open();
    let behind = stage.behind();
    let house = House::new()
        .config(|config| config.server.max_connections = 1)
        .config(behind)
        .await;
    let (mut client, mut upstream) = open(&house, &stage).await;
    let mut next = Wire::open(house.addr()).await;
    next.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let early = tokio::time::timeout(Duration::from_millis(200), next.try_head()).await;
    assert!(early.is_err(), "{early:?}");
    ping(&mut client, &mut upstream).await;
    drop((client, upstream));
    assert_eq!(next.head().await.status(), 200);
}

#[tokio::test]
async fn a_drain_waits_for_a_tunnel_as_long_as_its_grace() {
    let stage = Stage::open();
    let behind = stage.behind();
    let mut house = House::new()
        .config(|config| config.shutdown_grace = Duration::from_millis(500))
        .config(behind)
        .await;
    let (mut client, mut upstream) = open(&house, &stage).await;
    house.begin_shutdown();
    ping(&mut client, &mut upstream).await;
    assert_eq!(house.shutdown().await, Drained::CutOff(0));
    assert_eq!(soon(client.rest()).await, b"");
    assert_eq!(soon(upstream.rest()).await, b"");

    house.start().await;
    let sides = open(&house, &stage).await;
    house.begin_shutdown();
    drop(sides);
    assert_eq!(house.shutdown().await, Drained::Whole);
}
