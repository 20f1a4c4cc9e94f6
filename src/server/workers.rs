//! Threads for connections, each with a runtime of its own.
//!
//! A connection lives on one of them from its first byte to its last, and whatever its requests begin
//! is begun there too. So nothing of a request waits for another thread to wake up, which would cost
//! more than the request itself. A thread's tasks take turns: what takes longer than about a
//! millisecond belongs on one that may block, more so than where others could take over.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// So many threads that may block are shared out among the workers: as many as one runtime has if
/// nobody says otherwise.
const BLOCKING: usize = 512;

/// The fewest that one has: what comes over one connection alone, say 100 streams of HTTP/2 that each
/// wait for the disk, does not wait for itself.
const FEWEST_BLOCKING: usize = 128;

/// The threads that connections are served on. Dropped, they end without being waited for.
pub struct Workers {
    crew: Crew,
    end: DropGuard,
    /// Closed when the last one has ended.
    at_work: mpsc::Receiver<()>,
}

/// Who gives connections to the [`Workers`].
#[derive(Clone)]
pub struct Crew(Arc<[Worker]>);

struct Worker {
    runtime: Handle,
    open: Arc<AtomicUsize>,
}

/// A connection that is counted on its thread until this is dropped.
pub(super) struct Hold(Arc<AtomicUsize>);

/// A thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot start a thread for connections: {0}; allow more threads (ulimit -u, or the limit of \
     processes that a container has) and more open files (ulimit -n)"
)]
pub struct NoWorker(#[source] io::Error);

impl Workers {
    /// Starts so many threads, which wait for connections.
    ///
    /// # Errors
    /// When the system does not let us have one of them, or what it waits with.
    pub fn start(count: NonZero<usize>) -> Result<Self, NoWorker> {
        let end = CancellationToken::new();
        let (working, at_work) = mpsc::channel();
        let crew: Result<Vec<_>, _> = (0..count.get())
            .map(|nth| {
                let ended = (end.clone(), working.clone());
                Worker::start(nth, blocking(count), ended).map_err(NoWorker)
            })
            .collect();
        // Those that have started end with the guard, whatever became of the others.
        let end = end.drop_guard();
        Ok(Self {
            crew: Crew(crew?.into()),
            end,
            at_work,
        })
    }

    /// For whoever has connections for them.
    pub fn crew(&self) -> Crew {
        self.crew.clone()
    }

    /// Ends them, with whatever is still open on them, and waits for that as long as `within`: `false`
    /// when something did not end, as a call that the system does not come back from.
    pub fn end(self, within: Duration) -> bool {
        drop(self.end);
        self.at_work.recv_timeout(within) != Err(mpsc::RecvTimeoutError::Timeout)
    }
}

/// How many threads that may block each of so many workers has.
fn blocking(workers: NonZero<usize>) -> usize {
    (BLOCKING / workers).max(FEWEST_BLOCKING)
}

impl Worker {
    fn start(
        nth: usize,
        blocking: usize,
        (end, working): (CancellationToken, mpsc::Sender<()>),
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(blocking)
            .build()?;
        let handle = runtime.handle().clone();
        let (stay, leave) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name(format!("worker-{nth}"));
        thread.spawn(move || {
            runtime.block_on(end.cancelled());
            drop(stay);
            // What is still open ends, and calls that block are waited for.
            drop(runtime);
            drop(working);
        })?;
        // MONEY: where the system has no more threads, a runtime that has none which may block panics,
        // and one that has some waits for it. So one is always there, or a paid answer could be lost.
        handle.spawn_blocking(move || leave.recv().is_ok());
        Ok(Self {
            runtime: handle,
            open: Arc::default(),
        })
    }
}

impl Crew {
    /// Has `serve` called, and what it gives driven to its end, on the thread that has the fewest open
    /// connections. It is one of them until the [`Hold`] is dropped.
    pub(super) fn host<F>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream, Hold) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let open = |worker: &&Worker| worker.open.load(Ordering::Relaxed);
        let Some(worker) = self.0.iter().min_by_key(open) else {
            return;
        };
        let hold = Hold::on(worker);
        // It is to be watched by the thread that serves it.
        let stream = stream.into_std();
        worker.runtime.spawn(async move {
            match stream.and_then(TcpStream::from_std) {
                Ok(stream) => serve(stream, hold).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        });
    }
}

impl Hold {
    fn on(worker: &Worker) -> Self {
        worker.open.fetch_add(1, Ordering::Relaxed);
        Self(worker.open.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
