//! No key is where it could be read: canaries go in at every door, and everything that comes out is
//! searched for them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use reprise::sandbox::{Options, Sandbox};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::call::{PATIENCE, Reply, get, post, try_send};
use crate::program::{Home, Program, files};

const UPSTREAM: &str = "sk-canary-upstream-5f1c";
const ANNA: &str = "sk-canary-anna-77aa";
const WRONG: &str = "sk-canary-nobody-0b0b";
/// In every one of them.
const CANARY: &str = "sk-canary";

type Ask = Request<Full<Bytes>>;

fn with(mut request: Ask, name: &'static str, value: &str) -> Ask {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// Every way in, for a good key and a wrong one.
fn requests(program: &Program) -> Vec<Ask> {
    let image = json!({"model": "grok-imagine-image", "prompt": "a"});
    let chat = json!({"model": "grok-4.5", "messages": [{"role": "user", "content": "a"}], "stream": true});
    let mut all = Vec::new();
    for key in [ANNA, WRONG] {
        let bearer = format!("Bearer {key}");
        for _ in 0..2 {
            let image = post(&program.url("/v1/images/generations"), &image);
            all.push(with(image, "authorization", &bearer));
            let chat = post(&program.url("/v1/chat/completions"), &chat);
            all.push(with(chat, "x-api-key", key));
        }
        let video = json!({"model": "doubao-seedance-2-0-720p", "prompt": "a"});
        let video = post(&program.url("/v1/video/generations"), &video);
        all.push(with(video, "authorization", &bearer));
        all.push(with(get(&program.url("/v1/models")), "x-goog-api-key", key));
        all.push(get(&program.url(&format!("/v1/models?key={key}&limit=1"))));
        let protocol = format!("realtime, openai-insecure-api-key.{key}");
        let socket = get(&program.url("/v1/models"));
        all.push(with(socket, "sec-websocket-protocol", &protocol));
        all.push(with(
            get(&program.url("/nowhere")),
            "authorization",
            &bearer,
        ));
        let broken = post(&program.url("/v1/images/generations"), &json!("no object"));
        all.push(with(broken, "authorization", &bearer));
    }
    all
}

async fn tour(program: &Program) -> Vec<Reply> {
    let mut replies = Vec::new();
    for http2 in [false, true] {
        for request in requests(program) {
            replies.push(try_send(request, http2).await.unwrap());
        }
    }
    replies
}

/// A key as it is, and as it would be after the encodings that hide one from a careless search.
fn forms(key: &str) -> Vec<String> {
    let each = |form: fn(u8) -> String| key.bytes().map(form).collect::<String>();
    let mut forms = vec![
        key.to_owned(),
        each(|byte| format!("{byte:02x}")),
        each(|byte| format!("{byte:02X}")),
        each(|byte| format!("%{byte:02x}")),
        each(|byte| format!("%{byte:02X}")),
    ];
    for before in 0..3 {
        // Behind other bytes it looks different, and its ends are mixed with its neighbours.
        let text = format!("{}{key}", "\0".repeat(before));
        let coded = BASE64_STANDARD_NO_PAD.encode(text);
        forms.push(coded[4..coded.len() - 4].to_owned());
    }
    forms
}

fn assert_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for key in [UPSTREAM, ANNA, WRONG] {
        for form in forms(key) {
            assert!(!text.contains(&form), "a key is in {what}, as {form}");
        }
    }
    let found = text.find(CANARY).map(|at| {
        let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
        text[line..].lines().next().unwrap_or_default().to_owned()
    });
    assert_eq!(found, None, "a key is in {what}");
}

/// Requests that are refused at every stage, each with a key where it could be repeated.
fn nonsense() -> Vec<String> {
    let host = "host: localhost\r\n";
    let mut all = Vec::new();
    for key in [ANNA, WRONG] {
        let auth = format!("authorization: Bearer {key}\r\n");
        let long = key.repeat(10_000);
        all.extend([
            format!("GET /v1/m?key={long} HTTP/1.1\r\n{host}\r\n"),
            format!("GET /v1/m HTTP/1.1\r\n{host}x: {long}\r\n\r\n"),
            format!("GET /v1/m HTTP/1.1\r\n{auth}\r\n"),
            format!("GET /v1/m HTTP/1.1\r\n{host}{auth}{auth}\r\n"),
            format!("GET /v1/m HTTP/1.1\r\nhost: {key}\r\n{auth}\r\n"),
            format!("GET /v1/m#{key} HTTP/1.1\r\n{host}{auth}\r\n"),
            format!("GET /v1/../m?key={key} HTTP/1.1\r\n{host}{auth}\r\n"),
            format!("GET /v1/m HTTP/1.1\r\n{host}{auth}origin: http://{key}\r\n\r\n"),
            format!("GET /v1/m HTTP/1.1\r\n{host}{auth}expect: {key}\r\n\r\n"),
            format!("{key} {key} {key}\r\n{auth}\r\n"),
            format!("{key}\0\r\n\r\n"),
            format!("GET /v1/m HTTP/1.1\r\n{host}{key}\r\n\r\n"),
            format!("POST /v1/files HTTP/1.1\r\n{host}{auth}content-length: {key}\r\n\r\n"),
            format!("POST /v1/files HTTP/1.1\r\n{host}{auth}transfer-encoding: {key}\r\n\r\n"),
            format!("POST /v1/images/generations HTTP/1.1\r\n{host}{auth}transfer-encoding: chunked\r\n\r\n{key}\r\n"),
            format!("POST /v1/images/generations HTTP/1.1\r\n{host}{auth}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
            format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{key}{key}"),
        ]);
    }
    all
}

/// Says each of them on a connection of its own; nothing that comes back has a key in it.
async fn talk_nonsense(program: &Program) {
    let url = program.url("");
    let addr = url.trim_start_matches("http://").trim_end_matches('/');
    for text in nonsense() {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        // It may be refused before its end.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let reading = async {
            while !answer.ends_with(b"}") && stream.read_buf(&mut answer).await.unwrap_or(0) > 0 {}
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        // Who calls us by a name that is not ours is told that name again.
        if !text.contains("\nhost: sk") {
            assert_clean("a refusal", answer.as_bytes());
        }
        assert!(!answer.contains(UPSTREAM), "{answer}");
        assert!(
            answer.contains("\"error\"") || text.starts_with("PRI"),
            "{text:.80}: {answer}"
        );
    }
}

async fn no_key_shows(format: &str, key_of_sandbox: Option<&str>) {
    let options = Options {
        key: key_of_sandbox.map(str::to_owned),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let home = Home::new();
    let hash = blake3::hash(ANNA.as_bytes()).to_hex();
    home.write(
        "proxy.toml",
        &format!("[clients.anna]\nkey_hash = \"blake3:{hash}\"\n"),
    );
    let mut command = home.serving(&sandbox);
    command
        .env("RELAYDANCE_API_KEY", UPSTREAM)
        .env("REPRISE_LOG__LEVEL", "trace")
        .args(["--log-format", format]);
    let mut program = Program::start(&mut command);
    program.listening().await;
    for reply in tour(&program).await {
        assert_clean("an answer's body", &reply.body);
        assert_clean(
            "an answer's headers",
            format!("{:?}", reply.headers).as_bytes(),
        );
    }
    talk_nonsense(&program).await;
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", program.pid())).unwrap();
    assert_clean("the command line", &cmdline);
    program.signal("TERM");
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.err.contains("TRACE"),
        "the log is as talkative as it gets"
    );
    assert_clean("the log", ended.err.as_bytes());
    assert_clean("standard output", ended.out.as_bytes());
    let kept = files(&home.path("data"));
    assert!(kept.len() > 3, "{kept:?}");
    for file in kept {
        assert_clean(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
    for seen in sandbox.requests() {
        let shown = format!("{} {:?} {:?}", seen.uri, seen.headers, seen.body);
        assert!(!shown.contains(ANNA) && !shown.contains(WRONG), "{shown}");
    }
}

#[tokio::test]
async fn no_key_is_in_a_text_log_nor_anywhere_else() {
    no_key_shows("text", Some(UPSTREAM)).await;
}

#[tokio::test]
async fn no_key_is_in_a_json_log_nor_anywhere_else() {
    no_key_shows("json", Some(UPSTREAM)).await;
}

/// Upstream does not know our key, and repeats it in its message as careless gateways do.
#[tokio::test]
async fn an_upstream_that_repeats_the_key_does_not_show_it() {
    no_key_shows("text", Some("another")).await;
}

#[tokio::test]
async fn an_upstream_that_repeats_whole_requests_does_not_show_the_key() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let mut command = home.serving(&sandbox);
    let mut program = Program::start(command.env("RELAYDANCE_API_KEY", UPSTREAM));
    program.listening().await;
    for http2 in [false, true] {
        let told = try_send(get(&program.url("/v1/echo/all")), http2).await;
        let told = told.unwrap();
        assert_clean("an answer's body", &told.body);
        let headers = told.json()["headers"].to_string();
        assert!(
            headers.contains("[\"authorization\",\"Bearer ***\"]"),
            "{headers}"
        );
    }
}

#[tokio::test]
async fn a_key_with_a_line_break_is_refused_without_being_shown() {
    let home = Home::new();
    for bad in ["sk-canary one", "sk-canary\nsecond", "sk-canary-\u{e9}"] {
        let mut command = home.command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "d"]);
        let ended = Program::start(command.env("RELAYDANCE_API_KEY", bad))
            .end()
            .await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_clean("the message", ended.err.as_bytes());
    }
}
