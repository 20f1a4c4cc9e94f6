//! `reprise serve` as a child process that is killed as it comes.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A start of a debug build on a busy machine takes a second; whoever takes this long hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// How to start it.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) cwd: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) upstream: String,
    /// Beside the few variables that it needs.
    pub(crate) env: Vec<(String, String)>,
}

/// A program that has printed where it listens.
pub(crate) struct Program {
    child: Child,
    log: Log,
    pub(crate) addr: SocketAddr,
}

/// A program that ended before it listened, or at all.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Ended {
    /// Whether SIGKILL ended it.
    pub(crate) fn killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

#[derive(Clone, Default)]
struct Log {
    text: Arc<Mutex<String>>,
    readers: Arc<()>,
}

impl Log {
    fn text(&self) -> String {
        self.text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads to the end, whoever waits: a full pipe would stop the program.
    fn read(&self, output: impl Read + Send + 'static) {
        let Self { text, readers } = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
            }
            drop(readers);
        });
    }

    /// Whether both outputs have been read to their end.
    fn is_whole(&self) -> bool {
        Arc::strong_count(&self.readers) == 1
    }
}

impl Launch {
    pub(crate) fn new(home: &Path, upstream: &str) -> Self {
        Self {
            cwd: home.to_owned(),
            data: home.join("data"),
            upstream: upstream.to_owned(),
            env: Vec::new(),
        }
    }

    pub(crate) fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut launch = self.clone();
        launch.env.push((name.to_owned(), value.into()));
        launch
    }

    /// Whether it is started with this variable.
    pub(crate) fn has(&self, variable: &str) -> bool {
        self.env.iter().any(|(name, _)| name == variable)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--upstream"])
            .arg(&self.upstream)
            .arg("--data-dir")
            .arg(&self.data)
            .current_dir(&self.cwd)
            .env_clear()
            .env("HOME", &self.cwd)
            .env("RELAYDANCE_API_KEY", "sk-upstream-of-the-crash-tests")
            .env("REPRISE_CACHE__MIN_FREE", "0")
            .env("REPRISE_JOBS__MIN_POLL_INTERVAL", "100ms")
            // Which passage a point is at must not hang on who else polls.
            .env("REPRISE_JOBS__POLL_INTERVAL", "1h")
            .env("REPRISE_SHUTDOWN_GRACE", "10s")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&self) -> Result<Program, Ended> {
        let mut child = self.command().spawn().unwrap();
        let log = Log::default();
        log.read(child.stdout.take().unwrap());
        log.read(child.stderr.take().unwrap());
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(addr) = listening(&log.text()) {
                return Ok(Program { child, log, addr });
            }
            if let Some(status) = child.try_wait().unwrap() {
                let log = rest(&log).await;
                return Err(Ended { status, log });
            }
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("it hangs at its start:\n{}", log.text());
            }
            tick().await;
        }
    }

    /// Starts it, and kills it so much later, wherever it is then.
    pub(crate) async fn start_and_kill(&self, life: Duration) {
        let mut child = self.command().spawn().unwrap();
        tokio::time::sleep(life).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it, which must succeed.
    pub(crate) async fn must_start(&self) -> Program {
        match self.start().await {
            Ok(program) => program,
            Err(Ended { status, log }) => panic!("it does not start ({status}):\n{log}"),
        }
    }
}

/// The address in the log's line, once that line is whole.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on http://")?;
    let (addr, _) = rest.split_once('\n')?;
    addr.trim().parse().ok()
}

impl Program {
    /// Everything printed so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.end().await
    }

    /// Asks it to stop (SIGTERM), and waits until it is gone: by itself, or by a fault on the way.
    pub(crate) async fn stop(mut self) -> Ended {
        if self.child.try_wait().unwrap().is_none() {
            let pid = self.child.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        }
        self.end().await
    }

    async fn end(&mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = rest(&self.log).await;
                return Ended { status, log };
            }
            assert!(
                Instant::now() < end,
                "it does not end:\n{}",
                self.log.text()
            );
            tick().await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log of a program that has ended.
async fn rest(log: &Log) -> String {
    while !log.is_whole() {
        tick().await;
    }
    log.text()
}

async fn tick() {
    tokio::time::sleep(Duration::from_millis(3)).await;
}
