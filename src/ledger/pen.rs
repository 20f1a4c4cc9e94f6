//! Whoever has the pen writes everything that waits.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::folder::{Folder, Page, Paper, pages};
use super::month::Month;
use super::queue::{Batch, Queue};
use super::spent::{self, Spent};
use super::{LedgerError, Line, Outcome};
use crate::clock::Clock;
use crate::message::said;
use crate::metrics::Metrics;

/// How long a noted line waits for others.
const GATHER: Duration = Duration::from_millis(150);
/// How long after a failure the disk is tried again, beside every committed line.
const AGAIN: Duration = Duration::from_secs(1);

/// The ledger of one data directory, for the one process that has it.
pub struct Ledger {
    data_dir: PathBuf,
    queue: Mutex<Queue>,
    pen: Mutex<Pen>,
    /// Something waits that nobody else writes.
    waits: Notify,
    /// The last write failed: lines wait for the disk.
    behind: AtomicBool,
    /// Where lines are counted.
    metrics: OnceLock<Metrics>,
}

struct Pen {
    paper: Box<dyn Paper>,
    /// Every line up to this ticket stands in its file.
    written: u64,
    /// The last write failed; it would have reached up to this ticket.
    failed: Option<(u64, LedgerError)>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger of the data directory `data_dir`, which the caller has to itself, and says
    /// what was spent today and this month by `clock`. Makes nothing. Blocks: less than a second for
    /// a million lines of this month; older months are only searched for unknown outcomes.
    ///
    /// # Errors
    /// When a file cannot be read. A line that cannot be read is left out, and that is logged.
    pub fn open(data_dir: &Path, clock: &Clock) -> Result<(Arc<Self>, Spent), LedgerError> {
        let (spent, doubts) = spent::read(data_dir, clock.now())?;
        let paper = Box::new(Folder::of(data_dir));
        let ledger = Self::on(paper, data_dir);
        lock(&ledger.queue).doubts = doubts;
        Ok((Arc::new(ledger), spent))
    }

    /// One that writes on `paper`.
    pub(super) fn on(paper: Box<dyn Paper>, data_dir: &Path) -> Self {
        let pen = Pen {
            paper,
            written: 0,
            failed: None,
        };
        Self {
            data_dir: data_dir.to_owned(),
            queue: Mutex::default(),
            pen: Mutex::new(pen),
            waits: Notify::new(),
            behind: AtomicBool::new(false),
            metrics: OnceLock::new(),
        }
    }

    /// Has every line counted that is written from now on. Only the first call does something.
    pub fn count_in(&self, metrics: &Metrics) {
        let _ = self.metrics.set(metrics.clone());
    }

    fn count(&self, line: &Line) {
        if let Some(metrics) = self.metrics.get() {
            let what = (line.kind, line.outcome.as_str());
            metrics.generation(what, &line.client, line.usd_spent, line.usd_saved);
        }
    }

    /// How much waits to be written, in bytes.
    pub fn waiting(&self) -> usize {
        lock(&self.queue).bytes()
    }

    /// Writes a line; durable when it returns `Ok`.
    ///
    /// A paid line, or one of unknown outcome, is marked as a possible double payment where an earlier run
    /// of the same generation has an unknown outcome.
    ///
    /// # Errors
    /// When it is not durable. But for [`LedgerError::Full`] it waits, and is written when the disk
    /// works again, as long as this process lives.
    ///
    /// # Cancel safety
    /// The line is written, whether or not anyone waits for it.
    pub async fn commit(self: &Arc<Self>, line: Line) -> Result<(), LedgerError> {
        let ticket = self.queue_up(line)?;
        let ledger = self.clone();
        blocking(move || ledger.write_up_to(ticket)).await
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_blocking(&self, line: Line) -> Result<(), LedgerError> {
        let ticket = self.queue_up(line)?;
        // As it would end on a thread of its own: what was not written waits again.
        catch_unwind(AssertUnwindSafe(|| self.write_up_to(ticket)))
            .unwrap_or_else(|panic| Err(LedgerError::Panicked(said(&*panic))))
    }

    /// What nobody will ever write is not counted either.
    fn queue_up(&self, line: Line) -> Result<u64, LedgerError> {
        let counted = line.clone();
        let ticket = lock(&self.queue).commit(line)?;
        self.count(&counted);
        Ok(ticket)
    }

    /// Has a line about what cost nothing written in the background, within 250 ms while
    /// [`run`](Self::run) runs. Never blocks; a power cut may lose it, the end of the process does
    /// not once it is written. While too much waits for a failing disk it is left out.
    pub fn note(&self, line: &Line) {
        // What is left out is told with the failure.
        let noted = lock(&self.queue).note(line);
        if noted.is_ok() {
            self.count(line);
        }
        self.waits.notify_one();
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// When the disk fails; then it goes on waiting.
    pub async fn flush(self: &Arc<Self>) -> Result<(), LedgerError> {
        let ledger = self.clone();
        blocking(move || ledger.flush_blocking()).await
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn flush_blocking(&self) -> Result<(), LedgerError> {
        self.write_all(&mut lock(&self.pen))
    }

    /// Whether lines wait for a disk that fails.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// Writes what is noted, and what a failing disk did not take, until `stop`. What is noted
    /// afterwards is written by [`flush`](Self::flush).
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = if self.is_behind() { AGAIN } else { GATHER };
            let work = async {
                if !self.is_behind() {
                    self.waits.notified().await;
                }
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
            // A failure is logged where it happens.
            let _ = self.flush().await;
        }
    }

    /// How the runs that were asked for at `since` or later ended, as far as that is written; for
    /// several lines of one run the last. Reads the files of these months.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn booked(
        self: &Arc<Self>,
        since: Timestamp,
    ) -> Result<HashMap<Uuid, Outcome>, LedgerError> {
        let ledger = self.clone();
        blocking(move || ledger.booked_blocking(since)).await
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`booked`](Self::booked).
    pub fn booked_blocking(&self, since: Timestamp) -> Result<HashMap<Uuid, Outcome>, LedgerError> {
        spent::booked(&self.pages()?, since)
    }

    /// The files, as long as they are with everything that waits; nothing that is written later
    /// shows in them.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub(super) fn pages(&self) -> Result<Vec<Page>, LedgerError> {
        let mut pen = lock(&self.pen);
        // What a failing disk does not take is not in the files, which can be read all the same.
        let _ = self.write_all(&mut pen);
        pages(&self.data_dir)
    }

    /// How many lines wait that nobody writes yet.
    #[cfg(test)]
    pub(super) fn lines_waiting(&self) -> u64 {
        lock(&self.queue).lines()
    }

    /// Returns when the line with this ticket stands in its file.
    fn write_up_to(&self, ticket: u64) -> Result<(), LedgerError> {
        let mut pen = lock(&self.pen);
        if pen.written >= ticket {
            return Ok(());
        }
        // Whoever had the pen tried this line too: a disk that fails is not asked once for each.
        match &pen.failed {
            Some((reach, error)) if *reach >= ticket => Err(error.clone()),
            Some(_) | None => self.write_all(&mut pen),
        }
    }

    fn write_all(&self, pen: &mut Pen) -> Result<(), LedgerError> {
        let (mut taken, reach) = Taken::of(&self.queue);
        while let Some((month, batch)) = taken.next() {
            if let Err(error) = pen.paper.append(month, &batch.lines, batch.durable) {
                drop(taken);
                self.failed(&error);
                pen.failed = Some((reach, error.clone()));
                return Err(error);
            }
            taken.is_written(month);
        }
        pen.written = reach;
        pen.failed = None;
        self.recovered();
        Ok(())
    }

    fn failed(&self, error: &LedgerError) {
        if !self.behind.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "the ledger cannot be written; its lines wait for the disk");
        }
        self.waits.notify_one();
    }

    fn recovered(&self) {
        if self.behind.swap(false, Ordering::AcqRel) {
            let lost = std::mem::take(&mut lock(&self.queue).lost);
            tracing::warn!(lost, "the ledger is written again");
        }
    }
}

/// What was taken from the queue. MONEY: what was not written when this is dropped waits again, also
/// after a panic.
struct Taken<'a> {
    queue: &'a Mutex<Queue>,
    batches: BTreeMap<Month, Batch>,
}

impl<'a> Taken<'a> {
    /// Everything that waits, and the ticket up to which it reaches.
    fn of(queue: &'a Mutex<Queue>) -> (Self, u64) {
        let mut waiting = lock(queue);
        let batches = waiting.take();
        (Self { queue, batches }, waiting.last())
    }

    fn next(&self) -> Option<(Month, &Batch)> {
        let (month, batch) = self.batches.first_key_value()?;
        Some((*month, batch))
    }

    fn is_written(&mut self, month: Month) {
        if let Some(batch) = self.batches.remove(&month) {
            lock(self.queue).written(batch.lines.len());
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(self.queue).put_back(std::mem::take(&mut self.batches));
    }
}

/// The lock of what stays whole: nothing in here panics half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(LedgerError::Panicked(error.to_string())),
    }
}
