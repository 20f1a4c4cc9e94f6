//! The real program on a data directory.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::directory::{PATH, request};

/// A program that serves, and a connection to it.
pub(crate) struct Program {
    child: Child,
    connection: RefCell<BufReader<TcpStream>>,
}

impl Program {
    /// Starts it and waits until it listens.
    pub(crate) fn start(data: &Path) -> Self {
        let binary = std::env::var_os("BENCH_PROGRAM");
        let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_reprise").into());
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--upstream", "http://127.0.0.1:9", "--data-dir"])
            .arg(data)
            .env("RELAYDANCE_API_KEY", "sk-nobody-is-paid")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| Some(line.split_once("listening on http://")?.1.to_owned()));
        let address = address.expect("it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            child,
            connection: RefCell::new(BufReader::new(stream)),
        }
    }

    /// Asks for the generation `n`, which has to be a hit; says how long that took.
    pub(crate) fn hit(&self, n: u64) -> Duration {
        let body = request(n);
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = self.connection.borrow_mut();
        let since = Instant::now();
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        let (mut len, mut hit) = (0, false);
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                len = value.parse().unwrap();
            }
            hit |= line.starts_with("cache-status: reprise; hit");
            if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; len];
        connection.read_exact(&mut answer).unwrap();
        let took = since.elapsed();
        assert!(hit, "{n} is no hit: {}", String::from_utf8_lossy(&answer));
        took
    }

    /// Its resident memory that is its own, in MB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes * 1_024 / 1_000_000
    }

    /// Waits until it does nothing any longer.
    #[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
    pub(crate) fn rest(&self) {
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            let times = fields.split_whitespace().skip(11).take(2);
            times.map(|time| time.parse::<u64>().unwrap()).sum::<u64>()
        };
        let mut before = u64::MAX;
        // Two of a hundred ticks in a second are what it takes to do nothing.
        while before.abs_diff(ticks()) > 2 {
            before = ticks();
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Ends it as a supervisor does.
    pub(crate) fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
