//! What was paid and what was avoided, counted from the files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use super::folder::{Page, pages};
use super::month::Month;
use super::pen::{Ledger, blocking};
use super::question::Question;
use super::seen;
use super::tally::{Group, Groups, Tally};

/// How many threads read at most, a month each.
const READERS: usize = 4;

/// Counts and sums, as `reprise stats --json` and `GET /api/stats` show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Of everything that was asked about.
    #[serde(flatten)]
    pub total: Tally,
    /// The same by what was asked for: the dearest first, days in their order.
    pub groups: Vec<Group>,
    /// Lines that cannot be read, of all the months that were looked into. No sum has them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Statistics {
    /// Counts what stands in the files of the data directory `data_dir`; nothing where nothing was
    /// written. Makes nothing, and needs no ledger to be open. Blocks: less than a second for a
    /// million lines.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of_files(data_dir: &Path, question: &Question) -> Result<Self, LedgerError> {
        of_pages(pages(data_dir)?, question)
    }
}

impl Ledger {
    /// Counts everything up to now, what waits to be written included.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn statistics(
        self: &Arc<Self>,
        question: Question,
    ) -> Result<Statistics, LedgerError> {
        let ledger = self.clone();
        blocking(move || of_pages(ledger.pages()?, &question)).await
    }
}

fn of_pages(mut pages: Vec<Page>, question: &Question) -> Result<Statistics, LedgerError> {
    let first = question.since.map(Month::of);
    pages.retain(|page| first.is_none_or(|first| page.month >= first));
    let readers = thread::available_parallelism().map_or(1, usize::from);
    let readers = readers.min(READERS).min(pages.len());
    let next = AtomicUsize::new(0);
    let read = || Reading::of_some(&pages, &next, question);
    let readings: Vec<_> = thread::scope(|scope| {
        let begun: Vec<_> = (0..readers).map(|_| scope.spawn(read)).collect();
        begun
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut whole = Reading::new(question);
    for reading in readings {
        let panicked = |_| LedgerError::Panicked("while it was read".to_owned());
        let reading = reading.map_err(panicked)??;
        whole.total.add(&reading.total);
        whole.groups.add(reading.groups);
        whole.unreadable += reading.unreadable;
    }
    Ok(Statistics {
        total: whole.total,
        groups: whole.groups.in_order(),
        unreadable: whole.unreadable,
    })
}

/// What one thread has read.
struct Reading {
    total: Tally,
    groups: Groups,
    unreadable: u64,
}

impl Reading {
    fn new(question: &Question) -> Self {
        Self {
            total: Tally::default(),
            groups: Groups::new(question.by),
            unreadable: 0,
        }
    }

    /// Reads one of the pages after the other that nobody else reads.
    fn of_some(
        pages: &[Page],
        next: &AtomicUsize,
        question: &Question,
    ) -> Result<Self, LedgerError> {
        let mut reading = Self::new(question);
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (total, groups) = (&mut reading.total, &mut reading.groups);
            let unreadable = seen::each(page, &mut |line| {
                if question.since.is_none_or(|since| line.time >= since) {
                    total.count(line);
                    groups.count(line);
                }
            })?;
            reading.unreadable += unreadable;
        }
        Ok(reading)
    }
}
