//! The rows in sled: what can be answered without opening a file.
//!
//! Trees: `generations` (key → [`Row`]), `tasks` (hash of a job's id → key), `open` (the keys of
//! records with something still to be done), `used` (key → when it was last asked for), `meta` (a
//! mark that tells our index from an empty or a foreign one, and the [`FolderMark`]s).
//!
//! Every call into sled is guarded: version 0.34 panics on some damage, and a panic here must cost
//! an index, not an answer. `Tree::len` and flattened iterators are never used, since on a damaged
//! page its iterator yields errors without end.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sled::{IVec, Tree};

use super::error::is_out_of_space;
use super::folder::FolderMark;
use super::row::{Row, TaskHash};
use crate::generation::Fingerprint;
use crate::message::said;

/// Without this sled takes up to 1 GiB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
const FLUSH_EVERY_MS: u64 = 500;

const MARK_KEY: &[u8] = b"what";
const MARK: &[u8] = b"reprise index 1";
/// The size of all blobs when the folders were marked.
const BLOBS_KEY: &[u8] = b"blobs";
/// Where small files stood whole before they were read from the disk.
const FORMER_TREE: &str = "contents";

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

/// The rows of one folder, in the order of their keys; `None` for a row that is not one of ours.
pub(super) type ShardRows = Vec<(Fingerprint, Option<Row>)>;

/// When generations were last asked for.
pub(super) type LastUsed = BTreeMap<Fingerprint, Timestamp>;

/// The open index.
pub(super) struct Rows {
    db: sled::Db,
    /// sled's log: what is synced before anything may rely on it. Opened with the index, since an error of
    /// an earlier write is told only to those who had the file open then.
    log: File,
    generations: Tree,
    tasks: Tree,
    open: Tree,
    used: Tree,
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
        db.drop_tree(FORMER_TREE)?;
        Ok(Self {
            log: File::open(dir.join("db")).map_err(sled::Error::Io)?,
            generations: db.open_tree("generations")?,
            tasks: db.open_tree("tasks")?,
            open: db.open_tree("open")?,
            used: db.open_tree("used")?,
            meta: db.open_tree("meta")?,
            db,
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
        self.mark_open(key, row.open)?;
        guarded(|| {
            self.generations
                .insert(key.as_bytes(), row.to_bytes())
                .map(drop)
        })
    }

    pub(super) fn remove(&self, key: &Fingerprint) -> Result<(), IndexError> {
        self.release_task(key, None)?;
        guarded(|| {
            for tree in [&self.generations, &self.open, &self.used] {
                tree.remove(key.as_bytes())?;
            }
            Ok::<_, sled::Error>(())
        })
    }

    /// Notes that the file of `key` cannot be read: what its row says may be out of date.
    pub(super) fn doubt(&self, key: &Fingerprint) -> Result<(), IndexError> {
        match self.get(key)? {
            Some(row) => self.put(key, &row.doubted()),
            None => Ok(()),
        }
    }

    /// Notes whether there is still something to be done for `key`.
    ///
    /// Says whether that is news.
    pub(super) fn mark_open(&self, key: &Fingerprint, open: bool) -> Result<bool, IndexError> {
        guarded(|| {
            // Most are finished, and a look costs less than a write.
            let known = self.open.contains_key(key.as_bytes())?;
            if open && !known {
                self.open.insert(key.as_bytes(), &[])?;
            } else if known && !open {
                self.open.remove(key.as_bytes())?;
            }
            Ok::<_, sled::Error>(open != known)
        })
    }

    /// The keys of which [`mark_open`](Self::mark_open) has said so, in their order.
    pub(super) fn open_keys(&self) -> Result<Vec<Fingerprint>, IndexError> {
        let rows = scan(&self.open, &[], |_| ())?;
        Ok(rows.into_iter().map(|(key, ())| key).collect())
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

    /// The rows of one of the 256 folders.
    pub(super) fn shard(&self, shard: u8) -> Result<ShardRows, IndexError> {
        scan(&self.generations, &[shard], Row::from_bytes)
    }

    /// What stood in one of the 256 folders when its rows were last known to be true.
    pub(super) fn folder(&self, shard: u8) -> Result<Option<FolderMark>, IndexError> {
        let mark = guarded(|| self.meta.get(folder_key(shard)))?;
        Ok(mark.and_then(|bytes| FolderMark::from_bytes(&bytes)))
    }

    /// The size of all blobs when folders were last marked, in bytes.
    pub(super) fn blob_bytes(&self) -> Result<u64, IndexError> {
        let bytes = guarded(|| self.meta.get(BLOBS_KEY))?;
        let bytes = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).ok());
        Ok(bytes.map_or(0, u64::from_be_bytes))
    }

    /// Says that the rows of these folders are true, and how large all blobs are, in bytes.
    ///
    /// MONEY: a start believes it, so the rows must be durable before it is said: a power cut may
    /// keep what was written last. Where they cannot be made so, the next to open the index makes it anew.
    pub(super) fn mark_folders(
        &self,
        folders: &[(u8, FolderMark)],
        blob_bytes: u64,
    ) -> Result<(), IndexError> {
        self.flush()?;
        if let Err(error) = self.log.sync_data() {
            // Rows may be lost that can still be read, and no later sync would say so.
            guarded(|| self.meta.remove(MARK_KEY).map(drop))?;
            return Err(sled::Error::Io(error).into());
        }
        guarded(|| {
            self.meta.insert(BLOBS_KEY, &blob_bytes.to_be_bytes())?;
            for (shard, mark) in folders {
                self.meta.insert(folder_key(*shard), mark.to_bytes())?;
            }
            Ok::<_, sled::Error>(())
        })
    }

    /// When the generations of one folder were last asked for, as far as that is known.
    pub(super) fn used(&self, shard: u8) -> Result<LastUsed, IndexError> {
        let rows = scan(&self.used, &[shard], time_of)?;
        let known = rows.into_iter().filter_map(|(key, at)| Some((key, at?)));
        Ok(known.collect())
    }

    /// When a generation was last asked for, if that is known.
    pub(super) fn used_at(&self, key: &Fingerprint) -> Result<Option<Timestamp>, IndexError> {
        let at = guarded(|| self.used.get(key.as_bytes()))?;
        Ok(at.and_then(|at| time_of(&at)))
    }

    /// Notes when generations were last asked for.
    pub(super) fn note_used(&self, times: &LastUsed) -> Result<(), IndexError> {
        guarded(|| {
            for (key, at) in times {
                // What is gone by now is not noted: nobody would take it out again.
                if self.generations.contains_key(key.as_bytes())? {
                    let at = at.as_millisecond().to_be_bytes();
                    self.used.insert(key.as_bytes(), &at)?;
                }
            }
            Ok::<_, sled::Error>(())
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

fn folder_key(shard: u8) -> [u8; 7] {
    let [one, two, three, four, five, six] = *b"folder";
    [one, two, three, four, five, six, shard]
}

fn key_of(bytes: &IVec) -> Option<Fingerprint> {
    <[u8; 32]>::try_from(bytes.as_ref())
        .ok()
        .map(Fingerprint::from_bytes)
}

fn time_of(millis: &[u8]) -> Option<Timestamp> {
    let millis = <[u8; 8]>::try_from(millis).ok()?;
    Timestamp::from_millisecond(i64::from_be_bytes(millis)).ok()
}

/// The rows of `tree` whose keys begin with `prefix`, in their order.
fn scan<T>(
    tree: &Tree,
    prefix: &[u8],
    read: impl Fn(&[u8]) -> T,
) -> Result<Vec<(Fingerprint, T)>, IndexError> {
    guarded(|| {
        let mut rows: Vec<(Fingerprint, T)> = Vec::new();
        for item in tree.scan_prefix(prefix) {
            // The first error ends the scan: on a damaged page it would come for ever.
            let (key, value) = item?;
            let key = key_of(&key)
                .filter(|key| rows.last().is_none_or(|(last, _)| last < key))
                .ok_or(IndexError::Disordered("its keys are not in order"))?;
            rows.push((key, read(&value)));
        }
        Ok::<_, IndexError>(rows)
    })
}

/// Runs a call into sled, a panic of which becomes an error.
fn guarded<T, E: Into<IndexError>>(call: impl FnOnce() -> Result<T, E>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => Err(IndexError::Panicked(said(&*panic))),
    }
}

#[cfg(test)]
mod tests;
