//! A child process whose output is read while it runs, and which never outlives its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What has been printed so far, both streams, line by line in the order of arrival.
type Log = Arc<Mutex<String>>;

/// A started program; killed by its own handle when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: Log,
}

impl Process {
    /// Starts `command` with no standard input and both outputs read by threads.
    pub(crate) fn start(name: &str, command: &mut Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (sender, lines) = channel();
        let log = Log::default();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as Box<_>),
            child.stderr.take().map(|err| Box::new(err) as Box<_>),
        ];
        for output in outputs.into_iter().flatten() {
            let (sender, log) = (sender.clone(), Arc::clone(&log));
            // Read to the end whether or not anyone waits for a line: a full pipe would stop the program.
            thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                    drop(log);
                    let _ = sender.send(line);
                }
            });
        }
        Process {
            name: name.to_owned(),
            child,
            lines,
            log,
        }
    }

    /// The rest of the first line that holds `words`, or a panic with all output after `patience`.
    pub(crate) fn wait_for(&self, words: &str, patience: Duration) -> String {
        let end = Instant::now() + patience;
        let reason = loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(words) {
                        return rest.to_owned();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break "ended".to_owned(),
                Err(RecvTimeoutError::Timeout) => break format!("ran for {patience:?}"),
            }
        };
        let (name, printed) = (&self.name, self.printed());
        panic!("{name} {reason} without printing `{words}`:\n{printed}");
    }

    /// How it ended, or `None` if it still had its outputs open after `patience`.
    pub(crate) fn wait_for_end(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().ok(),
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
    }

    /// Everything printed so far.
    pub(crate) fn printed(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
