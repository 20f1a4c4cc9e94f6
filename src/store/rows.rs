//! The rows in sled: what can be answered without opening a file.
//!
//! Trees: `generations` (key → stamp, job, small files whole), `tasks` (hash of a job's id → key),
//! `meta` (a mark that tells our index from an empty or a foreign one).
//!
//! Every call into sled is guarded: version 0.34 panics on some damage, and a panic here must cost
//! an index, not an answer. `Tree::len` and flattened iterators are never used, since on a damaged
//! page its iterator yields errors without end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use sled::{IVec, Tree};

use super::error::is_out_of_space;
use super::row::{Row, TaskHash};
use crate::generation::Fingerprint;

/// Without this sled takes up to 1 GiB.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const FLUSH_EVERY_MS: u64 = 500;

const MARK_KEY: &[u8] = b"what";
const MARK: &[u8] = b"reprise index 1";

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("{0}")]
    Sled(#[from] sled::Error),
    #[error("it panicked: {0}")]
    Panicked(String),
    #[error("{0}")]
    Disordered(&'static str),
}

impl IndexError {
    /// Whether the disk is full: then the index is fine, but sled fails until it is opened anew.
    pub(super) fn is_out_of_space(&self) -> bool {
        match self {
            Self::Sled(sled::Error::Io(error)) => is_out_of_space(error.kind()),
            Self::Sled(_) | Self::Panicked(_) | Self::Disordered(_) => false,
        }
    }

    /// Whether a damaged snapshot can be the cause: then the log opens without it.
    pub(super) fn may_be_a_snapshot(&self) -> bool {
        matches!(self, Self::Sled(_)) && !self.is_out_of_space() && !self.is_locked()
    }

    fn is_locked(&self) -> bool {
        matches!(self, Self::Sled(sled::Error::Io(error))
            if error.to_string().contains("could not acquire lock"))
    }
}

/// The open index.
pub(super) struct Rows {
    db: sled::Db,
    generations: Tree,
    tasks: Tree,
    meta: Tree,
}

impl Rows {
    /// Opens the index in `dir`, or makes one.
    pub(super) fn open(dir: &Path) -> Result<Self, IndexError> {
        let mut tries = 20;
        loop {
            match guarded(|| Self::open_unguarded(dir)) {
                // A handle that was just dropped in this process lets go of its lock a little late.
                Err(error) if error.is_locked() && tries > 0 => tries -= 1,
                other => return other,
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the whole store blocks by contract"
            )]
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn open_unguarded(dir: &Path) -> sled::Result<Self> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .use_compression(false)
            .open()?;
        let generations = db.open_tree("generations")?;
        let tasks = db.open_tree("tasks")?;
        let meta = db.open_tree("meta")?;
        Ok(Self {
            db,
            generations,
            tasks,
            meta,
        })
    }

    /// Whether this index was made by us and has been filled. A log that lost its content opens
    /// without an error, so this is the only sign.
    pub(super) fn is_marked(&self) -> Result<bool, IndexError> {
        Ok(guarded(|| self.meta.get(MARK_KEY))?.as_deref() == Some(MARK))
    }

    /// Says that every file has its row, and writes all out.
    pub(super) fn mark(&self) -> Result<(), IndexError> {
        guarded(|| self.meta.insert(MARK_KEY, MARK).map(drop))?;
        self.flush()
    }

    pub(super) fn get(&self, key: &Fingerprint) -> Result<Option<Row>, IndexError> {
        let row = guarded(|| self.generations.get(key.as_bytes()))?;
        Ok(row.and_then(|bytes| Row::from_bytes(&bytes)))
    }

    /// Puts the row of `key`, and with it where its job is found.
    pub(super) fn put(&self, key: &Fingerprint, row: &Row) -> Result<(), IndexError> {
        self.release_task(key, row.task)?;
        if let Some(task) = &row.task {
            self.point_task(task, key)?;
        }
        guarded(|| {
            self.generations
                .insert(key.as_bytes(), row.to_bytes())
                .map(drop)
        })
    }

    pub(super) fn remove(&self, key: &Fingerprint) -> Result<(), IndexError> {
        self.release_task(key, None)?;
        guarded(|| self.generations.remove(key.as_bytes()).map(drop))
    }

    /// The key of the generation whose job has this id.
    pub(super) fn find_task(&self, task: &TaskHash) -> Result<Option<Fingerprint>, IndexError> {
        let Some(key) = guarded(|| self.tasks.get(task))?.as_ref().and_then(key_of) else {
            return Ok(None);
        };
        // The row decides: the key may hold another job by now.
        let row = self.get(&key)?;
        Ok(row
            .is_some_and(|row| row.task == Some(*task))
            .then_some(key))
    }

    /// Notes where the job is found.
    pub(super) fn point_task(&self, task: &TaskHash, key: &Fingerprint) -> Result<(), IndexError> {
        guarded(|| self.tasks.insert(task, key.as_bytes()).map(drop))
    }

    /// The rows of one of the 256 folders, in the order of their keys. `None` for a row that is
    /// not one of ours.
    pub(super) fn shard(&self, shard: u8) -> Result<Vec<(Fingerprint, Option<Row>)>, IndexError> {
        guarded(|| {
            let mut rows: Vec<(Fingerprint, Option<Row>)> = Vec::new();
            for item in self.generations.scan_prefix([shard]) {
                // The first error ends the scan: on a damaged page it would come for ever.
                let (key, value) = item?;
                let key = key_of(&key)
                    .filter(|key| rows.last().is_none_or(|(last, _)| last < key))
                    .ok_or(IndexError::Disordered("its keys are not in order"))?;
                let row = Row::from_bytes(&value).map(|row| Row {
                    content: None,
                    ..row
                });
                rows.push((key, row));
            }
            Ok::<_, IndexError>(rows)
        })
    }

    pub(super) fn flush(&self) -> Result<(), IndexError> {
        guarded(|| self.db.flush().map(drop))
    }

    /// Closes the index. A panic in it, while it writes its last, is only worth a line.
    pub(super) fn close(self) {
        if let Err(error) = guarded(move || {
            drop(self);
            Ok::<_, IndexError>(())
        }) {
            tracing::warn!(%error, "the index did not close well");
        }
    }

    /// Takes the old job of `key` out of `tasks`, unless it is still `task`.
    fn release_task(&self, key: &Fingerprint, task: Option<TaskHash>) -> Result<(), IndexError> {
        let Some(old) = self.get(key)?.and_then(|row| row.task) else {
            return Ok(());
        };
        if Some(old) == task {
            return Ok(());
        }
        guarded(|| {
            if self.tasks.get(old)?.as_ref().and_then(key_of) == Some(*key) {
                self.tasks.remove(old)?;
            }
            Ok::<_, IndexError>(())
        })
    }
}

fn key_of(bytes: &IVec) -> Option<Fingerprint> {
    <[u8; 32]>::try_from(bytes.as_ref())
        .ok()
        .map(Fingerprint::from_bytes)
}

/// Runs a call into sled, a panic of which becomes an error.
fn guarded<T, E: Into<IndexError>>(call: impl FnOnce() -> Result<T, E>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(IndexError::Panicked(
                text.unwrap_or("without a message").to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Stamp;
    use super::super::row::task_hash;
    use super::*;

    #[test]
    fn a_panic_in_sled_is_an_error() {
        let result: Result<(), IndexError> =
            guarded(|| -> sled::Result<()> { panic!("tried to serialize {}", "Uninitialized") });
        let Err(IndexError::Panicked(text)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(text, "tried to serialize Uninitialized");
    }

    #[test]
    fn a_job_belongs_to_the_generation_that_names_it_last() {
        let dir = tempfile::tempdir().unwrap();
        let rows = Rows::open(dir.path()).unwrap();
        let (one, two) = (
            Fingerprint::from_bytes([1; 32]),
            Fingerprint::from_bytes([2; 32]),
        );
        let stamp = Stamp {
            inode: 7,
            seconds: 8,
            nanoseconds: 9,
            len: 10,
        };
        let row = Row::new(stamp, Some("task"), b"");
        rows.put(&one, &row).unwrap();
        rows.put(&two, &row).unwrap();
        assert_eq!(rows.find_task(&task_hash("task")).unwrap(), Some(two));
        // Letting go of a job that another has by now takes nothing from that one.
        rows.remove(&one).unwrap();
        assert_eq!(rows.find_task(&task_hash("task")).unwrap(), Some(two));
        rows.put(&two, &Row::new(stamp, None, b"")).unwrap();
        assert_eq!(rows.find_task(&task_hash("task")).unwrap(), None);
    }
}
