//! Bodies that no memory holds, both ways through the real program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::call::soon;
use crate::program::{Home, KEY, Program};

/// What passes each way.
const LENGTH: u64 = 1024 * 1024 * 1024;

/// How much the program may grow meanwhile.
const GROWTH: u64 = 16 * 1024 * 1024;

const PIECE: usize = 256 * 1024;

/// An upstream that does nothing but move bytes: it answers a GET with [`LENGTH`] of them, and
/// takes as many with a POST.
struct Mover {
    url: String,
    sent: Arc<AtomicU64>,
}

impl Mover {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, counter.clone()));
            }
        });
        Self { url, sent }
    }
}

async fn serve(mut stream: TcpStream, sent: Arc<AtomicU64>) {
    let mut read = Vec::new();
    while let Some(at) = head(&mut stream, &mut read).await {
        let head = String::from_utf8_lossy(&read[..at]).into_owned();
        read.drain(..at);
        if head.starts_with("POST") {
            let mut left = LENGTH - read.len() as u64;
            read.clear();
            let mut piece = vec![0; PIECE];
            while left > 0 {
                let length = stream.read(&mut piece).await.unwrap();
                assert!(length > 0, "it broke off");
                left -= length as u64;
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer.as_bytes()).await.unwrap();
            continue;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![7; PIECE];
        for _ in 0..LENGTH / PIECE as u64 {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
            sent.fetch_add(PIECE as u64, Ordering::Relaxed);
        }
    }
}

/// Where the next head ends.
async fn head(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            return Some(at + 4);
        }
        if stream.read_buf(read).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// The largest size that the program had in memory, in bytes.
fn peak(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1024
}

/// Takes the body of an answer whose head is taken, and says whether every byte is right.
async fn drain(stream: &mut TcpStream, first: usize) {
    let mut left = LENGTH - first as u64;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let length = soon(stream.read(&mut piece)).await.unwrap();
        assert!(length > 0 && piece[0] == 7 && piece[length - 1] == 7);
        left -= length as u64;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_passes_each_way_in_little_memory() {
    let mover = Mover::start().await;
    let home = Home::new();
    let data = home.path("data");
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command
        .args(["--upstream", &mover.url, "--data-dir"])
        .arg(data);
    let mut program = Program::start(command.env("RELAYDANCE_API_KEY", KEY));
    let addr = program.listening().await;
    let small = peak(&program);

    // A reader of little patience and a small window holds upstream back.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut slow = soon(socket.connect(addr.parse().unwrap())).await.unwrap();
    let get = "GET /v1/files/f/content HTTP/1.1\r\nHost: localhost\r\n\r\n";
    slow.write_all(get.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let at = soon(head(&mut slow, &mut read)).await.unwrap();
    let mut before = u64::MAX;
    while mover.sent.load(Ordering::Relaxed) != before {
        before = mover.sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < LENGTH / 8, "{before} bytes went to nobody");

    let began = Instant::now();
    drain(&mut slow, read.len() - at).await;
    let down = began.elapsed();
    let post =
        format!("POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LENGTH}\r\n\r\n");
    slow.write_all(post.as_bytes()).await.unwrap();
    let piece = vec![7; PIECE];
    let began = Instant::now();
    for _ in 0..LENGTH / PIECE as u64 {
        soon(slow.write_all(&piece)).await.unwrap();
    }
    read.clear();
    soon(head(&mut slow, &mut read)).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.1 200"));
    let grown = peak(&program) - small;
    println!(
        "down {down:?}, up {:?}, grown by {grown} to {}",
        began.elapsed(),
        small + grown
    );
    assert!(grown <= GROWTH, "grown by {grown} bytes");
}
