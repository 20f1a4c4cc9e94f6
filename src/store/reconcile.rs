//! Making the index true to the files.
//!
//! Goes through the 256 folders one by one, so that memory holds one of them at a time. A row
//! whose stamp is that of its file is believed; every other file is read and gets its row anew.

use std::path::PathBuf;

use super::book::Book;
use super::error::StoreError;
use super::generations::Generations;
use super::row::{self, Row};
use super::rows::{IndexError, Rows};
use crate::generation::Fingerprint;

/// A line of progress is logged each time so many files were read.
const PROGRESS_EVERY: u64 = 10_000;

/// What was found in `generations/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Files that hold a generation, as far as they were looked at.
    pub(super) generations: u64,
    /// The size of all files together, in bytes.
    pub(super) bytes: u64,
    /// Files that had to be read.
    pub(super) read: u64,
    /// Files that cannot be served.
    pub(super) damaged: Vec<PathBuf>,
}

/// The files to go by, and the book in which to note what they need, unless it is in there.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) files: &'a Generations,
    pub(super) book: Option<&'a Book>,
}

impl Source<'_> {
    fn note(&self, key: &Fingerprint, row: &Row) {
        if let Some(book) = self.book {
            book.load(key, &row.blobs);
        }
    }
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Files(#[from] StoreError),
}

/// Gives every file its row and removes rows without a file.
pub(super) fn reconcile(rows: &Rows, source: Source<'_>) -> Result<Tally, ReconcileError> {
    let mut tally = Tally::default();
    for shard in 0..=u8::MAX {
        let mut found = source.files.shard(shard)?;
        tally.damaged.append(&mut found.misplaced);
        tally.bytes += found.files.values().map(|stamp| stamp.len).sum::<u64>();
        let mut contents = rows.contents(shard)?;
        for (key, row) in rows.shard(shard)? {
            let content = contents.remove(&key).flatten();
            match (found.files.get(&key), row) {
                (Some(stamp), Some(row))
                    if row.stamp == *stamp
                        && (content == Some(*stamp) || !row::has_content(*stamp)) =>
                {
                    restore_task(rows, &key, &row)?;
                    rows.mark_open(&key, row.open)?;
                    source.note(&key, &row);
                    found.files.remove(&key);
                    tally.generations += 1;
                }
                // Read below.
                (Some(_), _) => {}
                (None, _) => rows.remove(&key)?,
            }
        }
        for key in contents.keys().filter(|key| !found.files.contains_key(key)) {
            rows.remove(key)?;
        }
        for key in found.files.keys() {
            refresh(rows, source, key, &mut tally)?;
        }
    }
    rows.mark()?;
    Ok(tally)
}

/// Counts without an index to make true. MONEY: every file is read, for what it needs must be known
/// before anything is removed.
pub(super) fn count(files: &Generations, book: &Book) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    for shard in 0..=u8::MAX {
        let mut found = files.shard(shard)?;
        tally.damaged.append(&mut found.misplaced);
        tally.bytes += found.files.values().map(|stamp| stamp.len).sum::<u64>();
        for key in found.files.keys() {
            tally.read += 1;
            match files.read(key) {
                Ok(Some(file)) => {
                    book.load(key, &row::blobs_of(&file.entry));
                    tally.generations += 1;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a kept generation cannot be served");
                    tally.damaged.push(files.path(key));
                }
            }
        }
    }
    Ok(tally)
}

/// Makes the row of `key` anew from its file, or removes it with a file that is gone or damaged.
pub(super) fn refresh(
    rows: &Rows,
    source: Source<'_>,
    key: &Fingerprint,
    tally: &mut Tally,
) -> Result<(), IndexError> {
    tally.read += 1;
    if tally.read.is_multiple_of(PROGRESS_EVERY) {
        tracing::info!(read = tally.read, "building the index from the files");
    }
    match source.files.read(key) {
        Ok(Some(file)) => {
            let row = Row::of(file.stamp, &file.entry);
            rows.put(key, &row, &file.bytes)?;
            source.note(key, &row);
            tally.generations += 1;
            Ok(())
        }
        Ok(None) => rows.remove(key),
        Err(error) => {
            tracing::warn!(%error, "a kept generation cannot be served");
            tally.damaged.push(source.files.path(key));
            rows.remove(key)
        }
    }
}

/// Brings back the way from a job to its generation, should it have been lost alone.
fn restore_task(rows: &Rows, key: &Fingerprint, row: &Row) -> Result<(), IndexError> {
    let Some(task) = row.task else { return Ok(()) };
    if rows.find_task(&task)?.is_none() {
        rows.point_task(&task, key)
    } else {
        Ok(())
    }
}
