//! No key is where it could be read: canaries go in at every door, and everything that comes out is
//! searched for them.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use reprise::sandbox::{Options, Sandbox};
use serde_json::json;

use crate::call::{Reply, get, post, try_send};
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

fn assert_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let found = text.find(CANARY).map(|at| {
        let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
        text[line..].lines().next().unwrap_or_default().to_owned()
    });
    assert_eq!(found, None, "a key is in {what}");
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
