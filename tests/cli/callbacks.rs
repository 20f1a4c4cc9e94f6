//! Callbacks over the life and death of the program.

use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use crate::call::{get, post, send, soon};
use crate::program::{Home, Program};
use crate::receiver::{Receiver, Reply};

const PATH: &str = "/v1/video/generations";

fn home() -> Home {
    let home = Home::new();
    home.write(
        "proxy.toml",
        "data_dir = \"data\"\n[callbacks]\ndeliver = \"all\"\nallow = [\"127.0.0.0/8\"]\n\
         [jobs]\nmin_poll_interval = \"100ms\"\n",
    );
    home
}

async fn submit(program: &Program, address: &str) -> String {
    let body = json!({
        "model": "doubao-seedance-2-0-720p", "prompt": "a lighthouse",
        "metadata": {"callback_url": address},
    });
    let answer = send(post(&program.url(PATH), &body)).await;
    answer.json()["task_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_that_a_kill_cut_off_is_made_again() {
    let receiver = Receiver::start().await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = home();
    let program = home.serve(&sandbox).await;
    receiver.reply("/c", &[Reply::Silence]);
    let task = submit(&program, &receiver.url("/c?token=secret-of-mine")).await;
    sandbox.finish_jobs();
    let shown = send(get(&program.url(&format!("{PATH}/{task}")))).await;
    receiver.arrived(1).await;
    program.kill().await;

    // Without a proxy the state can be looked at, and shows no secret.
    let before = home.run(&["jobs", "show", &task, "--json"]).await;
    let state: Value = serde_json::from_str(&before.out).unwrap();
    let callback = json!([{"host": receiver.url(""), "state": "due", "attempts": 0}]);
    assert_eq!(state["callbacks"], callback, "{before:?}");

    receiver.reply("/c", &[Reply::Status(200, String::new())]);
    let mut program = home.serve(&sandbox).await;
    receiver.arrived(2).await;
    program.says("called back").await;
    assert!(!program.printed().contains("secret-of-mine"));
    let calls = receiver.heard();
    assert_eq!(
        calls[0].headers["webhook-id"],
        calls[1].headers["webhook-id"]
    );
    assert!(calls[0].at < calls[1].at);
    for call in &calls {
        assert_eq!(call.body.as_bytes(), &shown.body[..]);
        assert_eq!(call.target, "/c?token=secret-of-mine");
    }
    // What was heard is said first, and noted then.
    let line = format!("callback {} delivered, 1 attempts", receiver.url(""));
    let noted = async { while !home.run(&["jobs", "show", &task]).await.out.contains(&line) {} };
    soon(noted).await;
    assert_eq!(sandbox.bill().total(), 1);
    assert_eq!(receiver.heard_at("/c?token=secret-of-mine").len(), 2);
}

#[tokio::test]
async fn a_caller_who_was_answered_before_a_kill_is_called() {
    let receiver = Receiver::start().await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = home();
    let program = home.serve(&sandbox).await;
    let task = submit(&program, &receiver.url("/first")).await;
    submit(&program, &receiver.url("/second")).await;
    program.kill().await;
    sandbox.finish_jobs();
    let program = home.serve(&sandbox).await;
    send(get(&program.url(&format!("{PATH}/{task}")))).await;
    receiver.arrived(2).await;
    for path in ["/first", "/second"] {
        assert_eq!(receiver.heard_at(path).len(), 1);
    }
    assert_eq!(receiver.heard().len(), 2);
}

/// Upstream has the address that came with a run, whatever happens to the proxy then.
#[tokio::test]
async fn whom_upstream_calls_is_known_before_anybody_is_answered() {
    let receiver = Receiver::start().await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = home();
    let settings =
        "[callbacks]\nallow = [\"127.0.0.0/8\"]\n[jobs]\nmin_poll_interval = \"100ms\"\n";
    home.write("proxy.toml", settings);
    let mut command = home.serving(&sandbox);
    let mut program = Program::start(command.env("REPRISE_FAULT", "after-settle=kill"));
    program.listening().await;
    let (url, address) = (program.url(PATH), receiver.url("/first"));
    let body = json!({
        "model": "doubao-seedance-2-0-720p", "prompt": "a lighthouse",
        "metadata": {"callback_url": address},
    });
    let cut = tokio::spawn(async move { send(post(&url, &body)).await });
    assert_eq!(program.end().await.code, None, "it was killed");
    assert!(cut.await.is_err(), "nobody was answered");

    let program = home.serve(&sandbox).await;
    let task = submit(&program, &address).await;
    submit(&program, &receiver.url("/second")).await;
    sandbox.finish_jobs();
    send(get(&program.url(&format!("{PATH}/{task}")))).await;
    receiver.arrived(1).await;
    submit(&program, &receiver.url("/last")).await;
    receiver.arrived(2).await;
    assert!(receiver.heard_at("/first").is_empty());
    assert_eq!(sandbox.bill().total(), 1);
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_at_start() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    home.write("proxy.toml", "[callbacks]\nsecret_env = \"HOOKS\"\n");
    for (set, words) in [
        (None, "set the environment variable HOOKS"),
        (Some("whsec_*"), "base64"),
    ] {
        let mut command = home.serving(&sandbox);
        command.envs(set.map(|value| ("HOOKS", value)));
        let ended = Program::start(&mut command).end().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended.err.contains("proxy.toml:2") && ended.err.contains(words),
            "{ended:?}"
        );
    }
}
