//! More clients than there is room for, with the real program.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use reprise::sandbox::{Options, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::house::{alone, soon};
use crate::program::Program;
use crate::upstream::Upstream;

/// How long a small request may take beside a crowd. Without one it takes milliseconds; the machine
/// that tests has other things to do as well.
const QUICK: Duration = Duration::from_secs(8);

/// A large body, in bytes.
const EACH: usize = 50 * 1024 * 1024;

const IMAGE: &str = r#"{"model":"m","prompt":"PROMPT"}"#;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

fn image(prompt: &str) -> String {
    let body = IMAGE.replace("PROMPT", prompt);
    let length = body.len();
    format!(
        "POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// What one request is answered, and how long that takes; the connection ends with it.
async fn ask(addr: SocketAddr, request: String) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = soon(TcpStream::connect(addr)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    (
        String::from_utf8_lossy(&answer).into_owned(),
        started.elapsed(),
    )
}

async fn assert_quick(addr: SocketAddr, when: &str) {
    let (answer, took) = ask(addr, get("/v1/models")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{when}: {answer}");
    assert!(took < QUICK, "{when}: it took {took:?}");
}

/// Connections that say this and then nothing.
async fn crowd(addr: SocketAddr, count: usize, say: &str) -> Vec<TcpStream> {
    let open = (0..count).map(|_| async {
        let socket = TcpSocket::new_v4().ok()?;
        // Or else the system takes megabytes for those who read nothing.
        socket.set_recv_buffer_size(4096).ok()?;
        let mut stream = socket.connect(addr).await.ok()?;
        // Its place may be taken before it has spoken.
        let _ = stream.write_all(say.as_bytes()).await;
        Some(stream)
    });
    join_all(open).await.into_iter().flatten().collect()
}

/// How many connections to this address the other side has not closed.
fn open(addr: SocketAddr) -> usize {
    let local = format!(":{:04X}", addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().filter(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (here, _, state) = (words.next(), words.next(), words.next());
        // 01 is ESTABLISHED.
        here.is_some_and(|here| here.ends_with(&local)) && state == Some("01")
    });
    lines.count()
}

/// Waits until the other side has closed all of them.
async fn all_closed(streams: Vec<TcpStream>) {
    let ends = streams.into_iter().map(|mut stream| async move {
        let mut scrap = [0; 4096];
        while stream.read(&mut scrap).await.unwrap_or(0) > 0 {}
    });
    join_all(ends).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_who_say_too_little_keep_nobody_waiting() {
    let _alone = alone().await;
    // Longer than what the sockets hold for those who read nothing.
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 400000\r\n\r\n{}",
        "x".repeat(400_000)
    );
    let answer: &'static [&'static str] = vec![&*answer.leak()].leak();
    let upstream = Upstream::saying(answer).await;
    let home = tempfile::tempdir().unwrap();
    let program = Program::before(home.path(), &upstream.base_url(), |command| {
        command
            .env("REPRISE_SERVER__HEADER_TIMEOUT", "15s")
            .env("REPRISE_UPSTREAM__IDLE_TIMEOUT", "15s")
            .env("REPRISE_SERVER__MAX_CONNECTIONS", "3000");
    });
    let addr = program.addr();
    assert_quick(addr, "before").await;
    let body = "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{";
    let greedy = get("/v1/bytes");
    let mut all = Vec::new();
    for (count, say) in [
        (2000, ""),
        (2000, "GET /v1/models HTTP/1.1\r\nhost:"),
        (500, body),
        (500, greedy.as_str()),
    ] {
        // A listener's queue holds some hundreds.
        for _ in 0..count / 250 {
            all.extend(crowd(addr, 250, say).await);
            assert_quick(addr, say).await;
        }
    }
    // Those who read nothing are told apart by that: nobody reads before all have ended.
    let given_up = async {
        while open(addr) > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), given_up)
        .await
        .expect("all have ended");
    assert_quick(addr, "after").await;
    soon(all_closed(all)).await;
    assert!(program.memory() < 400 * 1024 * 1024, "{}", program.memory());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_descriptors_are_shared_out() {
    let _alone = alone().await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let program = Program::limited(home.path(), &sandbox.base_url(), 256);
    // 64 of them, unless there are many processors.
    program.says("connections are served at once");
    let addr = program.addr();
    let (answer, _) = ask(addr, image("before")).await;
    assert!(answer.contains("fwd=miss; stored"), "{answer}");
    let before = program.cpu();
    let started = Instant::now();
    let mut all = Vec::new();
    for _ in 0..10 {
        all.extend(crowd(addr, 100, "GET /v1/models HTTP/1.1\r\n").await);
    }
    let (answer, _) = ask(addr, image("meanwhile")).await;
    assert!(
        answer.contains("fwd=miss; stored"),
        "the store writes: {answer}"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let busy = program.cpu().saturating_sub(before);
    assert!(busy < started.elapsed() * 3 / 2, "it spins: {busy:?}");
    drop(all);
    assert_quick(addr, "after").await;
    let (answer, _) = ask(addr, image("meanwhile")).await;
    assert!(answer.contains("reprise; hit"), "{answer}");
    assert_eq!(sandbox.bill().total(), 2);
}

/// Ten gigabytes are announced, and sent as far as anybody takes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_large_bodies_share_the_memory() {
    let _alone = alone().await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let gate = sandbox.hold("POST /v1/images");
    let home = tempfile::tempdir().unwrap();
    let program = Program::before(home.path(), &sandbox.base_url(), |_| {});
    let addr = program.addr();
    let piece = vec![b'x'; 256 * 1024];
    let senders = (0..200).map(|nth| {
        let piece = &piece;
        async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let head = format!("POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\ncontent-length: {EACH}\r\n\r\n{nth:09}");
            stream.write_all(head.as_bytes()).await.unwrap();
            let (mut ears, mut mouth) = stream.split();
            let mut answer = [0; 1024];
            let sending = async {
                let mut left = EACH - 9;
                while left > 0 {
                    let some = &piece[..piece.len().min(left)];
                    if mouth.write_all(some).await.is_err() {
                        break;
                    }
                    left -= some.len();
                }
                std::future::pending::<()>().await;
            };
            let read = tokio::select! {
                read = ears.read(&mut answer) => read.unwrap_or(0),
                () = sending => unreachable!(),
            };
            String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase()
        }
    });
    let watching = async {
        let mut most = 0;
        loop {
            most = most.max(program.memory());
            assert!(most < 900 * 1024 * 1024, "{most} bytes");
            // What is small is served meanwhile.
            let (answer, took) = ask(addr, get("/v1/models")).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(took < 2 * QUICK, "{took:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answers = async {
        let mut refused = 0;
        let mut other = 0;
        let mut running: FuturesUnordered<_> = senders.collect();
        while let Some(answer) = running.next().await {
            if answer.starts_with("http/1.1 503 ") {
                assert!(
                    answer.contains("retry-after: ") && answer.contains("server_busy"),
                    "{answer}"
                );
                refused += 1;
            } else {
                other += 1;
            }
            // The first to be refused has waited for as long as anybody does.
            gate.release();
        }
        (refused, other)
    };
    let ended = tokio::select! {
        ended = answers => ended,
        () = watching => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(90)) => panic!("it takes for ever"),
    };
    assert_eq!(ended.0 + ended.1, 200);
    assert!(ended.0 > 0 && ended.1 > 0, "{ended:?}");
}
