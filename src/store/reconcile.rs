//! Making the index true to the files.
//!
//! Goes by the 256 folders, so that memory holds a few of them at a time. A row whose stamp is that
//! of its file is believed; every other file is read and gets its row anew.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::book::Book;
use super::error::StoreError;
use super::generations::Generations;
use super::row::{self, Row};
use super::rows::{IndexError, Rows};
use super::watch::Watch;
use crate::generation::Fingerprint;

/// More threads than this only wait for the disk and for each other.
const THREADS: usize = 8;

/// What was found in `generations/`.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Files that hold a generation, as far as they were looked at.
    pub(super) generations: u64,
    /// The size of all files together, in bytes.
    pub(super) bytes: u64,
    /// Files that had to be read.
    pub(super) read: u64,
    /// Files that cannot be served.
    pub(super) damaged: Vec<PathBuf>,
    /// Why single files could not be read: nobody knows what they hold, and they may be read later.
    pub(super) unread: Vec<StoreError>,
    /// Whether there are generations that a newer version kept.
    pub(super) newer: bool,
    /// Unfinished files that were removed.
    pub(super) removed_temporaries: u64,
    /// Whether something is still to be done of which the index had not known.
    pub(super) found_open: bool,
}

impl Tally {
    /// Counts what was found elsewhere too.
    pub(super) fn add(&mut self, other: Self) {
        let Self {
            generations,
            bytes,
            read,
            damaged,
            unread,
            newer,
            removed_temporaries,
            found_open,
        } = other;
        self.generations += generations;
        self.bytes += bytes;
        self.read += read;
        self.damaged.extend(damaged);
        self.unread.extend(unread);
        self.newer |= newer;
        self.removed_temporaries += removed_temporaries;
        self.found_open |= found_open;
    }

    /// Counts a file that gives no generation.
    ///
    /// MONEY: what cannot be read now was paid for and may need blobs, so it is not damaged. An error
    /// that is not of this file alone is given back.
    fn refused(&mut self, path: PathBuf, error: StoreError) -> Result<(), StoreError> {
        match error {
            error if error.is_of_one_file() => {
                tracing::warn!(%error, "a kept generation cannot be read now");
                self.unread.push(error);
            }
            error @ StoreError::Io { .. } => return Err(error),
            error => {
                tracing::warn!(%error, "a kept generation cannot be served");
                self.newer |= matches!(error, StoreError::NewerFormat { .. });
                self.damaged.push(path);
            }
        }
        Ok(())
    }
}

/// The files to go by, the book in which to note what they need, unless it is in there, and who
/// wants to know how far it is.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) files: &'a Generations,
    pub(super) book: Option<&'a Book>,
    pub(super) watch: Option<&'a Watch<'a>>,
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
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let tally = each_folder(&all, &|shard| folder(rows, source, shard))?;
    rows.mark()?;
    Ok(tally)
}

/// Visits these folders with as many threads as there are processors, to their end or to the first
/// failure.
pub(super) fn each_folder(
    shards: &[u8],
    visit: &(dyn Fn(u8) -> Result<Tally, ReconcileError> + Sync),
) -> Result<Tally, ReconcileError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut tally = Tally::default();
        while let Some(shard) = shards.get(next.fetch_add(1, Ordering::Relaxed)) {
            let visited = visit(*shard).inspect_err(|_| {
                next.store(shards.len(), Ordering::Relaxed);
            });
            tally.add(visited?);
        }
        Ok::<_, ReconcileError>(tally)
    };
    std::thread::scope(|scope| {
        let threads = threads.min(THREADS).min(shards.len());
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Ok(Tally::default());
        for thread in threads {
            let done = thread.join().unwrap_or_else(|_| {
                let why = "a thread that looked at the files ended".to_owned();
                Err(StoreError::Panicked(why).into())
            });
            all = all.and_then(|mut all| {
                all.add(done?);
                Ok(all)
            });
        }
        // Which thread had which folder is chance.
        if let Ok(all) = &mut all {
            all.damaged.sort_unstable();
        }
        all
    })
}

/// The same for one folder.
pub(super) fn folder(rows: &Rows, source: Source<'_>, shard: u8) -> Result<Tally, ReconcileError> {
    let mut tally = Tally::default();
    let mut found = source.files.shard(shard)?;
    tally.damaged.append(&mut found.misplaced);
    tally.newer |= found.newer;
    tally.bytes += found.files.values().map(|stamp| stamp.len).sum::<u64>();
    for (key, row) in rows.shard(shard)? {
        match (found.files.get(&key), row) {
            (Some(stamp), Some(row)) if row.stamp == *stamp => {
                restore_task(rows, &key, &row)?;
                tally.found_open |= rows.mark_open(&key, row.open)? && row.open;
                source.note(&key, &row);
                found.files.remove(&key);
                tally.generations += 1;
            }
            // Read below.
            (Some(_), _) => {}
            (None, _) => rows.remove(&key)?,
        }
    }
    for key in found.files.keys() {
        refresh(rows, source, key, &mut tally)?;
    }
    if let Some(watch) = source.watch {
        watch.folder_done();
    }
    Ok(tally)
}

/// Counts one folder without an index to make true. MONEY: every file is read, for what it needs
/// must be known before anything is removed.
pub(super) fn count(source: Source<'_>, shard: u8) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let mut found = source.files.shard(shard)?;
    tally.damaged.append(&mut found.misplaced);
    tally.newer |= found.newer;
    tally.bytes += found.files.values().map(|stamp| stamp.len).sum::<u64>();
    for key in found.files.keys() {
        tally.read += 1;
        match source.files.read(key) {
            Ok(Some(file)) => {
                if let Some(book) = source.book {
                    book.load(key, &row::blobs_of(&file.entry));
                }
                tally.generations += 1;
                // Nobody can say whether it was known of.
                tally.found_open |= file.entry.record.is_open();
            }
            Ok(None) => {}
            Err(error) => tally.refused(source.files.path(key), error)?,
        }
    }
    Ok(tally)
}

/// Makes the row of `key` anew from its file, or removes it with a file that is gone or damaged. One
/// whose file cannot be read now stays, in doubt.
pub(super) fn refresh(
    rows: &Rows,
    source: Source<'_>,
    key: &Fingerprint,
    tally: &mut Tally,
) -> Result<(), ReconcileError> {
    tally.read += 1;
    if let Some(watch) = source.watch {
        watch.file_read();
    }
    match source.files.read(key) {
        Ok(Some(file)) => {
            let row = Row::of(file.stamp, &file.entry);
            rows.put(key, &row)?;
            source.note(key, &row);
            tally.found_open |= row.open;
            tally.generations += 1;
        }
        Ok(None) => rows.remove(key)?,
        Err(error) => {
            let unread = tally.unread.len();
            tally.refused(source.files.path(key), error)?;
            if tally.unread.len() > unread {
                rows.doubt(key)?;
            } else {
                rows.remove(key)?;
            }
        }
    }
    Ok(())
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
