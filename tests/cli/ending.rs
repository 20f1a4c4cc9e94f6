//! SIGTERM drains, a second one does not wait.

use std::time::{Duration, Instant};

use reprise::sandbox::{Options, Sandbox};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::call::{get, post, send, soon, try_send};
use crate::program::{Home, Program};

/// Waits until the program has heard the signal, and says so.
async fn draining(program: &Program) {
    let asking = async {
        loop {
            let reply = try_send(get(&program.url("/readyz")), false).await;
            match reply.map(|reply| reply.status) {
                Ok(503) => break,
                // Accepted in the very moment of the signal, a connection may be closed unanswered.
                Ok(200) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(other) => panic!("{other}"),
            }
        }
    };
    soon(asking).await;
}

#[tokio::test]
async fn a_generation_in_flight_ends_and_is_kept() {
    for (signal, path, body) in [
        (
            "TERM",
            "/v1/images/generations",
            json!({"model": "grok-imagine-image", "prompt": "a"}),
        ),
        (
            "INT",
            "/v1/chat/completions",
            json!({"model": "grok-4.5", "messages": [{"role": "user", "content": "a"}]}),
        ),
    ] {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let home = Home::new();
        let mut program = home.serve(&sandbox).await;
        let gate = sandbox.hold(&format!("POST {path}"));
        let asked = tokio::spawn(try_send(post(&program.url(path), &body), false));
        soon(gate.arrived(1)).await;
        program.signal(signal);
        draining(&program).await;
        assert!(
            !asked.is_finished(),
            "it was cut off: {}",
            program.printed()
        );
        gate.release();
        let reply = asked.await.unwrap().unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        program.says("stopped").await;
        assert_eq!(program.end().await.code, Some(0));

        let program = home.serve(&sandbox).await;
        let again = send(post(&program.url(path), &body)).await;
        assert!(again.header("cache-status").contains("hit"), "{again:?}");
        assert_eq!(again.body, reply.body);
        assert_eq!(sandbox.bill().total(), 1);
    }
}

/// The client may be gone as well: the run is paid for, so its answer is kept.
#[tokio::test]
async fn a_generation_whose_client_left_is_waited_for() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let gate = sandbox.hold("POST /v1/images/generations");
    let body = json!({"model": "grok-imagine-image", "prompt": "left"});
    let url = program.url("/v1/images/generations");
    let asked = tokio::spawn(try_send(post(&url, &body), false));
    soon(gate.arrived(1)).await;
    asked.abort();
    let _ = asked.await;
    program.signal("TERM");
    draining(&program).await;
    gate.release();
    assert_eq!(program.end().await.code, Some(0));

    let program = home.serve(&sandbox).await;
    let again = send(post(&program.url("/v1/images/generations"), &body)).await;
    assert!(again.header("cache-status").contains("hit"), "{again:?}");
    assert_eq!(sandbox.bill().images, 1);
}

#[tokio::test]
async fn readyz_says_that_it_is_draining() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let gate = sandbox.hold("POST /v1/images/generations");
    let body = json!({"model": "grok-imagine-image", "prompt": "a"});
    let asked = tokio::spawn(try_send(
        post(&program.url("/v1/images/generations"), &body),
        false,
    ));
    soon(gate.arrived(1)).await;
    program.signal("TERM");
    draining(&program).await;
    let alive = try_send(get(&program.url("/healthz")), false).await;
    assert_eq!(alive.map(|reply| reply.status), Ok(200));
    let refused = try_send(
        post(
            &program.url("/v1/images/generations"),
            &json!({"model": "grok-imagine-image", "prompt": "late"}),
        ),
        false,
    )
    .await;
    assert_eq!(refused.map(|reply| reply.status), Ok(503));
    gate.release();
    assert_eq!(asked.await.unwrap().unwrap().status, 200);
    assert_eq!(program.end().await.code, Some(0));
    assert_eq!(sandbox.bill().images, 1, "nothing new was begun");
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let gate = sandbox.hold("POST /v1/images/generations");
    let body = json!({"model": "grok-imagine-image", "prompt": "a"});
    let asked = tokio::spawn(try_send(
        post(&program.url("/v1/images/generations"), &body),
        false,
    ));
    soon(gate.arrived(1)).await;
    program.signal("TERM");
    draining(&program).await;
    let began = Instant::now();
    program.signal("TERM");
    let ended = program.end().await;
    assert!(began.elapsed() < Duration::from_secs(8), "it waited");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(asked.await.unwrap().is_err(), "nobody was answered");
    drop(gate);
}

#[tokio::test]
async fn idle_connections_hold_up_nothing() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let program = home.serve(&sandbox).await;
    let address = program.origin.strip_prefix("http://").unwrap();
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    send(get(&program.url("/healthz"))).await;
    let began = Instant::now();
    program.signal("TERM");
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop(silent);
}

/// The grace is over: the program ends, and says what it leaves behind.
#[tokio::test]
async fn the_grace_ends_the_wait_and_the_outcome_is_asked_about() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    home.write("proxy.toml", "shutdown_grace = \"300ms\"\n");
    let program = home.serve(&sandbox).await;
    let gate = sandbox.hold("POST /v1/images/generations");
    let body = json!({"model": "grok-imagine-image", "prompt": "cut off"});
    let url = program.url("/v1/images/generations");
    let asked = tokio::spawn(try_send(post(&url, &body), false));
    soon(gate.arrived(1)).await;
    let began = Instant::now();
    program.signal("TERM");
    let ended = program.end().await;
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(250) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(ended.err.contains("unknown"), "{ended:?}");
    let _ = asked.await;
    drop(gate);

    let program = home.serve(&sandbox).await;
    let again = send(post(&program.url("/v1/images/generations"), &body)).await;
    assert_eq!(
        (again.status, again.code().as_str()),
        (409, "outcome_unknown")
    );
    assert_eq!(sandbox.bill().images, 1);
}

/// A proxy in which a call of the system does not come back, as from a disk that does not answer: an
/// open of a pipe that nobody writes to.
async fn stuck(home: &Home, sandbox: &Sandbox) -> (Program, TcpStream) {
    home.write("proxy.toml", "shutdown_grace = \"200ms\"\n");
    let program = home.serve(sandbox).await;
    let hash = "ab".repeat(32);
    let pipe = home.path("data").join("blobs/ab").join(&hash);
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let address = program.origin.strip_prefix("http://").unwrap();
    let mut asked = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /media/{hash}.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    asked.write_all(request.as_bytes()).await.unwrap();
    // These come behind it.
    for _ in 0..20 {
        send(get(&program.url("/healthz"))).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (program, asked)
}

#[tokio::test]
async fn a_call_that_does_not_come_back_holds_up_nothing() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let (program, asked) = stuck(&home, &sandbox).await;
    let began = Instant::now();
    program.signal("TERM");
    let ended = program.end().await;
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.err.contains("some answers had not ended"),
        "{ended:?}"
    );
    drop(asked);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_disk_either() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let (mut program, asked) = stuck(&home, &sandbox).await;
    program.signal("TERM");
    program.says("stopped").await;
    let began = Instant::now();
    program.signal("TERM");
    let ended = program.end().await;
    assert!(began.elapsed() < Duration::from_secs(4), "it waited");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    drop(asked);
}
