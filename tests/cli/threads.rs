//! Connections are served on threads of their own, as many as there are processors.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::call::{Reply, get, post, send, soon, try_send};
use crate::program::{Home, KEY, Program};

const IMAGES: &str = "/v1/images/generations";
const CHAT: &str = "/v1/chat/completions";

/// How often each of the threads that serve connections has waited for something, by their names.
#[cfg(target_os = "linux")]
fn waits(program: &Program) -> Vec<(String, u64)> {
    let tasks = format!("/proc/{}/task", program.pid());
    let mut waits = Vec::new();
    for task in std::fs::read_dir(tasks).unwrap() {
        // A thread may end meanwhile.
        let Ok(status) = std::fs::read_to_string(task.unwrap().path().join("status")) else {
            continue;
        };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let name = field("Name:");
        if name.starts_with("worker-") {
            waits.push((name, field("voluntary_ctxt_switches:").parse().unwrap()));
        }
    }
    waits.sort();
    waits
}

/// Asks whether the program is alive, on a connection that stays open.
#[cfg(target_os = "linux")]
async fn ask(connection: &mut TcpStream) {
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("{\"status\":\"ok\"}") {
        let mut some = [0; 1024];
        let len = soon(connection.read(&mut some)).await.unwrap();
        assert!(len > 0, "{answer}");
        answer.push_str(std::str::from_utf8(&some[..len]).unwrap());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_processor_has_a_thread_that_serves() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let threads = waits(&program);
    let processors = std::thread::available_parallelism().unwrap().get();
    assert_eq!(threads.len(), processors, "{threads:?}");
    let address = program.origin.strip_prefix("http://").unwrap();
    let mut connections = Vec::new();
    for _ in 0..processors {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    let mut busiest = BTreeSet::new();
    for connection in &mut connections {
        let before = waits(&program);
        for _ in 0..20 {
            let waited = waits(&program);
            ask(connection).await;
            // Whoever has answered goes back to waiting, and nobody else has anything to do.
            let waiting = async {
                while waits(&program) == waited {
                    tokio::task::yield_now().await;
                }
            };
            soon(waiting).await;
        }
        let after = waits(&program);
        let more = before
            .iter()
            .zip(after)
            .map(|((_, before), (name, after))| (after - before, name));
        busiest.extend(more.max().map(|(_, name)| name));
    }
    assert_eq!(busiest.len(), processors, "one for each: {busiest:?}");
}

/// A start with so few descriptors that what a thread waits with is the first that cannot be had: how
/// few that are depends on what is opened before.
#[tokio::test]
async fn a_start_that_is_not_given_its_threads_says_what_to_do() {
    let home = Home::new();
    for descriptors in 5..64 {
        let line = format!(
            "ulimit -n {descriptors}; exec {} \"$@\"",
            env!("CARGO_BIN_EXE_reprise")
        );
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &line, "sh", "serve", "--listen", "127.0.0.1:0"])
            .args(["--data-dir", "data"])
            .current_dir(home.path(""))
            .env_clear()
            .env("HOME", home.path(""))
            .env("RELAYDANCE_API_KEY", KEY);
        let ended = Program::start(&mut shell).end().await;
        assert_ne!(ended.code, Some(0), "{ended:?}");
        if ended.err.contains("cannot start a thread for connections") {
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
            assert!(ended.err.contains("ulimit -n"), "{ended:?}");
            return;
        }
    }
    panic!("it never said so");
}

fn image(nth: usize) -> (&'static str, Value) {
    let body = json!({"model": "grok-imagine-image", "prompt": format!("number {nth}")});
    (IMAGES, body)
}

fn chat(nth: usize) -> (&'static str, Value) {
    let said = json!([{"role": "user", "content": format!("number {nth}")}]);
    (CHAT, json!({"model": "grok-4.5", "messages": said}))
}

/// Asks for what is kept, on one connection after the other, for as long as it is let.
async fn keep_asking(url: String, body: Value, hits: Arc<AtomicUsize>) {
    loop {
        let Ok(reply) = try_send(post(&url, &body), false).await else {
            // Accepted in the very moment of the signal, a connection may be closed unanswered.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        match reply.status {
            200 => assert!(reply.header("cache-status").contains("hit"), "{reply:?}"),
            503 => assert_eq!(reply.code(), "shutting_down", "{reply:?}"),
            _ => panic!("{reply:?}"),
        }
        hits.fetch_add(1, Ordering::Relaxed);
    }
}

/// On whichever thread it was begun: what is paid for ends, is answered and is kept.
#[tokio::test]
async fn a_drain_under_load_loses_nothing_of_any_thread() {
    const EACH: usize = 12;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let mut program = home.serve(&sandbox).await;
    let (path, kept) = chat(usize::MAX);
    assert_eq!(send(post(&program.url(path), &kept)).await.status, 200);
    let hits = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        load.spawn(keep_asking(program.url(path), kept.clone(), hits.clone()));
    }
    let gates = [IMAGES, CHAT].map(|path| sandbox.hold(&format!("POST {path}")));
    let all: Vec<_> = (0..EACH).flat_map(|nth| [image(nth), chat(nth)]).collect();
    let mut asked = Vec::new();
    for (path, body) in &all {
        let request = post(&program.url(path), body);
        asked.push(tokio::spawn(try_send(request, false)));
    }
    for gate in &gates {
        soon(gate.arrived(EACH)).await;
    }
    program.signal("TERM");
    let begun = hits.load(Ordering::Relaxed);
    // Whoever comes now is still heard, so the drain is under load.
    let more = async {
        while hits.load(Ordering::Relaxed) < begun + 20 {
            tokio::task::yield_now().await;
        }
    };
    soon(more).await;
    assert_eq!(send(get(&program.url("/readyz"))).await.status, 503);
    for gate in gates {
        gate.release();
    }
    let mut replies: Vec<Reply> = Vec::new();
    for asked in asked {
        let reply = asked.await.unwrap().unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        replies.push(reply);
    }
    program.says("stopped").await;
    assert!(
        !program.printed().contains("stopped;"),
        "{}",
        program.printed()
    );
    assert_eq!(program.end().await.code, Some(0));
    load.abort_all();
    while let Some(ended) = load.join_next().await {
        assert!(
            ended.is_err_and(|error| error.is_cancelled()),
            "a bad answer"
        );
    }

    let program = home.serve(&sandbox).await;
    for ((path, body), first) in all.iter().zip(&replies) {
        let again = send(post(&program.url(path), body)).await;
        assert!(again.header("cache-status").contains("hit"), "{again:?}");
        assert_eq!(again.body, first.body);
    }
    assert_eq!(sandbox.bill().total(), 2 * EACH as u64 + 1);
}
