//! `kill -9` at the worst moment: what was paid for is not paid for again without being asked.

use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use crate::call::{Reply, get, post, send, soon, try_send};
use crate::program::Home;

fn image() -> Value {
    json!({"model": "grok-imagine-image", "prompt": "a lighthouse"})
}

fn video() -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": "a lighthouse", "seconds": "5"})
}

fn chat(stream: bool) -> Value {
    json!({
        "model": "grok-4.5", "stream": stream,
        "messages": [{"role": "user", "content": "a lighthouse"}],
    })
}

/// Sends a request, kills the proxy while upstream holds it, and sends it to the next one.
async fn killed_in_flight(sandbox: &Sandbox, home: &Home, path: &str, body: &Value) -> Reply {
    let program = home.serve(sandbox).await;
    let gate = sandbox.hold(&format!("POST {path}"));
    let asked = tokio::spawn(try_send(post(&program.url(path), body), false));
    soon(gate.arrived(1)).await;
    program.kill().await;
    assert!(asked.await.unwrap().is_err());
    drop(gate);
    let program = home.serve(sandbox).await;
    send(post(&program.url(path), body)).await
}

#[tokio::test]
async fn what_costs_most_is_asked_about() {
    for (path, body) in [
        ("/v1/images/generations", image()),
        ("/v1/video/generations", video()),
        ("/v1/videos", video()),
        (
            "/v1/audio/speech",
            json!({"model": "tts-1", "input": "hello", "voice": "alloy"}),
        ),
    ] {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let home = Home::new();
        let reply = killed_in_flight(&sandbox, &home, path, &body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (409, "outcome_unknown"),
            "{path}"
        );
        assert_eq!(reply.header("x-should-retry"), "false");
        assert_eq!(sandbox.bill().total(), 1, "{path}");

        let key = home.write("body.json", &body.to_string());
        let key = home
            .run(&["cache", "key", path, key.to_str().unwrap()])
            .await;
        let message = reply.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains("reprise jobs resolve"), "{message}");
        assert!(message.contains(&key.out[..16]), "{message} {}", key.out);
    }
}

#[tokio::test]
async fn no_cache_is_an_answer_to_the_question() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let path = "/v1/images/generations";
    assert_eq!(
        killed_in_flight(&sandbox, &home, path, &image())
            .await
            .status,
        409
    );
    let program = home.serve(&sandbox).await;
    let mut request = post(&program.url(path), &image());
    let no_cache = "no-cache".parse().unwrap();
    request.headers_mut().insert("cache-control", no_cache);
    assert_eq!(send(request).await.status, 200);
    let hit = send(post(&program.url(path), &image())).await;
    assert!(hit.header("cache-status").contains("hit"), "{hit:?}");
    assert_eq!(sandbox.bill().images, 2);
}

#[tokio::test]
async fn what_costs_little_runs_again() {
    for (path, body) in [
        ("/v1/chat/completions", chat(false)),
        ("/v1/chat/completions", chat(true)),
        (
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": "a"}),
        ),
    ] {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let home = Home::new();
        let reply = killed_in_flight(&sandbox, &home, path, &body).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(sandbox.bill().total(), 2, "{path}");
    }
}

#[tokio::test]
async fn chat_is_asked_about_when_its_kind_says_so() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    home.write(
        "proxy.toml",
        "[cache.chat]\nunknown_outcome = \"ask\"\n[cache.images]\nunknown_outcome = \"rerun\"\n",
    );
    let reply = killed_in_flight(&sandbox, &home, "/v1/chat/completions", &chat(false)).await;
    assert_eq!(reply.status, 409);
    let reply = killed_in_flight(&sandbox, &home, "/v1/images/generations", &image()).await;
    assert_eq!(reply.status, 200);
    assert_eq!((sandbox.bill().chat, sandbox.bill().images), (1, 2));
}

#[tokio::test]
async fn an_answer_that_was_seen_is_there_after_the_crash() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let asked = [
        ("/v1/images/generations", image()),
        ("/v1/chat/completions", chat(false)),
        ("/v1/chat/completions", chat(true)),
        (
            "/v1/audio/speech",
            json!({"model": "tts-1", "input": "hello", "voice": "alloy"}),
        ),
        (
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": "a"}),
        ),
    ];
    for (path, body) in asked {
        let program = home.serve(&sandbox).await;
        let first = send(post(&program.url(path), &body)).await;
        // Not a moment for anything that is written later.
        program.kill().await;
        let paid = sandbox.bill().total();
        assert_eq!(first.status, 200, "{path}");
        let program = home.serve(&sandbox).await;
        let again = send(post(&program.url(path), &body)).await;
        assert!(
            again.header("cache-status").contains("hit"),
            "{path}: {again:?}"
        );
        assert_eq!(again.body, first.body, "{path}");
        assert_eq!(sandbox.bill().total(), paid, "{path}");
    }
}

#[tokio::test]
async fn a_job_outlives_the_proxy_and_is_not_submitted_again() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let first = send(post(&program.url("/v1/video/generations"), &video())).await;
    assert_eq!(first.status, 200, "{first:?}");
    let task = first.json()["task_id"].as_str().unwrap().to_owned();
    let poll = format!("/v1/video/generations/{task}");
    send(get(&program.url(&poll))).await;
    program.kill().await;

    let program = home.serve(&sandbox).await;
    let joined = send(post(&program.url("/v1/video/generations"), &video())).await;
    assert_eq!(joined.body, first.body);
    assert_eq!(
        joined.header("cache-status"),
        "reprise; fwd=miss; collapsed"
    );
    sandbox.finish_jobs();
    let done = send(get(&program.url(&poll))).await;
    assert_eq!(done.json()["data"]["status"], "SUCCESS", "{done:?}");
    program.kill().await;

    let program = home.serve(&sandbox).await;
    let asked = sandbox.count("GET /v1/video/generations/");
    let kept = send(get(&program.url(&poll))).await;
    assert_eq!(kept.body, done.body);
    assert_eq!(sandbox.count("GET /v1/video/generations/"), asked);
    let hit = send(post(&program.url("/v1/video/generations"), &video())).await;
    assert!(hit.header("cache-status").contains("hit"), "{hit:?}");
    assert_eq!(sandbox.bill().video, 1);
}

/// A stream that was cut by the crash was not seen to its end, so it may run again; its beginning
/// is never mistaken for the whole.
#[tokio::test]
async fn half_a_stream_is_no_answer() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let gate = sandbox.hold_stream("POST /v1/chat/completions", 3);
    let asked = tokio::spawn(try_send(
        post(&program.url("/v1/chat/completions"), &chat(true)),
        false,
    ));
    soon(gate.arrived(1)).await;
    program.kill().await;
    assert!(asked.await.unwrap().is_err());
    drop(gate);
    let program = home.serve(&sandbox).await;
    let again = send(post(&program.url("/v1/chat/completions"), &chat(true))).await;
    assert_eq!(again.header("cache-status"), "reprise; fwd=miss; stored");
    assert!(again.body.ends_with(b"data: [DONE]\n\n"), "{again:?}");
    assert_eq!(sandbox.bill().chat, 2);
}

/// Twelve clients at once and a death at some moment, again and again: an answer that was seen is
/// there, and nothing is sent a second time by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_at_any_moment_pays_for_nothing_twice() {
    let options = Options {
        answer_time: std::time::Duration::from_millis(50),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let home = Home::new();
    let path = "/v1/images/generations";
    let asked = |name: &str| json!({"model": "grok-imagine-image", "prompt": name, "response_format": "b64_json"});
    let mut known: Vec<(String, Option<bytes::Bytes>)> = Vec::new();
    for round in 0..8_u64 {
        let program = home.serve(&sandbox).await;
        let url = program.url(path);
        let sent = sandbox.count(&format!("POST {path}"));
        let calls: Vec<_> = (0..12)
            .map(|at| {
                let name = format!("round {round}, client {at}");
                let call = tokio::spawn(try_send(post(&url, &asked(&name)), false));
                (name, call)
            })
            .collect();
        // From the first request's arrival to the last answers: each round dies a little later.
        let before = usize::try_from(round).unwrap() * 12 / 8;
        let due = async {
            while sandbox.count(&format!("POST {path}")) == sent
                || calls.iter().filter(|(_, call)| call.is_finished()).count() < before
            {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        soon(due).await;
        program.kill().await;
        for (name, call) in calls {
            let seen = call.await.unwrap().ok();
            let seen = seen.filter(|reply| reply.status == 200);
            known.push((name, seen.map(|reply| reply.body)));
        }
    }
    let program = home.serve(&sandbox).await;
    let (mut kept, mut doubtful) = (0, 0);
    for (name, seen) in &known {
        let now = send(post(&program.url(path), &asked(name))).await;
        match (seen, now.status) {
            (Some(seen), 200) => {
                assert!(
                    now.header("cache-status").contains("hit"),
                    "{name}: {now:?}"
                );
                assert!(now.body == *seen, "{name}: other bytes than before");
                kept += 1;
            }
            (None, 200) => {}
            (None, 409) => doubtful += 1,
            (seen, status) => panic!("{name}: {status}, seen before: {}", seen.is_some()),
        }
        let sent = sandbox
            .requests()
            .iter()
            .filter(|seen| String::from_utf8_lossy(&seen.body).contains(&format!("{name}\"")))
            .count();
        assert!(sent <= 1, "{name} was sent {sent} times");
    }
    assert!(
        kept > 0 && doubtful > 0,
        "the deaths came too early or too late: {kept}, {doubtful}"
    );
}

/// Whoever else has an account on this machine reads none of it.
#[tokio::test]
async fn what_is_kept_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    send(post(&program.url("/v1/images/generations"), &image())).await;
    send(post(&program.url("/v1/video/generations"), &video())).await;
    let speech = json!({"model": "tts-1", "input": "x".repeat(100_000), "voice": "alloy"});
    send(post(&program.url("/v1/audio/speech"), &speech)).await;
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = home.path("data");
    assert_eq!(mode(&data), 0o700);
    let files = crate::program::files(&data);
    assert!(files.len() > 4, "{files:?}");
    for file in &files {
        assert_eq!(mode(file) & 0o077, 0, "{}", file.display());
    }
}
