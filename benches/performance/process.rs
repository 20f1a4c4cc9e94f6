//! A system as a process of its own, ended with whoever holds it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// How long one may take to start.
const PATIENCE: Duration = Duration::from_mins(5);
/// What a program of ours prints before its address.
const LISTENING: [&str; 2] = ["listening on http://", "listening on https://"];

/// A started process that listens.
pub(crate) struct Process {
    child: Child,
    said: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a program that prints where it listens; what it prints goes to a file in `folder`.
    pub(crate) async fn start(command: &mut Command, folder: &Path) -> Self {
        let mut process = Self::spawn(command, folder, SocketAddr::from(([127, 0, 0, 1], 0)));
        let begun = Instant::now();
        while process.address.port() == 0 {
            let said = process.said();
            let address = LISTENING.iter().find_map(|words| {
                let (_, rest) = said.split_once(words)?;
                // A line that is still being written has no end.
                rest.split_once('\n')?.0.trim().parse().ok()
            });
            match address {
                Some(address) => process.address = address,
                None => process.wait(begun).await,
            }
        }
        process
    }

    /// Starts a program that was told where to listen, and waits until it does.
    pub(crate) async fn start_at(
        command: &mut Command,
        folder: &Path,
        address: SocketAddr,
    ) -> Self {
        let mut process = Self::spawn(command, folder, address);
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            process.wait(begun).await;
        }
        process
    }

    /// Starts a program that was told where to listen.
    pub(crate) fn spawn(command: &mut Command, folder: &Path, address: SocketAddr) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let said = folder.join(format!("said-{}", uuid::Uuid::now_v7().simple()));
        let file = File::create(&said).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            said,
            address,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    async fn wait(&mut self, begun: Instant) {
        let over = self.child.try_wait().unwrap();
        assert!(
            over.is_none() && begun.elapsed() < PATIENCE,
            "it does not listen ({over:?}):\n{}",
            self.said()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A master that is killed would leave its workers behind; TERM takes them along.
        let asked = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = asked {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses at this moment.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
