//! The index as the store uses it: an aid that may be away.
//!
//! It opens guarded, is moved aside and rebuilt when it cannot be read, and when it fails while
//! running it is closed, the files answer alone, and it is opened anew after a while. Nothing here
//! returns an error to a `get` or a `put`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::book::Book;
use super::error::StoreError;
use super::folder::FolderMark;
use super::found::Found;
use super::generations::Generations;
use super::rebuild::{Fill, Opened, open_or_rebuild};
use super::reconcile::{self, ReconcileError, Source, Tally};
use super::row::{Row, task_hash};
use super::rows::{IndexError, LastUsed, Rows, ShardRows};
use crate::clock::Clock;
use crate::generation::Fingerprint;

/// How long the index stays closed after its first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// The guarded index.
pub(super) struct Index {
    dir: PathBuf,
    files: Generations,
    /// Who is told what an opening has found.
    found: Found,
    clock: Clock,
    state: RwLock<State>,
    /// How often it was opened anew since start.
    opened: AtomicU64,
}

enum State {
    Open {
        rows: Rows,
        pause: Duration,
    },
    /// Away until `retry_at`; the files answer.
    Closed {
        retry_at: Instant,
        pause: Duration,
    },
    /// One thread is opening it. Keys that change meanwhile are noted and looked at again.
    Opening {
        missed: Mutex<BTreeSet<Fingerprint>>,
    },
}

/// There is no index at the moment: ask the files.
#[derive(Debug)]
pub(super) struct Away;

impl Index {
    /// Opens the index in `dir` and fills it. `None` in the place of what that came to: no index can
    /// be made at the moment, and nothing of the files was looked at.
    ///
    /// # Errors
    /// Only when the files themselves cannot be listed or read.
    pub(super) fn open(
        dir: PathBuf,
        (files, found): (Generations, Found),
        fill: Fill<'_>,
        clock: Clock,
    ) -> Result<(Self, Option<Opened>), StoreError> {
        let (state, opened) = match open_or_rebuild(&dir, fill, &clock) {
            Ok((rows, opened)) => (
                State::Open {
                    rows,
                    pause: FIRST_PAUSE,
                },
                Some(opened),
            ),
            Err(ReconcileError::Files(error)) => return Err(error),
            Err(ReconcileError::Index(error)) => {
                tracing::warn!(%error, "no index can be made: going on with the files alone");
                (closed(FIRST_PAUSE), None)
            }
        };
        Ok((
            Self {
                dir,
                files,
                found,
                clock,
                state: RwLock::new(state),
                opened: AtomicU64::new(0),
            },
            opened,
        ))
    }

    /// Makes the rows of one folder true to its files, and notes in `book` what they need. Without an
    /// index the files are only read.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub(super) fn folder(&self, shard: u8, book: &Book) -> Result<Tally, StoreError> {
        let source = Source {
            book: Some(book),
            ..self.source()
        };
        let done = self.ask(|rows| match reconcile::folder(rows, source, shard) {
            Ok(tally) => Ok(Ok(tally)),
            Err(ReconcileError::Files(error)) => Ok(Err(error)),
            Err(ReconcileError::Index(error)) => Err(error),
        });
        done.unwrap_or_else(|Away| reconcile::count(source, shard))
    }

    /// How often it was opened anew since start: nobody knows what of the earlier one is in it.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Says that the rows of these folders are true, and how large all blobs are, in bytes.
    pub(super) fn mark_folders(
        &self,
        folders: &[(u8, FolderMark)],
        blob_bytes: u64,
    ) -> Result<(), Away> {
        self.ask(|rows| rows.mark_folders(folders, blob_bytes))
    }

    /// The row of `key`. `None` when there is none, or no index: ask the files.
    pub(super) fn get(&self, key: &Fingerprint) -> Option<Row> {
        self.ask(|rows| rows.get(key)).ok().flatten()
    }

    /// The keys of records with something still to be done.
    pub(super) fn open_keys(&self) -> Result<Vec<Fingerprint>, Away> {
        self.ask(Rows::open_keys)
    }

    /// The rows of one folder, and when those were last asked for of which that is known.
    pub(super) fn rows(&self, shard: u8) -> Result<(ShardRows, LastUsed), Away> {
        self.ask(|rows| Ok((rows.shard(shard)?, rows.used(shard)?)))
    }

    /// When a generation was last asked for, if that is known.
    pub(super) fn used_at(&self, key: &Fingerprint) -> Option<Timestamp> {
        self.ask(|rows| rows.used_at(key)).ok().flatten()
    }

    /// Notes when generations were last asked for.
    pub(super) fn note_used(&self, times: &LastUsed) -> Result<(), Away> {
        self.ask(|rows| rows.note_used(times))
    }

    /// The key of a job's generation.
    pub(super) fn find_task(&self, task_id: &str) -> Result<Option<Fingerprint>, Away> {
        self.ask(|rows| rows.find_task(&task_hash(task_id)))
    }

    /// Notes a new version of the file of `key`.
    pub(super) fn put(&self, key: &Fingerprint, row: &Row) {
        self.change(key, |rows| rows.put(key, row));
    }

    /// Forgets the row of `key`.
    pub(super) fn remove(&self, key: &Fingerprint) {
        self.change(key, |rows| rows.remove(key));
    }

    /// Writes out what sled holds in memory.
    pub(super) fn flush(&self) {
        // Files are the truth: what sled loses is made again from them.
        let _: Result<(), Away> = self.ask(Rows::flush);
    }

    /// Makes the row of `key` anew from its file.
    pub(super) fn refresh(&self, key: &Fingerprint) {
        self.change(key, |rows| {
            match reconcile::refresh(rows, self.source(), key, &mut Tally::default()) {
                Ok(()) => Ok(()),
                Err(ReconcileError::Index(error)) => Err(error),
                Err(ReconcileError::Files(error)) => {
                    tracing::warn!(%error, "a kept generation cannot be read now");
                    rows.doubt(key)
                }
            }
        });
    }

    fn change(&self, key: &Fingerprint, call: impl FnOnce(&Rows) -> Result<(), IndexError>) {
        self.reopen_when_due();
        let failed = match &*self.read() {
            State::Open { rows, .. } => call(rows).err(),
            // Compared by stamp when it opens.
            State::Closed { .. } => None,
            State::Opening { missed } => {
                missed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(*key);
                None
            }
        };
        if let Some(error) = failed {
            self.fail(&error);
        }
    }

    fn ask<T>(&self, call: impl FnOnce(&Rows) -> Result<T, IndexError>) -> Result<T, Away> {
        self.reopen_when_due();
        let answer = match &*self.read() {
            State::Open { rows, .. } => call(rows),
            State::Closed { .. } | State::Opening { .. } => return Err(Away),
        };
        answer.map_err(|error| {
            self.fail(&error);
            Away
        })
    }

    /// Closes the index after a failure. sled keeps failing after a full disk, and after damage
    /// nothing it says can be believed.
    fn fail(&self, error: &IndexError) {
        let mut state = self.write();
        let pause = match &*state {
            State::Open { pause, .. } => *pause,
            State::Closed { .. } | State::Opening { .. } => return,
        };
        tracing::warn!(%error, "the index failed: the files answer alone until it is opened anew");
        let old = std::mem::replace(&mut *state, closed(pause));
        drop(state);
        let State::Open { rows, .. } = old else {
            return;
        };
        if matches!(error, IndexError::Panicked(_)) {
            // Its threads may wait for each other for ever; a new one is opened beside it.
            std::mem::forget(rows);
        } else {
            rows.close();
        }
    }

    fn reopen_when_due(&self) {
        let due = match &*self.read() {
            State::Closed { retry_at, .. } => Instant::now() >= *retry_at,
            State::Open { .. } | State::Opening { .. } => false,
        };
        if due {
            self.reopen();
        }
    }

    fn reopen(&self) {
        let pause = {
            let mut state = self.write();
            // Another thread may have come first.
            let State::Closed { pause, .. } = *state else {
                return;
            };
            *state = State::Opening {
                missed: Mutex::default(),
            };
            (pause * 2).min(LONGEST_PAUSE)
        };
        let fill = |rows: &Rows| reconcile::reconcile(rows, self.source());
        let opened = open_or_rebuild(&self.dir, &fill, &self.clock);
        let mut state = self.write();
        let old = std::mem::replace(&mut *state, closed(pause));
        let State::Opening { missed } = old else {
            return;
        };
        let caught_up = opened.and_then(|(rows, opened)| {
            let Opened { mut tally, rebuilt } = opened;
            for key in missed.into_inner().unwrap_or_else(PoisonError::into_inner) {
                reconcile::refresh(&rows, self.source(), &key, &mut tally)?;
            }
            Ok((rows, tally, rebuilt))
        });
        match caught_up {
            Ok((rows, tally, rebuilt)) => {
                self.opened.fetch_add(1, Ordering::AcqRel);
                *state = State::Open { rows, pause };
                self.found.note_again(&tally);
                tracing::info!(rebuilt, "the index is open again");
            }
            Err(error) => tracing::warn!(%error, "the index cannot be opened yet"),
        }
    }

    /// The files. What they need is in the book since the start, and changes with them.
    fn source(&self) -> Source<'_> {
        Source {
            files: &self.files,
            book: None,
            watch: None,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it fail.
    #[cfg(test)]
    pub(super) fn doubt(&self) {
        self.fail(&IndexError::Disordered("a test"));
    }

    /// Whether it answers at the moment.
    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        matches!(*self.read(), State::Open { .. })
    }

    /// What a folder is marked with.
    #[cfg(test)]
    pub(super) fn folder_mark(&self, shard: u8) -> Option<FolderMark> {
        self.ask(|rows| rows.folder(shard)).ok().flatten()
    }

    /// Lets the pause after a failure be over.
    #[cfg(test)]
    pub(super) fn end_pause(&self) {
        if let State::Closed { retry_at, .. } = &mut *self.write() {
            *retry_at = Instant::now();
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.write(), closed(LONGEST_PAUSE));
        if let State::Open { rows, .. } = state {
            rows.close();
        }
    }
}

fn closed(pause: Duration) -> State {
    State::Closed {
        retry_at: Instant::now() + pause,
        pause,
    }
}
