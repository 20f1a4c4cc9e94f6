//! Standard error, written a handful of lines at a time.
//!
//! Every request has a line, and a system call for each would cost more than what the line tells of. So
//! those wait a moment for others; whatever else there is to say is written at once, behind them. A
//! reader of standard error that takes nothing holds up no request: what does not fit is left out, and
//! counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The target of lines that may wait.
const PATIENT: &str = "reprise::request";
/// How long they wait for others.
const GATHER: Duration = Duration::from_millis(20);
/// How many bytes of them there may be.
const MOST: usize = 1024 * 1024;

/// Where lines go; a clone is the same.
#[derive(Clone, Default)]
pub(in crate::cli) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    come: Condvar,
    /// Whoever has it writes, so that lines stay in their order.
    out: Mutex<()>,
    begun: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// How many lines were left out.
    lost: u64,
}

/// One line on its way.
pub(in crate::cli) struct Line<'a> {
    lines: &'a Lines,
    may_wait: bool,
}

impl Lines {
    /// Writes what waits.
    pub(in crate::cli) fn flush(&self) {
        self.write(&[]);
    }

    /// Writes what waits, and then `last`.
    fn write(&self, last: &[u8]) {
        let _out = lock(&self.0.out);
        let Waiting { mut bytes, lost } = std::mem::take(&mut *lock(&self.0.waiting));
        if lost > 0 {
            let told = format!("{lost} lines about requests were left out: nobody read them\n");
            bytes.extend_from_slice(told.as_bytes());
        }
        bytes.extend_from_slice(last);
        // There is nowhere else to say that it fails.
        let _ = io::stderr().write_all(&bytes);
    }

    fn gather(&self, line: &[u8]) {
        let mut waiting = lock(&self.0.waiting);
        if waiting.bytes.len() + line.len() > MOST {
            waiting.lost += 1;
            return;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if first {
            self.0.come.notify_one();
        }
    }

    /// Whether somebody writes what is gathered; begins it when first asked.
    fn is_written(&self) -> bool {
        if self.0.begun.swap(true, Ordering::AcqRel) {
            return true;
        }
        let lines = self.clone();
        let thread = thread::Builder::new().name("log".to_owned());
        let begun = thread.spawn(move || {
            loop {
                lines.wait();
                lines.flush();
            }
        });
        // Without it, the next line tries again.
        self.0.begun.store(begun.is_ok(), Ordering::Release);
        begun.is_ok()
    }

    /// Returns a moment after something has come.
    fn wait(&self) {
        let waiting = lock(&self.0.waiting);
        let is_empty = |waiting: &mut Waiting| waiting.bytes.is_empty();
        let waiting = self.0.come.wait_while(waiting, is_empty);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        // Nobody wakes it while something waits already.
        drop(self.0.come.wait_timeout(waiting, GATHER));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: self,
            may_wait: false,
        }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a> {
        Line {
            lines: self,
            may_wait: of.target() == PATIENT && *of.level() >= Level::INFO,
        }
    }
}

impl Write for Line<'_> {
    /// The whole of a line comes in one call.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.may_wait && self.lines.is_written() {
            self.lines.gather(bytes);
        } else {
            self.lines.write(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
