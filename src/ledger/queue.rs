//! Lines that wait to be written: as they will stand in their files.

use std::collections::BTreeMap;

use super::doubts::Doubts;
use super::month::Month;
use super::{LedgerError, Line};

/// How much may wait while the disk fails, in bytes: some hundred thousand lines.
const MOST: usize = 32 * 1024 * 1024;
/// How much of it may be about what cost nothing: the room above is for money.
const MOST_NOTED: usize = 4 * 1024 * 1024;

/// Room for most lines, in bytes.
const ROOM: usize = 512;

/// Whole lines for one month's file.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<u8>,
    /// Somebody waits until they are durable.
    pub(super) durable: bool,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: BTreeMap<Month, Batch>,
    /// How much waits, what is being written included.
    bytes: usize,
    /// How many lines were ever queued: the ticket of the last.
    tickets: u64,
    /// How many were left out, since too much waits.
    pub(super) lost: u64,
    pub(super) doubts: Doubts,
}

impl Queue {
    /// Queues a line that has to become durable, and gives the ticket under which it does. What may be a
    /// second payment is marked as such.
    pub(super) fn commit(&mut self, mut line: Line) -> Result<u64, LedgerError> {
        if self.bytes >= MOST {
            self.lost += 1;
            return Err(LedgerError::Full);
        }
        line.possible_double_payment |= self.doubts.note(line.key, line.run, line.outcome);
        self.push(&line, true)
    }

    /// Queues a line about what cost nothing, if there is room for it.
    pub(super) fn note(&mut self, line: &Line) -> Result<u64, LedgerError> {
        if self.bytes >= MOST_NOTED {
            self.lost += 1;
            return Err(LedgerError::Full);
        }
        // A run of unknown outcome is noted by whoever cannot wait.
        if self.doubts.note(line.key, line.run, line.outcome) && !line.possible_double_payment {
            let mut line = line.clone();
            line.possible_double_payment = true;
            return self.push(&line, false);
        }
        self.push(line, false)
    }

    fn push(&mut self, line: &Line, durable: bool) -> Result<u64, LedgerError> {
        let mut text = String::with_capacity(ROOM);
        let written = line.write(&mut text);
        written.map_err(|error| LedgerError::Panicked(error.to_string()))?;
        text.push('\n');
        let batch = self.batches.entry(Month::of(line.time)).or_default();
        batch.lines.extend_from_slice(text.as_bytes());
        self.bytes += text.len();
        batch.durable |= durable;
        self.tickets += 1;
        Ok(self.tickets)
    }

    /// How much waits, what is being written included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ticket of the last line.
    pub(super) fn last(&self) -> u64 {
        self.tickets
    }

    /// How many lines wait to be taken.
    #[cfg(test)]
    pub(super) fn lines(&self) -> u64 {
        let lines = self.batches.values().flat_map(|batch| &batch.lines);
        lines.filter(|byte| **byte == b'\n').count() as u64
    }

    /// Takes what waits, to be written; up to the [last](Self::last) ticket.
    pub(super) fn take(&mut self) -> BTreeMap<Month, Batch> {
        std::mem::take(&mut self.batches)
    }

    /// So many bytes stand in their files.
    pub(super) fn written(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Has what could not be written wait again, before what has come since.
    pub(super) fn put_back(&mut self, batches: BTreeMap<Month, Batch>) {
        for (month, mut batch) in batches {
            let newer = self.batches.remove(&month).unwrap_or_default();
            batch.lines.extend_from_slice(&newer.lines);
            batch.durable |= newer.durable;
            self.batches.insert(month, batch);
        }
    }
}
