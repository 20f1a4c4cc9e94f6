//! A sandbox, a proxy in front of it, and a socket at its door.

use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reprise::app::{App, Drained};
use reprise::clock::Clock;
use reprise::config::{self, Config, Sources};
use reprise::sandbox::{Options, Sandbox};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The key that upstream sees, and nobody else.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-of-the-wire-tests";

/// `server.header_timeout` of every house.
pub(crate) const HEAD: Duration = Duration::from_secs(1);

/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Fails a test that hangs.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what)
        .await
        .expect("nothing happened for a minute")
}

/// A running proxy with an upstream of its own. Dropped, it stops.
pub(crate) struct House {
    pub(crate) sandbox: Sandbox,
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    run: JoinHandle<Drained>,
    _home: TempDir,
    /// Its drop is what it is for.
    turn: Option<File>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::before(Options::default(), change).await
    }

    pub(crate) async fn before(options: Options, change: impl FnOnce(&mut Config)) -> Self {
        let sandbox = Sandbox::start(options).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let sources = Sources {
            listen: Some("127.0.0.1:0".to_owned()),
            upstream: Some(sandbox.base_url()),
            data_dir: Some(home.path().join("data")),
            cwd: home.path().to_owned(),
            ..Sources::default()
        };
        let mut config = config::load(&sources).unwrap().config;
        config.cache.min_free = 0;
        config.server.header_timeout = HEAD;
        change(&mut config);
        let app = App::bind(
            config,
            secrecy::SecretString::from(UPSTREAM_KEY),
            Clock::system(),
        );
        let app = soon(app).await.unwrap_or_else(|error| panic!("{error}"));
        let (addr, stop) = (app.addr(), CancellationToken::new());
        let run = tokio::spawn(app.run(stop.clone()));
        Self {
            sandbox,
            addr,
            stop,
            run,
            _home: home,
            turn: None,
        }
    }

    /// Holds this turn until the house is closed.
    pub(crate) fn in_turn(mut self, turn: File) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Begins to drain.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Waits for the end of the drain, and how it came.
    pub(crate) async fn ended(&mut self) -> Drained {
        (&mut self.run).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Socket {
        Socket {
            stream: soon(TcpStream::connect(self.addr)).await.unwrap(),
            read: Vec::new(),
        }
    }
}

/// A connection that says exactly what it is told to say.
pub(crate) struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The code of an error in OpenAI's envelope.
    pub(crate) fn code(&self) -> String {
        let json: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no envelope: {self:?}"));
        json["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Socket {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends what may arrive at a connection that is closed already.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon(self.stream.write_all(bytes)).await.is_ok()
    }

    pub(crate) async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
    }

    /// The next answer, which has to say its length or to have chunks.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.until(b"\r\n\r\n").await.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.split("content-length: ").nth(1);
        let body = match length.and_then(|rest| rest.split("\r\n").next()) {
            Some(length) => self.exactly(length.parse().unwrap()).await,
            None => self.chunks(&head).await,
        };
        Answer { status, head, body }
    }

    /// How long until the other side closes; panics should it say something first.
    pub(crate) async fn closed(&mut self) -> Duration {
        let started = Instant::now();
        let mut buffer = [0; 1024];
        match soon(self.stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => started.elapsed(),
            Ok(n) => panic!("it said {:?}", String::from_utf8_lossy(&buffer[..n])),
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn shut(&mut self) {
        let _ = soon(self.stream.shutdown()).await;
    }

    /// How long until the other side closes, whatever it says.
    pub(crate) async fn closed_at_last(&mut self) -> Duration {
        let started = Instant::now();
        let _ = soon(self.stream.read_to_end(&mut self.read)).await;
        started.elapsed()
    }

    /// Whether nothing at all comes for so long.
    pub(crate) async fn hears_nothing(&mut self, during: Duration) -> bool {
        let mut byte = [0];
        tokio::time::timeout(during, self.stream.peek(&mut byte))
            .await
            .is_err()
    }

    async fn more(&mut self) {
        let n = soon(self.stream.read_buf(&mut self.read)).await.unwrap();
        assert!(
            n > 0,
            "closed after {}",
            String::from_utf8_lossy(&self.read)
        );
    }

    async fn until(&mut self, end: &[u8]) -> String {
        loop {
            let found = self.read.windows(end.len()).position(|bytes| bytes == end);
            match found {
                Some(at) => return self.exactly(at + end.len()).await,
                None => self.more().await,
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> String {
        while self.read.len() < length {
            self.more().await;
        }
        let rest = self.read.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap()
    }

    async fn chunks(&mut self, head: &str) -> String {
        let mut body = String::new();
        if !head.contains("transfer-encoding: chunked") {
            return body;
        }
        loop {
            let line = self.until(b"\r\n").await;
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let chunk = self.exactly(size + 2).await;
            body += &chunk[..size];
            if size == 0 {
                return body;
            }
        }
    }
}

/// One crowd or flood at a time: together they would measure each other.
pub(crate) async fn alone() -> File {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/crowd");
    let waiting = tokio::task::spawn_blocking(move || {
        let file = File::create(path).unwrap();
        file.lock().unwrap();
        file
    });
    waiting.await.unwrap()
}
