//! Requests that are legal and mean harm: bodies that cost time to read, pages that would spend
//! somebody else's money, and keys that are guessed.

use std::time::{Duration, Instant};

use hyper::Method;
use reprise::config::{self, Config, OwnLimits};
use serde_json::json;

use crate::house::{Answer, House};
use crate::wire::exchange;

/// How long any of these bodies may take, on a machine with other things to do.
const QUICK: Duration = Duration::from_secs(20);

async fn form(house: &House, boundary: &str, body: String) -> Answer {
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let call = house.client().post("/v1/images/edits");
    call.raw(&content_type, body).send().await
}

#[tokio::test]
async fn a_body_that_is_hard_to_read_takes_no_time() {
    let house = House::new().await;
    let mib = 1 << 20;
    let deep = |open: &str, close: &str, n: usize| open.repeat(n) + "1" + &close.repeat(n);
    let bodies = [
        ("nested arrays", deep("[", "]", 10_000)),
        ("nested objects", deep("{\"a\":", "}", 10_000)),
        ("arrays that never close", "[".repeat(mib)),
        ("digits", format!("{{\"seed\":{}}}", "9".repeat(4 * mib))),
        ("an exponent", format!("{{\"seed\":1e{}}}", "9".repeat(mib))),
        (
            "names",
            format!("{{{}\"z\":1}}", "\"a\":1,".repeat(100_000)),
        ),
        ("a repeated name", r#"{"model":"m","model":"n"}"#.to_owned()),
        (
            "a repeated name, escaped",
            r#"{"model":"m","\u006dodel":"n"}"#.to_owned(),
        ),
        (
            "a lone surrogate",
            r#"{"model":"m","prompt":"\ud800"}"#.to_owned(),
        ),
        (
            "escapes",
            format!("{{\"prompt\":\"{}\"}}", "\\u0061".repeat(100_000)),
        ),
        ("a byte order mark", "\u{feff}{\"model\":\"m\"}".to_owned()),
        (
            "text behind it",
            r#"{"model":"m"} {"model":"n"}"#.to_owned(),
        ),
        ("white space", format!("{}{{}}", " ".repeat(mib))),
    ];
    for (what, body) in bodies {
        let started = Instant::now();
        let call = house.client().post("/v1/images/generations");
        let answer = call.raw("application/json", body.clone()).send().await;
        // Upstream's own word on it, or a refusal of ours: either way an answer.
        assert!(
            answer.status < 500,
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(started.elapsed() < QUICK, "{what}: {:?}", started.elapsed());
        let seen = house.sandbox.requests();
        if let Some(seen) = seen.last() {
            // The sandbox keeps a mebibyte of it.
            let begin = &body.as_bytes()[..body.len().min(mib)];
            assert!(seen.body == begin, "{what}: it came as it was");
        }
    }
}

#[tokio::test]
async fn a_form_that_is_hard_to_read_takes_no_time() {
    let house = House::new().await;
    let part = |head: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"a\"\r\n{head}\r\n{value}\r\n")
    };
    let bodies = [
        ("parts", part("", "1").repeat(100_000) + "--b--\r\n"),
        (
            "headers",
            part(&"x-more: 1\r\n".repeat(100_000), "1") + "--b--\r\n",
        ),
        (
            "one long header",
            part(&format!("x-long: {}\r\n", "x".repeat(4 << 20)), "1") + "--b--\r\n",
        ),
        ("no end", part("", "1").repeat(1000)),
        ("nothing but delimiters", "--b\r\n".repeat(100_000)),
        ("nearly delimiters", "\r\n--".repeat(500_000)),
        ("no form at all", "x".repeat(4 << 20)),
        ("nothing", String::new()),
    ];
    for (what, body) in bodies {
        let started = Instant::now();
        let answer = form(&house, "b", body).await;
        assert!(
            answer.status < 500,
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(started.elapsed() < QUICK, "{what}: {:?}", started.elapsed());
    }
    let long = "b".repeat(1 << 15);
    let answer = form(&house, &long, format!("--{long}--\r\n")).await;
    assert!(answer.status < 500, "{}", answer.text());
}

#[tokio::test]
async fn names_that_only_look_like_this_machine_are_not_served() {
    let house = House::new().await;
    let port = house.addr().port();
    for (host, served) in [
        (format!("localhost:{port}"), true),
        ("localhost:".into(), true),
        ("[::1]".into(), true),
        ("[0:0:0:0:0:0:0:1]:80".into(), true),
        ("127.0.0.1.nip.io".into(), false),
        ("localhost.evil.example".into(), false),
        ("localhost.evil.example:80".into(), false),
        ("evil-localhost".into(), false),
        ("xlocalhost".into(), false),
        ("evil.localhost".into(), false),
        ("localhost:80:80".into(), false),
        ("localhost:8o".into(), false),
        ("localhost:evil.example".into(), false),
        ("localhost, evil.example".into(), false),
        ("localhost/evil.example".into(), false),
        ("localhost#evil.example".into(), false),
        ("evil.example#localhost".into(), false),
        ("127.0.0.1:80@evil.example".into(), false),
        ("0x7f000001".into(), false),
        ("2130706433".into(), false),
        ("127.1".into(), false),
        ("0177.0.0.1".into(), false),
        ("[::ffff:7f00:1]".into(), false),
        ("[::]".into(), false),
        ("[fe80::1%25lo]".into(), false),
        ("::1.evil.example".into(), false),
        ("\u{2113}ocalhost".into(), false),
    ] {
        let text = format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let before = house.sandbox.requests().len();
        let (head, _) = exchange(house.addr(), text).await;
        let status = head.status();
        if served {
            assert_eq!(status, 200, "{host}");
        } else {
            assert!(matches!(status, 400 | 421), "{host}: {status}");
            assert_eq!(house.sandbox.requests().len(), before, "{host}");
        }
    }
}

#[tokio::test]
async fn no_page_gets_in_by_a_side_door() {
    let house = House::new().await;
    let image = json!({"model": "gpt-image-2", "prompt": "a"}).to_string();
    let socket = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in [
        ("origin", "null"),
        ("origin", "file://"),
        ("origin", "http://127.0.0.1"),
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let client = house.client();
        let mut calls = vec![
            // An image, a form, a beacon: what a page sends without asking.
            client.get("/v1/models"),
            client
                .post("/v1/images/generations")
                .raw("text/plain", image.clone()),
            client
                .post("/v1/images/generations")
                .raw("application/x-www-form-urlencoded", image.clone()),
            client
                .post("/v1/chat/completions")
                .raw("multipart/form-data; boundary=x", image.clone()),
            client.call(Method::DELETE, "/v1/videos/task_1"),
        ];
        let mut websocket = client.get("/v1/realtime");
        for (name, value) in socket {
            websocket = websocket.header(name, value);
        }
        calls.push(websocket);
        for preflight in ["/v1/images/generations", "/v1/videos/task_1", "/api/stats"] {
            calls.push(
                client
                    .call(Method::OPTIONS, preflight)
                    .header("access-control-request-method", "POST")
                    .header("access-control-request-private-network", "true"),
            );
        }
        for call in calls {
            let answer = call.header(name, value).send().await;
            assert_eq!(answer.status, 403, "{name}: {value}: {}", answer.text());
            assert_eq!(answer.error_code(), "origin_not_allowed");
            for allowing in [
                "access-control-allow-origin",
                "access-control-allow-private-network",
            ] {
                assert_eq!(answer.header(allowing), "", "{value}");
            }
        }
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

fn anna(config: &mut Config) {
    let client = config::Client {
        key_hash: blake3::hash(b"sk-anna-0123456789"),
        limits: OwnLimits::default(),
    };
    config.clients.insert("anna".into(), client);
}

/// Ten thousand guesses are as wrong as one, and tell as little.
#[tokio::test]
async fn a_guessed_key_learns_nothing() {
    let house = House::new().config(anna).await;
    let image = json!({"model": "gpt-image-2", "prompt": "kept"});
    let kept = house
        .client()
        .post("/v1/images/generations")
        .key("sk-anna-0123456789")
        .json(&image);
    assert_eq!(kept.send().await.status, 200);
    let before = house.sandbox.requests().len();
    let body = image.to_string();
    let length = body.len();
    let mut first = None;
    let started = Instant::now();
    for nth in 0..10_000 {
        // What is kept, what is not, what exists and what does not; a near miss and a far one.
        let line = [
            "POST /v1/images/generations",
            "POST /v1/images/generations?other=1",
            "GET /v1/models",
            "GET /v1/nowhere",
            "GET /v1/videos/task_1",
        ][nth % 5];
        let key = match nth % 3 {
            0 => format!("sk-anna-{nth:010}x"),
            1 => format!("sk-anna-012345678{}", nth % 9),
            _ => String::new(),
        };
        let text = if line.starts_with("POST") {
            format!(
                "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        } else {
            format!(
                "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
            )
        };
        let (head, body) = exchange(house.addr(), text).await;
        assert_eq!(head.status(), 401, "{line} {key}");
        // All that differs is who asked and when.
        let mut shown: Vec<_> = head
            .fields
            .into_iter()
            .filter(|(name, _)| name != "x-request-id" && name != "date")
            .collect();
        shown.sort();
        let shown = (shown, body);
        assert_eq!(first.get_or_insert_with(|| shown.clone()), &shown, "{line}");
    }
    assert_eq!(house.sandbox.requests().len(), before);
    // Some ten thousand connections as well; a guess alone must not become a burden.
    assert!(started.elapsed() < Duration::from_mins(2));
}
