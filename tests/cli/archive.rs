//! Files behind links, kept by the real program: over its death, in little memory, and playable.
//!
//! `REPRISE_LONG=1` fetches ten files of a gigabyte instead of ten of 32 MiB.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::call::{get, post, send, soon};
use crate::program::{Home, Program, files};

const PATH: &str = "/v1/video/generations";
const FILES: usize = 10;
/// What the program may grow by while it fetches and serves them.
const MOST_GROWTH_KIB: u64 = 32 * 1024;

fn home() -> Home {
    let home = Home::new();
    home.write(
        "proxy.toml",
        "data_dir = \"data\"\n[media]\nallow = [\"127.0.0.0/8\"]\n\
         [jobs]\npoll_interval = \"200ms\"\nmin_poll_interval = \"100ms\"\n\
         [cache]\nmin_free = 0\n",
    );
    home
}

async fn submit(program: &Program, nth: usize) -> String {
    let body = json!({"model": "doubao-seedance-2-0-720p", "prompt": format!("wave {nth}")});
    let answer = send(post(&program.url(PATH), &body)).await;
    answer.json()["task_id"].as_str().unwrap().to_owned()
}

/// The link of a finished job, once it leads to the kept copy.
async fn kept_link(program: &Program, task: &str, patience: Duration) -> String {
    let prefix = program.url("/media/");
    let end = Instant::now() + patience;
    loop {
        let answer = send(get(&program.url(&format!("{PATH}/{task}")))).await;
        let link = answer.json()["data"]["result_url"].clone();
        if let Some(link) = link.as_str().filter(|link| link.starts_with(&prefix)) {
            return link.to_owned();
        }
        assert!(Instant::now() < end, "{answer:?}\n{}", program.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A host whose every file begins like an MP4 and is different from all others.
struct Storage {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
    /// How many bytes of a file are sent before this is set.
    open: watch::Sender<bool>,
}

impl Storage {
    async fn start(len: u64, held_after: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (asked, open) = (Arc::<AtomicUsize>::default(), watch::Sender::new(false));
        let (count, gate) = (asked.clone(), open.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let gate = gate.subscribe();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, (len, held_after), gate));
            }
        });
        Self { addr, asked, open }
    }

    async fn asked(&self, n: usize) {
        let asked = async {
            while self.asked.load(Ordering::SeqCst) < n {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(asked).await;
    }
}

async fn serve(
    mut stream: TcpStream,
    (len, held_after): (u64, u64),
    mut gate: watch::Receiver<bool>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let seed = blake3::hash(head.split(|byte| *byte == b'\r').next()?);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    let mut piece = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41".to_vec();
    piece.extend_from_slice(seed.as_bytes());
    piece.resize(64 * 1024, 7);
    let mut sent = 0;
    while sent < len {
        if sent >= held_after {
            gate.wait_for(|open| *open).await.ok()?;
        }
        let step = usize::try_from(len - sent).unwrap().min(piece.len());
        stream.write_all(&piece[..step]).await.ok()?;
        sent += step as u64;
    }
    stream.shutdown().await.ok()
}

async fn sandbox_linking_to(storage: &Storage) -> Sandbox {
    let options = Options {
        job_time: Duration::from_hours(1),
        public_url: Some(format!("http://{}", storage.addr)),
        ..Options::default()
    };
    Sandbox::start(options).await.unwrap()
}

#[tokio::test]
async fn a_file_that_a_kill_cut_off_is_fetched_again() {
    let storage = Storage::start(3_000_000, 1_500_000).await;
    let sandbox = sandbox_linking_to(&storage).await;
    let home = home();
    let program = home.serve(&sandbox).await;
    let task = submit(&program, 1).await;
    sandbox.finish_jobs();
    // Nobody polls.
    storage.asked(1).await;
    let blobs = home.path("data/blobs");
    let begun = async {
        while !files(&blobs)
            .iter()
            .any(|file| file.metadata().is_ok_and(|file| file.len() > 500_000))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(begun).await;
    program.kill().await;

    // Without a proxy it can be seen that the file is still to come.
    let shown = home.run(&["jobs", "show", &task, "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["media"][0]["state"], "wanted", "{shown}");
    assert_eq!(
        shown["media"][0]["host"],
        format!("http://{}", storage.addr)
    );

    let program = home.serve(&sandbox).await;
    storage.asked(2).await;
    storage.open.send_replace(true);
    let link = kept_link(&program, &task, crate::call::PATIENCE).await;
    let served = send(get(&link)).await;
    assert_eq!((served.status, served.body.len()), (200, 3_000_000));
    assert_eq!(files(&blobs).len(), 1, "what the dead process left is gone");
    assert_eq!(sandbox.bill().total(), 1);
    let shown = home.run(&["jobs", "show", &task]).await;
    let path = link.trim_start_matches(&program.origin);
    let said = format!(
        "kept from http://{} video/mp4, 3000000 bytes, {path}",
        storage.addr
    );
    assert!(shown.out.contains(&said), "{shown:?}");
}

/// Resident memory in KiB.
fn resident(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let said = status.lines().find_map(|said| said.strip_prefix("VmRSS:"));
    let digits = said.unwrap().trim().trim_end_matches(" kB");
    digits.parse().unwrap()
}

#[tokio::test]
async fn ten_large_files_need_no_memory() {
    let long = std::env::var_os("REPRISE_LONG").is_some();
    let len: u64 = if long { 1 << 30 } else { 32 << 20 };
    let patience = Duration::from_secs(if long { 900 } else { 60 });
    let storage = Storage::start(len, u64::MAX).await;
    let sandbox = sandbox_linking_to(&storage).await;
    let home = home();
    let program = home.serve(&sandbox).await;
    let mut tasks = Vec::new();
    for nth in 0..FILES {
        tasks.push(submit(&program, nth).await);
    }
    let before = resident(&program);
    sandbox.finish_jobs();
    let mut most = before;
    let mut links = Vec::new();
    for task in &tasks {
        let waiting = kept_link(&program, task, patience);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                link = &mut waiting => {
                    links.push(link);
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(resident(&program)),
            }
        }
    }
    let archived = most;
    // All of them at once, as fast as they are taken.
    let reads = links.into_iter().map(|link| {
        let client = Client::builder(TokioExecutor::new())
            .build_http::<http_body_util::Empty<bytes::Bytes>>();
        tokio::spawn(async move {
            let answer = client.get(link.parse().unwrap()).await.unwrap();
            let (mut body, mut read) = (answer.into_body(), 0);
            while let Some(frame) = body.frame().await {
                read += frame
                    .unwrap()
                    .into_data()
                    .map_or(0, |data| data.len() as u64);
            }
            read
        })
    });
    for read in reads.collect::<Vec<_>>() {
        while !read.is_finished() {
            most = most.max(resident(&program));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(read.await.unwrap(), len);
    }
    let grown = most - before;
    println!("before {before} KiB, archiving {archived} KiB, serving {most} KiB");
    assert!(
        grown <= MOST_GROWTH_KIB,
        "{grown} KiB more than {before} KiB"
    );
    assert_eq!(storage.asked.load(Ordering::SeqCst), FILES);
}

/// What a player makes of it. `ffprobe` is ffmpeg's.
#[tokio::test]
async fn the_served_clip_is_one_that_plays() {
    if Command::new("ffprobe").arg("-version").output().is_err() {
        let required = std::env::var_os("REPRISE_REQUIRE_CLIENTS").is_some();
        assert!(
            !required,
            "ffprobe is not installed: apt-get install ffmpeg"
        );
        println!("left out: ffprobe is not installed");
        return;
    }
    let options = Options {
        job_time: Duration::from_millis(100),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let home = home();
    let program = home.serve(&sandbox).await;
    let task = submit(&program, 1).await;
    let link = kept_link(&program, &task, crate::call::PATIENCE).await;
    sandbox.stop().await;
    for link in [link, program.url(&format!("/v1/videos/{task}/content"))] {
        let probing = tokio::task::spawn_blocking(move || {
            let wanted = "format=format_name,duration:stream=codec_name,width,height";
            let mut ffprobe = Command::new("ffprobe");
            ffprobe.args(["-v", "error", "-of", "json", "-show_entries", wanted, &link]);
            ffprobe.output().unwrap()
        });
        let found = soon(probing).await.unwrap();
        let said = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success() && said.is_empty(), "{said}");
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        assert_eq!(found["streams"][0]["codec_name"], "h264", "{found}");
        assert_eq!(found["streams"][0]["width"], 160);
        assert_eq!(found["format"]["duration"], "1.500000");
    }
}
