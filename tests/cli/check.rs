//! `reprise check --online`: one free question, and plain words for whatever comes of it.

use std::io::{Read, Write};
use std::net::TcpListener;

use reprise::sandbox::{Options, Sandbox};
use serde_json::Value;

use crate::program::{Ended, Home, KEY, Program};

async fn check(home: &Home, upstream: &str, env: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = home.command(&["check", "--online", "--upstream", upstream]);
    command.args(args).env("RELAYDANCE_API_KEY", KEY);
    command.envs(env.iter().copied());
    let ended = Program::start(&mut command).end().await;
    let said = format!("{}{}", ended.out, ended.err);
    assert!(!said.contains(KEY), "{said}");
    ended
}

#[track_caller]
fn assert_fails(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "`{word}` is missing: {ended:?}");
    }
}

/// A server that gives this answer to the first connection, whatever it is asked.
fn answering(answer: &str) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.to_owned();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap() == 0 {
                break;
            }
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    (port, asked)
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_key_that_works_is_told_with_its_models() {
    let options = Options {
        key: Some(KEY.to_owned()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let home = Home::new();
    home.write(
        "proxy.toml",
        "[prices.\"no-such-model\"]\nper_image = 1.0\n",
    );
    let ended = check(&home, &sandbox.base_url(), &[], &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for word in ["is fine", "takes the key: ", " models", "no-such-model"] {
        assert!(ended.out.contains(word), "`{word}` is missing: {ended:?}");
    }
    let ended = check(&home, &sandbox.base_url(), &[], &["--json"]).await;
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&told["ok"], &told["online"]["status"]),
        (&true.into(), &200.into())
    );
    assert!(told["online"]["models"].as_u64().unwrap() > 1, "{told}");

    let wrong = [("RELAYDANCE_API_KEY", "sk-wrong-canary")];
    let ended = check(&home, &sandbox.base_url(), &wrong, &[]).await;
    assert_fails(&ended, &["401", "RELAYDANCE_API_KEY", "copy it again"]);
    assert!(!ended.err.contains("canary"), "{ended:?}");
    let ended = check(&home, &sandbox.base_url(), &wrong, &["--json"]).await;
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (ended.code, &told["ok"]),
        (Some(1), &false.into()),
        "{told}"
    );
    assert_eq!(sandbox.bill().total(), 0, "a check is free");
}

#[tokio::test]
async fn what_stands_in_the_way_is_said_in_plain_words() {
    let home = Home::new();
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ended = check(&home, &format!("http://{unused}/v1"), &[], &[]).await;
    assert_fails(
        &ended,
        &["nothing accepts connections", &unused.to_string()],
    );

    let table = [
        (
            http("403 Forbidden", r#"{"error":{"message":"no quota"}}"#),
            "it says: no quota",
        ),
        (http("404 Not Found", "nothing"), "ends in /v1"),
        (http("429 Too Many", ""), "too many requests"),
        (http("502 Bad Gateway", "<html>"), "trouble of its own"),
        (http("200 OK", "<html>"), "web page"),
        (
            http("200 OK", r#"{"success":false,"message":"m"}"#),
            "it says: m",
        ),
        (http("301 Moved", ""), "points to elsewhere"),
        ("SSH-2.0-x\r\n".to_owned(), "upstream broke off"),
    ];
    for (answer, words) in table {
        let (port, asked) = answering(&answer);
        let ended = check(&home, &format!("http://127.0.0.1:{port}/v1"), &[], &[]).await;
        assert_fails(&ended, &[words]);
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /v1/models HTTP/1.1\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn tls_and_proxies_have_words_of_their_own() {
    let home = Home::new();
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let plain = sandbox.base_url().replace("http://", "https://");
    let ended = check(&home, &plain, &[], &[]).await;
    assert_fails(&ended, &["no TLS", "http://"]);

    for (answer, words) in [
        ("407 Who Are You", "wants credentials (407)"),
        ("403 Forbidden", "answered CONNECT with 403"),
    ] {
        let (port, asked) = answering(&format!("HTTP/1.1 {answer}\r\n\r\n"));
        let proxy = format!("http://127.0.0.1:{port}");
        let env = [("HTTPS_PROXY", proxy.as_str())];
        let ended = check(&home, "https://api.example/v1", &env, &[]).await;
        assert_fails(&ended, &[words, &format!("the proxy 127.0.0.1:{port}")]);
        assert!(asked.join().unwrap().starts_with("CONNECT api.example:443"));
    }
}

#[tokio::test]
async fn a_bad_configuration_asks_nobody() {
    let home = Home::new();
    home.write("proxy.toml", "[cache]\nscpe = 1\nscope = 2\n");
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let ended = check(&home, &sandbox.base_url(), &[], &["--json"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(told["problems"].as_array().unwrap().len(), 2, "{told}");
    assert!(
        ended.err.contains("proxy.toml:2:1: unknown key `scpe`"),
        "{ended:?}"
    );
    assert!(ended.err.contains("did you mean `scope`"), "{ended:?}");
    assert_eq!(sandbox.requests().len(), 0);
}
