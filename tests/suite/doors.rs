//! What does not come in: foreign hosts and pages, ambiguous framing, paths that leave `/v1`, bodies
//! that are too large. And what everybody may ask.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::house::{Answer, House, soon};
use crate::wire::{Wire, exchange};

fn assert_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.error_code(), code, "{what}");
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
    assert!(!answer.header("x-request-id").is_empty(), "{what}");
}

#[tokio::test]
async fn only_our_own_names_are_served() {
    let house = House::new()
        .config(|config| {
            config.allowed_hosts = vec!["reprise.lan".into(), "team.example:8787".into()];
        })
        .await;
    let port = house.addr().port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        ("localhost".into(), 200),
        ("LOCALHOST:1".into(), 200),
        (format!("[::1]:{port}"), 200),
        ("127.8.8.8".into(), 200),
        ("reprise.lan:99".into(), 200),
        ("team.example:8787".into(), 200),
        ("team.example".into(), 421),
        ("attacker.example".into(), 421),
        (format!("attacker.example:{port}"), 421),
        ("localhost.attacker.example".into(), 421),
        ("127.0.0.1.attacker.example".into(), 421),
        ("10.0.0.1".into(), 421),
        ("0.0.0.0".into(), 421),
        ("localhost@attacker.example".into(), 421),
        (String::new(), 421),
    ] {
        for (method, path) in [("GET", "/v1/models"), ("POST", "/v1/images/generations")] {
            let before = house.sandbox.requests().len();
            let text =
                format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
            let (head, body) = exchange(house.addr(), text).await;
            if status == 200 {
                assert_ne!(head.status(), 421, "{host}");
                continue;
            }
            let body = String::from_utf8_lossy(&body);
            assert!((400..=421).contains(&head.status()), "{host}: {head:?}");
            if head.status() == 421 {
                assert!(
                    body.contains(r#""code":"host_not_allowed""#),
                    "{host}: {body}"
                );
                assert_eq!(head.all("x-should-retry"), ["false"], "{host}");
            }
            assert_eq!(house.sandbox.requests().len(), before, "{host}");
        }
    }
}

#[tokio::test]
async fn a_web_page_cannot_spend_the_teams_money() {
    let house = House::new()
        .config(|config| config.allowed_origins = vec!["https://app.example".into()])
        .await;
    let image = json!({"model": "gpt-image-2", "prompt": "a"});
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://app.example"),
        ("origin", "https://app.example:444"),
        ("origin", "https://app.example.evil.example"),
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for call in [
            house.client().get("/v1/models"),
            house.client().post("/v1/images/generations").json(&image),
            // What a page may send without asking first.
            house
                .client()
                .post("/v1/images/generations")
                .raw("text/plain", image.to_string()),
            house
                .client()
                .call(Method::OPTIONS, "/v1/images/generations")
                .header("access-control-request-method", "POST"),
        ] {
            let answer = call.header(name, value).send().await;
            assert_refused(&answer, 403, "origin_not_allowed", value);
            assert_eq!(answer.header("x-should-retry"), "false");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{value}");
        }
    }
    let two = house
        .client()
        .get("/v1/models")
        .header("origin", "https://app.example")
        .header("origin", "https://evil.example");
    assert_refused(&two.send().await, 403, "origin_not_allowed", "two origins");
    assert_eq!(house.sandbox.requests().len(), 0);
    for site in ["same-origin", "same-site", "none"] {
        let call = house
            .client()
            .get("/v1/models")
            .header("sec-fetch-site", site);
        assert_eq!(call.send().await.status, 200, "{site}");
    }
}

#[tokio::test]
async fn an_allowed_page_is_told_that_it_may() {
    let house = House::new()
        .config(|config| {
            config.allowed_origins = vec!["https://app.example".into()];
            let client = reprise::config::Client {
                key_hash: blake3::hash(b"sk-page"),
                limits: reprise::config::OwnLimits::default(),
            };
            config.clients.insert("page".into(), client);
        })
        .await;
    let origin = "https://app.example";
    // A preflight carries no key.
    let preflight = house
        .client()
        .call(Method::OPTIONS, "/v1/images/generations")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization, content-type, reprise-take",
        )
        .send()
        .await;
    assert!(preflight.status == 204 || preflight.status == 200);
    assert_eq!(preflight.header("access-control-allow-origin"), origin);
    assert!(
        preflight
            .header("access-control-allow-methods")
            .contains("POST")
    );
    let headers = preflight.header("access-control-allow-headers");
    assert!(headers.contains("authorization") && headers.contains("reprise-take"));
    assert!(
        preflight
            .header("vary")
            .to_ascii_lowercase()
            .contains("origin")
    );
    assert_eq!(house.sandbox.requests().len(), 0);

    let image = json!({"model": "gpt-image-2", "prompt": "a"});
    let call = || {
        house
            .client()
            .post("/v1/images/generations")
            .header("origin", origin)
            .json(&image)
    };
    for (answer, status) in [
        (call().key("sk-page").send().await, 200),
        (call().key("sk-page").send().await, 200),
        (
            call()
                .header("sec-fetch-site", "cross-site")
                .key("sk-page")
                .send()
                .await,
            200,
        ),
        (call().send().await, 401),
    ] {
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        let exposed = answer
            .header("access-control-expose-headers")
            .to_ascii_lowercase();
        assert!(exposed.contains("cache-status") && exposed.contains("x-request-id"));
        assert!(
            answer
                .header("vary")
                .to_ascii_lowercase()
                .contains("origin")
        );
    }
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn dot_segments_do_not_leave_v1() {
    let house = House::new().await;
    for path in [
        "/v1/..",
        "/v1/../api/pricing",
        "/v1/../v1/models",
        "/v1/%2e%2e/api/pricing",
        "/v1/%2E%2e/api/pricing",
        "/v1/.%2e/api/pricing",
        "/v1/..%2fapi/pricing",
        "/v1/..%5capi",
        "/v1/%252e%252e/api/pricing",
        "/v1/echo/../../api/pricing",
        "/v1/echo/..%2f..%2fapi/pricing",
        "/v1/..;/api/pricing",
    ] {
        for method in ["GET", "POST"] {
            let text =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
            let (head, body) = exchange(house.addr(), text).await;
            assert_eq!(head.status(), 400, "{method} {path}");
            assert!(
                String::from_utf8_lossy(&body).contains("\"error\""),
                "{path}"
            );
        }
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

#[tokio::test]
async fn tunnels_and_traces_are_refused() {
    let house = House::new().await;
    for text in [
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
        "TRACE /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let (head, body) = exchange(house.addr(), text).await;
        assert_eq!(head.status(), 405, "{text}");
        assert!(
            String::from_utf8_lossy(&body).contains("method_not_allowed"),
            "{text}"
        );
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

#[tokio::test]
async fn what_two_servers_could_read_differently_is_refused() {
    let house = House::new().await;
    let post = "POST /v1/echo HTTP/1.1\r\n";
    for (what, head) in [
        ("no host", format!("{post}Content-Length: 0\r\n\r\n")),
        (
            "no host in 1.0",
            "GET /v1/models HTTP/1.0\r\n\r\n".to_owned(),
        ),
        (
            "two hosts",
            format!("{post}Host: localhost\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "two keys",
            format!(
                "{post}Host: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer a\r\nContent-Length: 0\r\n\r\n"
            ),
        ),
        (
            "two lengths",
            format!("{post}Host: localhost\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"),
        ),
        (
            "a length that is none",
            format!("{post}Host: localhost\r\nContent-Length: -1\r\n\r\n"),
        ),
        (
            "an odd coding",
            format!("{post}Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "two codings",
            format!(
                "{post}Host: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "a host and another target",
            "GET http://other.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "a space before the colon",
            format!("{post}Host: localhost\r\nContent-Length : 0\r\n\r\n"),
        ),
    ] {
        let mut wire = Wire::open(house.addr()).await;
        wire.say(&head).await;
        let status = wire.head().await.status();
        assert_eq!(status, 400, "{what}");
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

/// Both ways round.
#[tokio::test]
async fn a_coding_beside_a_length_is_refused() {
    let house = House::new().await;
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let text = format!("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n0\r\n\r\n");
        let mut wire = Wire::open(house.addr()).await;
        wire.say(text).await;
        assert_eq!(wire.head().await.status(), 400, "{framing}");
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

/// Whatever becomes of such a message, nothing is smuggled behind it.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_doubtful_length() {
    let house = House::new().await;
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n",
    ] {
        let text = format!(
            "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n0\r\n\r\n\
             GET /v1/echo/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
        let mut wire = Wire::open(house.addr()).await;
        wire.say(text).await;
        wire.head().await;
        wire.rest().await;
        for seen in house.sandbox.requests() {
            assert!(
                seen.header("content-length").is_none(),
                "{framing}: {:?}",
                seen.headers
            );
        }
        assert_eq!(house.sandbox.count("/v1/echo/smuggled"), 0, "{framing}");
    }
}

#[tokio::test]
async fn a_404_helps() {
    let house = House::new().await;
    for (method, path, hint) in [
        (Method::POST, "/chat/completions", "/v1/chat/completions"),
        (
            Method::POST,
            "/images/generations",
            "/v1/images/generations",
        ),
        (Method::POST, "/responses", "/v1/responses"),
        (Method::POST, "/messages", "/v1/messages"),
        (Method::POST, "/rerank", "/v1/rerank"),
        (Method::GET, "/models", "/v1/models"),
        (
            Method::GET,
            "/video/generations/task_x",
            "/v1/video/generations/task_x",
        ),
        (Method::GET, "/videos/task_x", "/v1/videos/task_x"),
        (Method::POST, "/files", "/v1/files"),
        (Method::GET, "/nowhere", "/v1/"),
        (Method::GET, "/v1", "/v1/"),
        (Method::GET, "/v2/models", "/v1/"),
    ] {
        let answer = house.client().call(method.clone(), path).send().await;
        assert_refused(&answer, 404, "not_found", path);
        let message = answer.error_message();
        assert!(message.contains(hint), "{path}: {message}");
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

const LIMIT: &str = "request_too_large";

fn small(config: &mut reprise::config::Config) {
    config.cache.max_request_body = 1000;
}

#[tokio::test]
async fn a_body_that_says_how_large_it_is_is_refused_unread() {
    let house = House::new().config(small).await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut wire = Wire::open(house.addr()).await;
        wire.say(format!(
            "POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n{expect}Content-Length: 1001\r\n\r\n"
        ))
        .await;
        // Not a byte of the body was sent, nor asked for.
        let head = wire.head().await;
        assert_eq!(head.status(), 413, "{head:?}");
        assert_eq!(head.all("x-should-retry"), ["false"]);
        let body = wire.body(&head).await;
        assert!(String::from_utf8_lossy(&body).contains(LIMIT));
    }
    assert_eq!(house.sandbox.requests().len(), 0);
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_as_soon_as_it_is_too_long() {
    let house = House::new().config(small).await;
    let mut wire = Wire::open(house.addr()).await;
    wire.say("POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..11 {
        wire.say(format!("64\r\n{}\r\n", "x".repeat(100))).await;
    }
    let head = wire.head().await;
    assert_eq!(head.status(), 413, "{head:?}");
    assert_eq!(house.sandbox.requests().len(), 0);
}

#[tokio::test]
async fn the_limit_is_for_generations_and_includes_itself() {
    let house = House::new().config(small).await;
    let body = |length: usize| {
        let frame = json!({"model": "gpt-image-2", "prompt": ""})
            .to_string()
            .len();
        json!({"model": "gpt-image-2", "prompt": "x".repeat(length - frame)})
    };
    for client in [house.client(), house.client_h2()] {
        let fits = client
            .post("/v1/images/generations")
            .json(&body(1000))
            .send()
            .await;
        assert_eq!(fits.status, 200);
        let large = client
            .post("/v1/images/generations")
            .json(&body(1001))
            .send()
            .await;
        assert_refused(&large, 413, LIMIT, "one too many");
        let passed = client
            .post("/v1/echo")
            .raw("text/plain", vec![7; 5000])
            .send()
            .await;
        assert_eq!(passed.json()["body_length"], 5000);
    }
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn health_is_answered_exactly() {
    let house = House::new().await;
    for path in ["/healthz", "/readyz"] {
        for client in [house.client(), house.client_h2()] {
            let answer = client.get(path).send().await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, r#"{"status":"ok"}"#)
            );
            assert_eq!(answer.header("content-type"), "application/json");
            let head = client.call(Method::HEAD, path).send().await;
            assert_eq!((head.status, head.body.len()), (200, 0));
        }
    }
    house.stop_sandbox().await;
    assert_eq!(house.client().get("/readyz").send().await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let house = House::new()
        .config(|config| config.server.max_header_bytes = 16 * 1024)
        .await;
    let (head, _) = exchange(
        house.addr(),
        format!(
            "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n",
            "x".repeat(20 * 1024)
        ),
    )
    .await;
    assert_eq!(head.status(), 431);
    assert_eq!(house.sandbox.requests().len(), 0);
}

#[tokio::test]
async fn half_a_request_begins_nothing() {
    let house = House::new().await;
    let body = json!({"model": "gpt-image-2", "prompt": "half"}).to_string();
    let (half, _) = body.split_at(body.len() / 2);
    let head = "POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for text in [
        format!("{head}Content-Length: {}\r\n\r\n{half}", body.len()),
        format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
            body.len()
        ),
        format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}",
            body.len()
        ),
    ] {
        let mut wire = Wire::open(house.addr()).await;
        wire.say(text).await;
        wire.close().await;
    }
    assert_eq!(house.sandbox.requests().len(), 0);
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let (answer, _) = exchange(house.addr(), whole).await;
    assert_eq!(answer.all("cache-status"), ["reprise; fwd=miss; stored"]);
}

#[tokio::test]
async fn many_small_headers_are_no_large_head() {
    let house = House::new().await;
    let many = (0..300).fold(String::new(), |many, at| {
        many + &format!("x-h{at}: {at}\r\n")
    });
    let text = format!("GET /v1/echo HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    let (head, _) = exchange(house.addr(), text).await;
    assert_eq!(head.status(), 200);
    let seen = house.sandbox.requests().pop().unwrap();
    assert_eq!(seen.header("x-h299"), Some("299"));
}

/// One request over HTTP/2 with this `:authority`, and a `Host` beside it if there is one.
async fn h2(house: &House, authority: &str, host: Option<&str>) -> u16 {
    let stream = tokio::net::TcpStream::connect(house.addr()).await.unwrap();
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut request = hyper::Request::get(format!("http://{authority}/v1/models"));
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer = soon(send.send_request(request)).await.unwrap();
    connection.abort();
    answer.status().as_u16()
}

#[tokio::test]
async fn an_authority_is_a_host() {
    let house = House::new().await;
    for (authority, host, status) in [
        ("localhost", None, 200),
        ("127.0.0.1:1", None, 200),
        ("attacker.example", None, 421),
        ("localhost", Some("localhost"), 200),
        ("localhost", Some("attacker.example"), 400),
        ("attacker.example", Some("localhost"), 400),
    ] {
        assert_eq!(
            h2(&house, authority, host).await,
            status,
            "{authority} {host:?}"
        );
    }
    assert_eq!(house.sandbox.requests().len(), 3);
}

/// SECURITY: what upstream answers would have the console's origin, and its session.
#[tokio::test]
async fn a_page_of_upstream_s_has_no_origin() {
    let house = House::new().await;
    let page = "<script>fetch('/api/jobs')</script>";
    let fault = house.sandbox.on("GET /v1/files");
    fault.answer(200, "text/html", page).always();
    let target = "/v1/files/file_1/content";
    for (name, value) in [
        ("sec-fetch-dest", "document"),
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-dest", "object"),
        ("sec-fetch-mode", "navigate"),
        ("upgrade-insecure-requests", "1"),
        ("cookie", "a=1; reprise_session=2"),
    ] {
        for client in [house.client(), house.client_h2()] {
            let answer = client.get(target).header(name, value).send().await;
            assert_eq!((answer.status, answer.text()), (200, page.to_owned()));
            assert_eq!(answer.header("content-security-policy"), "sandbox");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
    for (name, value) in [
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-mode", "cors"),
        ("accept", "text/html"),
        ("cookie", "a=1"),
    ] {
        let answer = house.client().get(target).header(name, value).send().await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, page.to_owned()),
            "{value}"
        );
        assert!(!answer.headers.contains_key("content-security-policy"));
    }
}

/// SECURITY: a browser sends it along, and it is nobody's business there.
#[tokio::test]
async fn the_console_s_session_does_not_go_upstream() {
    let house = House::new().await;
    for (cookie, left) in [
        ("reprise_session=1", None),
        ("a=1; reprise_session=2; b=3", Some("a=1; b=3")),
        ("__Host-reprise_session=1;b=3", Some("b=3")),
        (
            "a=1; my_reprise_session=2",
            Some("a=1; my_reprise_session=2"),
        ),
    ] {
        let call = house.client().get("/v1/models").header("cookie", cookie);
        // A script says that it is none of a page.
        let answer = call.header("sec-fetch-dest", "empty").send().await;
        assert_eq!(answer.status, 200, "{cookie}");
        let seen = house.sandbox.requests();
        assert_eq!(seen.last().unwrap().header("cookie"), left, "{cookie}");
    }
}
