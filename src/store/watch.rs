//! How far the index is, for whoever waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often whoever waits is told, in files.
const TOLD_EVERY: u64 = 1_000;
/// A line of progress is logged each time so many files were read.
const LOGGED_EVERY: u64 = 100_000;

/// How far the making of an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexing {
    /// Files that were read so far.
    pub files: u64,
    /// How much of all that is, in hundredths.
    pub percent: u64,
}

/// Counts what was done, and tells of it.
pub(super) struct Watch<'a> {
    files: AtomicU64,
    folders: AtomicU64,
    /// How many folders there are to go through.
    of: u64,
    tell: &'a (dyn Fn(Indexing) + Sync),
}

impl<'a> Watch<'a> {
    pub(super) fn new(folders: usize, tell: &'a (dyn Fn(Indexing) + Sync)) -> Self {
        Self {
            files: AtomicU64::new(0),
            folders: AtomicU64::new(0),
            of: folders as u64,
            tell,
        }
    }

    pub(super) fn file_read(&self) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        if files.is_multiple_of(TOLD_EVERY) {
            let folders = self.folders.load(Ordering::Relaxed);
            let percent = (folders * 100).checked_div(self.of).unwrap_or(100);
            (self.tell)(Indexing { files, percent });
            if files.is_multiple_of(LOGGED_EVERY) {
                tracing::info!(files, percent, "making the index from the files");
            }
        }
    }

    pub(super) fn folder_done(&self) {
        self.folders.fetch_add(1, Ordering::Relaxed);
    }
}
