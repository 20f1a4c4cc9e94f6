//! The real program, and the signal that asks it to read its configuration again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Killed when dropped.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(home: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reprise"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(["--upstream", "http://127.0.0.1:9/v1"])
            .current_dir(home)
            .env_clear()
            .env("HOME", home)
            .env("RELAYDANCE_API_KEY", "sk-upstream-of-the-wire-tests")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let also = send.clone();
        std::thread::spawn(move || pass_on(BufReader::new(out), &send));
        std::thread::spawn(move || pass_on(BufReader::new(err), &also));
        Self { child, lines }
    }

    /// What follows `words` in the first line that has them.
    fn says(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(10));
            let line = line.unwrap_or_else(|_| panic!("it does not say {words:?}"));
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
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
        program.says("reload is not supported yet");
    }
    assert!(program.child.try_wait().unwrap().is_none(), "it runs on");
    std::net::TcpStream::connect(addr).unwrap();
}
