//! The real program, and the signal that asks it to read its configuration again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_reprise");

/// Killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(home: &Path) -> Self {
        Self::before(home, "http://127.0.0.1:9/v1", |_| {})
    }

    /// With this upstream, and whatever else `change` wants of it.
    pub(crate) fn before(home: &Path, upstream: &str, change: impl FnOnce(&mut Command)) -> Self {
        Self::run(Command::new(PROGRAM), home, upstream, change)
    }

    /// With so many descriptors at most.
    pub(crate) fn limited(home: &Path, upstream: &str, descriptors: u32) -> Self {
        let mut shell = Command::new("sh");
        let line = format!("ulimit -n {descriptors}; exec {PROGRAM} \"$@\"");
        shell.args(["-c", &line, "sh"]);
        Self::run(shell, home, upstream, |_| {})
    }

    fn run(
        mut command: Command,
        home: &Path,
        upstream: &str,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(["--upstream", upstream])
            .current_dir(home)
            .env_clear()
            .env("HOME", home)
            .env("REPRISE_CACHE__MIN_FREE", "0")
            .env("RELAYDANCE_API_KEY", "sk-upstream-of-the-wire-tests")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let also = send.clone();
        std::thread::spawn(move || pass_on(BufReader::new(out), &send));
        std::thread::spawn(move || pass_on(BufReader::new(err), &also));
        Self { child, lines }
    }

    /// What follows `words` in the first line that has them.
    pub(crate) fn says(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(10));
            let line = line.unwrap_or_else(|_| panic!("it does not say {words:?}"));
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Where it listens, once it does.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.says("listening on http://").parse().unwrap()
    }

    /// What of memory is its own, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.split("RssAnon:").nth(1).unwrap();
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }

    /// The time for which it has kept a processor busy.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after = stat.rsplit(')').next().unwrap();
        let ticks = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|n| n.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    fn hang_up(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pass_on(lines: impl BufRead, to: &std::sync::mpsc::Sender<String>) {
    for line in lines.lines().map_while(Result::ok) {
        let _ = to.send(line);
    }
}

#[test]
fn a_hang_up_ends_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut program = Program::start(home.path());
    let addr = program.says("listening on http://");
    for _ in 0..2 {
        program.hang_up();
        program.says("the configuration was read again; nothing has changed");
    }
    assert!(program.child.try_wait().unwrap().is_none(), "it runs on");
    std::net::TcpStream::connect(addr).unwrap();
}
