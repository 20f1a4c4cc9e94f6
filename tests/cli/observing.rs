//! What the operator sees: a line for each request, and the figures at `/metrics`.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::call::{Reply, get, post, send, soon, try_send};
use crate::exposition::Page;
use crate::program::{Home, Program};

const ANNA: &str = "key-canary-of-anna";
const CARL: &str = "key-canary-of-carl";
/// In every prompt, key and query.
const CANARY: &str = "canary";

type Ask = Request<Full<Bytes>>;

struct Stage {
    sandbox: Sandbox,
    home: Home,
    program: Program,
}

impl Stage {
    async fn at(level: &str, more: &str) -> Self {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let home = Home::new();
        let hash = blake3::hash(ANNA.as_bytes()).to_hex();
        let file = format!(
            "[clients.anna]\nkey_hash = \"blake3:{hash}\"\n[media]\nallow = [\"127.0.0.1\"]\n{more}"
        );
        home.write("proxy.toml", &file);
        let mut command = home.serving(&sandbox);
        command
            .env("REPRISE_LOG__LEVEL", level)
            .args(["--log-format", "json"]);
        let mut program = Program::start(&mut command);
        program.listening().await;
        Self {
            sandbox,
            home,
            program,
        }
    }

    fn url(&self, path: &str) -> String {
        self.program.url(path)
    }

    fn image(&self, prompt: &str) -> Ask {
        let body = json!({"model": "grok-imagine-image", "prompt": format!("{CANARY} {prompt}")});
        of_anna(post(&self.url("/v1/images/generations"), &body))
    }

    fn chat(&self, prompt: &str) -> Ask {
        let body = json!({
            "model": "grok-4.5", "stream": true,
            "messages": [{"role": "user", "content": format!("{CANARY} {prompt}")}],
        });
        of_anna(post(&self.url("/v1/chat/completions"), &body))
    }

    /// The lines of requests so far.
    fn lines(&self) -> Vec<Value> {
        let printed = self.program.err();
        let whole = printed.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let lines = whole.lines().map(read);
        lines
            .filter(|line: &Value| line["message"] == "request")
            .collect()
    }

    /// The one line for which `is` holds, once it is there.
    async fn line(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let mut lines = self.lines();
                lines.retain(&is);
                match lines.as_slice() {
                    [line] => return line.clone(),
                    [] => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                    _ => panic!("{what} is told twice: {lines:?}"),
                }
            }
        };
        let found = tokio::time::timeout(crate::call::PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("nothing is told of {what}:\n{}", self.program.err()))
    }

    /// The line of the request that was answered so; what it says beside its times is `expected`.
    async fn told(&self, reply: &Reply, expected: Value) {
        let id = reply.header("x-request-id").to_owned();
        let line = self.line(&id, |line| line["id"] == id.as_str()).await;
        check(&line, &expected);
        assert_eq!(line["status"], reply.status, "{line}");
        assert_eq!(line["bytes_out"], reply.body.len(), "{line}");
    }

    async fn figures(&self) -> Page {
        let reply = send(get(&self.url("/metrics"))).await;
        assert_eq!(reply.status, 200);
        Page::read(str::from_utf8(&reply.body).unwrap())
    }
}

/// Fields with `null` are not to be there.
fn check(line: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(
            line.get(name).unwrap_or(&Value::Null),
            value,
            "{name} in {line}"
        );
    }
    let total = line["total_ms"].as_f64().unwrap();
    let upstream = line["upstream_ms"].as_f64().unwrap_or(0.0);
    assert!(total > 0.0 && upstream <= total, "{line}");
}

fn of_anna(request: Ask) -> Ask {
    with(request, "authorization", &format!("Bearer {ANNA}"))
}

fn with(mut request: Ask, name: &'static str, value: &str) -> Ask {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

async fn answered(request: Ask) -> Reply {
    let reply = send(request).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

/// A line says that upstream was asked, or that it was not.
fn asked(line: &Value) -> bool {
    line["upstream_ms"].is_number()
}

#[tokio::test]
async fn every_generation_is_told_of_as_it_was_answered() {
    let stage = Stage::at("info", "").await;
    let image = json!({
        "method": "POST", "route": "/v1/images/generations", "path": "/v1/images/generations",
        "client": "anna", "kind": "images", "ended": "whole", "error": null, "reason": null,
    });
    let image = |more: Value| {
        let mut all = image.clone();
        let more = more.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(more);
        all
    };
    let sent = stage.image("one").into_body();
    let length = http_body::Body::size_hint(&sent).exact().unwrap();
    let first = answered(stage.image("one")).await;
    stage
        .told(
            &first,
            image(json!({"outcome": "stored", "bytes_in": length})),
        )
        .await;
    let hit = answered(stage.image("one")).await;
    stage
        .told(&hit, image(json!({"outcome": "hit", "upstream_ms": null})))
        .await;
    let no_store = answered(with(stage.image("one"), "cache-control", "no-store")).await;
    let expected = json!({"outcome": "bypass", "reason": "no-store"});
    stage.told(&no_store, image(expected)).await;

    let chat = answered(stage.chat("one")).await;
    let expected = json!({
        "kind": "chat", "route": "/v1/chat/completions", "outcome": "stored", "ended": "whole",
    });
    stage.told(&chat, expected).await;

    stage
        .sandbox
        .on("POST /v1/images")
        .answer(400, "application/json", "{\"error\":{}}");
    let failed = send(stage.image("two")).await;
    stage
        .told(&failed, image(json!({"outcome": "failed"})))
        .await;
    stage
        .sandbox
        .on("POST /v1/images")
        .answer(502, "text/html", "bad gateway");
    let doubtful = send(stage.image("three")).await;
    stage
        .told(&doubtful, image(json!({"outcome": "unknown"})))
        .await;
    stage
        .sandbox
        .on("POST /v1/images")
        .answer(504, "text/html", "gateway timeout");
    let passed_by = with(stage.image("five"), "cache-control", "no-store");
    let passed_by = send(passed_by).await;
    let expected = json!({"outcome": "unknown", "reason": "no-store"});
    stage.told(&passed_by, image(expected)).await;
    stage.sandbox.on("POST /v1/images").close_before_head();
    let unknown = send(stage.image("four")).await;
    let expected = json!({"outcome": "unknown", "error": "upstream_outcome_unknown"});
    stage.told(&unknown, image(expected)).await;
    let open = send(stage.image("four")).await;
    let expected = json!({"outcome": "refused", "error": "outcome_unknown", "upstream_ms": null});
    stage.told(&open, image(expected)).await;

    let all = stage.lines();
    let of_upstream = all.iter().filter(|line| asked(line));
    assert_eq!(of_upstream.count(), 7, "{all:?}");
    assert!(!stage.program.printed().contains(CANARY));
}

#[tokio::test]
async fn jobs_files_and_everything_else_are_told_of() {
    let more = "[jobs]\nmin_poll_interval = \"100ms\"\npoll_interval = \"1h\"\n";
    let stage = Stage::at("trace", more).await;
    let body = json!({"model": "doubao-seedance-2-0-720p", "prompt": CANARY});
    let submit = of_anna(post(&stage.url("/v1/videos"), &body));
    stage
        .sandbox
        .set_job_time(std::time::Duration::from_hours(1));
    let submitted = answered(submit.clone()).await;
    let video = |outcome| json!({"kind": "video", "route": "/v1/videos", "outcome": outcome});
    stage.told(&submitted, video("stored")).await;
    let joined = answered(submit).await;
    stage.told(&joined, video("joined")).await;
    let id = submitted.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/videos/{id}");
    let poll = || of_anna(get(&stage.program.url(&path)));
    let running = answered(poll()).await;
    stage.sandbox.finish_jobs();
    let kept = soon(async {
        loop {
            let reply = answered(poll()).await;
            if reply.header("cache-status").contains("hit") {
                return reply;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let kept = kept.await;
    let expected = json!({
        "kind": "poll", "outcome": "bypass", "reason": "job-running", "path": path,
        "route": "/v1/videos/{id}", "client": "anna",
    });
    stage.told(&running, expected).await;
    let expected = json!({"kind": "poll", "outcome": "hit", "upstream_ms": null});
    stage.told(&kept, expected).await;

    let secret = format!("/v1/models?limit=1&x={CANARY}");
    let models = answered(of_anna(get(&stage.url(&secret)))).await;
    let expected = json!({
        "kind": "other", "outcome": "bypass", "reason": "not-a-generation", "path": "/v1/models",
        "bytes_in": 0,
    });
    stage.told(&models, expected).await;
    let stranger = send(get(&stage.url("/v1/models"))).await;
    let expected = json!({
        "kind": "unread", "outcome": "refused", "error": "invalid_api_key", "client": null,
        "upstream_ms": null,
    });
    stage.told(&stranger, expected).await;
    let long = "x".repeat(70 * 1024);
    let large = send(with(get(&stage.url("/v1/models")), "x-long", &long)).await;
    assert_eq!(large.status, 431);
    stage
        .line("a head that is too large", |line| {
            line["error"] == "headers_too_large"
        })
        .await;

    let link = media_link(&stage).await;
    let file = answered(get(&stage.url(&link))).await;
    let expected = json!({
        "kind": "media", "route": "/media/{file}", "outcome": "served", "client": null,
        "upstream_ms": null, "path": format!("{}…", &link[..23]),
    });
    stage.told(&file, expected).await;
    send(get(&stage.url("/healthz"))).await;
    let health = stage
        .line("health", |line| line["path"] == "/healthz")
        .await;
    assert_eq!(
        (&health["kind"], &health["level"]),
        (&json!("own"), &json!("DEBUG"))
    );
    let printed = stage.program.printed();
    assert!(printed.contains("TRACE"), "as talkative as it gets");
    let at = printed
        .find(CANARY)
        .map(|at| &printed[at.saturating_sub(300)..at + 50]);
    assert_eq!(at, None, "a prompt, a key or a query is in the log");
    assert!(!printed.contains(&link), "a link is a permission");
    drop(stage.home);
}

/// The link to the kept file of an image, once it is kept.
async fn media_link(stage: &Stage) -> String {
    soon(async {
        loop {
            let reply = answered(stage.image("linked")).await;
            let url = reply.json()["data"][0]["url"].as_str().unwrap().to_owned();
            if let Some((_, file)) = url.split_once("/media/") {
                return format!("/media/{file}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn who_leaves_and_who_waits_is_told_of() {
    let stage = Stage::at("info", "").await;
    let gate = stage.sandbox.hold("POST /v1/chat");
    let leader = tokio::spawn(send(stage.chat("one")));
    soon(gate.arrived(1)).await;
    let joiner = tokio::spawn(send(stage.chat("one")));
    let addr = stage
        .program
        .origin
        .trim_start_matches("http://")
        .to_owned();
    let mut leaving = TcpStream::connect(&addr).await.unwrap();
    let body = json!({"model": "grok-4.5", "prompt": CANARY}).to_string();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ANNA}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stage.sandbox.on("POST /v1/completions").stall_after(0);
    leaving.write_all(head.as_bytes()).await.unwrap();
    soon(async {
        while stage.sandbox.count("POST /v1/completions") == 0
            || stage.figures().await.of("reprise_requests_waiting") < 3
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let page = stage.figures().await;
    assert_eq!(page.of("reprise_paid_calls_in_flight"), 2);
    // Three that wait, and the one that asks.
    assert_eq!(page.of("reprise_requests_in_flight"), 4);
    drop(leaving);
    let left = stage.line("who left", |line| line["ended"] == "left").await;
    let expected = json!({
        "outcome": "left", "kind": "chat", "route": "/v1/completions", "client": "anna", "status": null,
        "bytes_in": body.len(), "bytes_out": 0,
    });
    check(&left, &expected);
    gate.release();
    let (first, second) = (leader.await.unwrap(), joiner.await.unwrap());
    stage.told(&first, json!({"outcome": "stored"})).await;
    stage
        .told(&second, json!({"outcome": "joined", "upstream_ms": null}))
        .await;

    let mut socket = TcpStream::connect(&addr).await.unwrap();
    let head = format!(
        "GET /v1/realtime?key={ANNA} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    soon(async {
        while !read.ends_with(b"\r\n\r\n") && socket.read_buf(&mut read).await.unwrap() > 0 {}
    })
    .await;
    assert!(
        read.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&read)
    );
    assert_eq!(stage.figures().await.of("reprise_tunnels"), 1);
    // A masked text of two letters (RFC 6455 §5.2), which comes back unmasked.
    socket
        .write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'])
        .await
        .unwrap();
    let mut said = [0; 4];
    soon(socket.read_exact(&mut said)).await.unwrap();
    assert_eq!(said, [0x81, 2, b'h', b'i']);
    drop(socket);
    let line = stage
        .line("a tunnel", |line| line["kind"] == "websocket")
        .await;
    let expected = json!({
        "status": 101, "route": "/v1/realtime", "path": "/v1/realtime", "outcome": "bypass",
        "reason": "not-a-generation", "bytes_in": 8,
    });
    check(&line, &expected);
    assert!(line["bytes_out"].as_u64().unwrap() >= 4, "{line}");
    assert!(!stage.program.printed().contains(CANARY));
}

#[tokio::test]
async fn the_log_can_be_silent_about_requests() {
    let stage = Stage::at("info,reprise::request=off", "").await;
    answered(stage.image("one")).await;
    let Stage { program, .. } = stage;
    program.signal("TERM");
    let ended = program.end().await;
    assert!(ended.err.contains("stopped"), "{}", ended.err);
    assert!(!ended.err.contains("\"request\""), "{}", ended.err);
}

/// What is counted by then.
const COUNTS: [(&str, u64); 26] = [
    (
        "reprise_requests_total{kind=\"images\",outcome=\"stored\"}",
        1,
    ),
    ("reprise_requests_total{kind=\"images\",outcome=\"hit\"}", 3),
    (
        "reprise_requests_total{kind=\"images\",outcome=\"bypass\"}",
        1,
    ),
    (
        "reprise_requests_total{kind=\"images\",outcome=\"failed\"}",
        1,
    ),
    (
        "reprise_requests_total{kind=\"other\",outcome=\"bypass\"}",
        1,
    ),
    (
        "reprise_requests_total{kind=\"unread\",outcome=\"refused\"}",
        2,
    ),
    (
        "reprise_requests_total{kind=\"images\",outcome=\"refused\"}",
        1,
    ),
    (
        "reprise_generations_total{kind=\"images\",outcome=\"paid\"}",
        2,
    ),
    (
        "reprise_generations_total{kind=\"images\",outcome=\"hit\"}",
        3,
    ),
    (
        "reprise_generations_total{kind=\"images\",outcome=\"failed\"}",
        1,
    ),
    ("reprise_refusals_total{limit=\"usd_per_day\"}", 1),
    ("reprise_errors_total{code=\"insufficient_quota\"}", 1),
    ("reprise_bypasses_total{reason=\"no-store\"}", 1),
    ("reprise_bypasses_total{reason=\"not-a-generation\"}", 1),
    ("reprise_errors_total{code=\"invalid_api_key\"}", 1),
    ("reprise_errors_total{code=\"invalid_request\"}", 1),
    ("reprise_refusals_total{limit=\"requests_per_minute\"}", 0),
    ("reprise_upstream_head_seconds_count{kind=\"images\"}", 3),
    ("reprise_upstream_answer_seconds_count{kind=\"images\"}", 3),
    ("reprise_upstream_head_seconds_count{kind=\"other\"}", 1),
    ("reprise_media_files_total{outcome=\"kept\"}", 1),
    ("reprise_paid_calls_in_flight", 0),
    ("reprise_requests_in_flight", 1),
    ("reprise_jobs_running", 0),
    ("reprise_store_errors_total", 0),
    ("reprise_evictions_waiting", 0),
];

#[tokio::test]
async fn the_figures_are_exact() {
    let hash = blake3::hash(CARL.as_bytes()).to_hex();
    let more = format!(
        "[prices.\"grok-imagine-image\"]\nper_request = 0.5\n\
         [clients.carl]\nkey_hash = \"blake3:{hash}\"\nusd_per_day = 0.1\n"
    );
    let stage = Stage::at("info", &more).await;
    let of_carl = format!("Bearer {CARL}");
    let poor = send(with(stage.image("three"), "authorization", &of_carl)).await;
    assert_eq!(
        (poor.status, poor.code().as_str()),
        (402, "insufficient_quota")
    );
    answered(stage.image("one")).await;
    for _ in 0..3 {
        answered(stage.image("one")).await;
    }
    answered(with(stage.image("one"), "cache-control", "no-store")).await;
    answered(of_anna(get(&stage.url("/v1/models")))).await;
    assert_eq!(send(get(&stage.url("/v1/models"))).await.status, 401);
    stage
        .sandbox
        .on("POST /v1/images")
        .answer(400, "application/json", "{\"error\":{}}");
    assert_eq!(send(stage.image("two")).await.status, 400);
    // What is no request at all counts too.
    let addr = stage.program.origin.trim_start_matches("http://");
    let mut unreadable = TcpStream::connect(addr).await.unwrap();
    unreadable.write_all(b"no request\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    soon(unreadable.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    // The end of an answer is counted when hyper has its last byte, which may be a moment later.
    let others = |page: &Page| page.sum_without("reprise_requests_total", "\"own\"");
    let page = soon(async {
        loop {
            let page = stage.figures().await;
            let files = page.of("reprise_media_files_total{outcome=\"kept\"}");
            if others(&page) >= 10 && files >= 1 {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(others(&page), 10);
    for (series, dollars) in [
        ("reprise_spent_dollars_total{client=\"anna\"}", "1.0"),
        ("reprise_saved_dollars_total{client=\"anna\"}", "1.5"),
        ("reprise_spent_dollars_total{client=\"carl\"}", "0"),
    ] {
        assert_eq!(page.text(series), dollars, "{series}");
    }
    for (series, value) in COUNTS {
        assert_eq!(page.of(series), value, "{series}");
    }
    for positive in [
        "reprise_kept_bytes",
        "reprise_media_bytes_total",
        "reprise_received_bytes_total",
        "reprise_sent_bytes_total",
        "reprise_connections",
        "process_start_time_seconds",
    ] {
        assert!(page.is_positive(positive), "{positive}");
    }
    let documented = include_str!("../../docs/operating.md");
    for family in page.families() {
        assert!(
            documented.contains(&format!("`{family}`")),
            "{family} is not in docs/operating.md"
        );
    }
}

#[tokio::test]
async fn the_figures_are_for_this_machine_or_who_has_the_token() {
    let stage = Stage::at("info", "").await;
    let url = stage.url("/metrics");
    let plain = answered(get(&url)).await;
    let of_plain = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(plain.header("content-type"), of_plain);
    assert_eq!(plain.header("cache-control"), "no-store");
    let open = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let open = answered(with(get(&url), "accept", open)).await;
    assert!(
        open.header("content-type")
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    assert!(open.body.ends_with(b"# EOF\n"));
    let head = Request::head(&url).body(Full::default()).unwrap();
    let head = answered(head).await;
    assert!(head.body.is_empty() && head.header("content-length").parse::<u64>().unwrap() > 100);

    let token = std::fs::read_to_string(stage.home.path("data").join("admin-token")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let from_afar = || with(get(&url), "x-forwarded-for", "203.0.113.9");
    for (request, status, code) in [
        (from_afar(), 401, "invalid_admin_token"),
        (
            with(from_afar(), "authorization", "Bearer no"),
            401,
            "invalid_admin_token",
        ),
        (of_anna(from_afar()), 401, "invalid_admin_token"),
        (with(from_afar(), "authorization", &token), 200, ""),
        (
            with(get(&url), "origin", "http://evil.example"),
            403,
            "origin_not_allowed",
        ),
        (
            with(get(&url), "host", "evil.example"),
            421,
            "host_not_allowed",
        ),
        (
            with(get(&url), "sec-fetch-site", "cross-site"),
            403,
            "origin_not_allowed",
        ),
        (
            with(get(&url), "sec-fetch-site", "same-site"),
            401,
            "invalid_admin_token",
        ),
        (post(&url, &json!({})), 404, "not_found"),
    ] {
        let asked = format!("{:?}", request.headers());
        let reply = try_send(request, false).await.unwrap();
        assert_eq!(reply.status, status, "{asked}");
        if status != 200 {
            assert_eq!(reply.code(), code, "{asked}");
        }
    }
}

#[tokio::test]
async fn without_an_admin_token_the_figures_stay_on_this_machine() {
    let stage = Stage::at("info", "[console]\nenabled = false\n").await;
    let url = stage.url("/metrics");
    answered(get(&url)).await;
    let refused = send(with(get(&url), "forwarded", "for=203.0.113.9")).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "metrics_not_allowed")
    );
}
