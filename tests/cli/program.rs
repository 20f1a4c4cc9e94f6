//! The program as a child process, with a home of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reprise::sandbox::Sandbox;
use tempfile::TempDir;

use crate::call::PATIENCE;

/// The upstream key of every test that does not say otherwise.
pub(crate) const KEY: &str = "sk-upstream-of-the-cli-tests";

/// A home folder, which is the working folder as well.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with these arguments, and nothing of the environment of whoever runs the tests.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path());
        command
    }

    /// Runs a command that ends by itself.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        Program::start(&mut self.command(args)).end().await
    }

    /// As [`run`](Self::run), with an upstream key.
    pub(crate) async fn run_with_key(&self, args: &[&str]) -> Ended {
        Program::start(self.command(args).env("RELAYDANCE_API_KEY", KEY))
            .end()
            .await
    }

    /// The arguments and the environment of a proxy before `sandbox`, on a free port.
    pub(crate) fn serving(&self, sandbox: &Sandbox) -> Command {
        let data = self.path("data");
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command
            .args(["--upstream", &sandbox.base_url(), "--data-dir"])
            .arg(data)
            .env("RELAYDANCE_API_KEY", KEY);
        command
    }

    /// A proxy before `sandbox` that accepts.
    pub(crate) async fn serve(&self, sandbox: &Sandbox) -> Program {
        let mut program = Program::start(&mut self.serving(sandbox));
        program.listening().await;
        program
    }
}

/// What a program that ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

type Text = Arc<Mutex<String>>;

/// A started program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    out: Text,
    err: Text,
    readers: Vec<std::thread::JoinHandle<()>>,
    /// `http://ADDR`, once it listens.
    pub(crate) origin: String,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Text::default(), Text::default());
        let readers = vec![
            reader(child.stdout.take().unwrap(), &out),
            reader(child.stderr.take().unwrap(), &err),
        ];
        Self {
            child,
            out,
            err,
            readers,
            origin: String::new(),
        }
    }

    /// Writes all of its standard input.
    pub(crate) fn tell(&mut self, text: &str) {
        let mut input = self.child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn err(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    pub(crate) fn printed(&self) -> String {
        format!("{}{}", self.out.lock().unwrap(), self.err())
    }

    /// Waits until `words` were printed.
    pub(crate) async fn says(&mut self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.printed().contains(words) {
            let over = self.child.try_wait().unwrap();
            if over.is_some() {
                // Its last words may be on their way still.
                for reader in self.readers.drain(..) {
                    reader.join().unwrap();
                }
            }
            let said = self.printed().contains(words);
            assert!(
                said || (over.is_none() && Instant::now() < end),
                "`{words}` was never printed ({over:?}):\n{}",
                self.printed()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until it says where it listens, and gives what stands behind `http://`.
    pub(crate) async fn listening(&mut self) -> String {
        self.says("listening on http://").await;
        let printed = self.printed();
        let (_, rest) = printed.split_once("listening on http://").unwrap();
        let address: String = rest
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || ".:[]".contains(*letter))
            .collect();
        self.origin = format!("http://{address}");
        address
    }

    /// The whole URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Sends a signal by its name: `TERM`, `INT`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// `kill -9`, and the end of it.
    pub(crate) async fn kill(mut self) {
        self.child.kill().unwrap();
        let ended = self.ended().await;
        assert_eq!(ended.code, None, "it was to die by the signal: {ended:?}");
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        self.ended().await
    }

    async fn ended(&mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended {
            code: status.code(),
            out: self.out.lock().unwrap().clone(),
            err: self.err(),
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

/// Read to the end whether or not anyone looks: a full pipe would stop the program.
fn reader(from: impl Read + Send + 'static, to: &Text) -> std::thread::JoinHandle<()> {
    let to = to.clone();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
