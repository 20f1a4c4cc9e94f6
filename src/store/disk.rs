//! The store in one directory: files for what must last, the index for speed.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bindings::{Binding, Bindings};
use super::blob_hash::BlobHash;
use super::blobs::{BlobWriter, Blobs};
use super::codec::{self, INLINE_MAX, INLINE_TOTAL_MAX};
use super::files;
use super::generations::Generations;
use super::index::Index;
use super::intents::Intents;
use super::layout::{BLOBS, GENERATIONS, PENDING};
use super::lock::{DirLock, Served};
use super::record::{Entry, Intent, Payload, Record};
use super::row::Row;
use super::{Store, StoreError};
use crate::fault;
use crate::generation::Fingerprint;

/// How much a probe writes: as much as a generation's own file may hold. A disk that takes less
/// would not take the next answer either.
const PROBE: usize = 64 * 1024;

/// How many generations may be written at the same time; two of one key never are.
const WRITERS: usize = 64;

/// A store in a directory of its own. See [the room's story](super).
///
/// Dropping it writes out the index, which may block: drop it where blocking is allowed.
pub struct DiskStore {
    pub(super) dir: PathBuf,
    pub(super) files: Generations,
    pub(super) intents: Intents,
    pub(super) blobs: Blobs,
    pub(super) bindings: Bindings,
    pub(super) index: Index,
    /// Held from before a file changes until its row has: the row of a key always follows its file.
    pub(super) writing: Writing,
    /// Last, so that the directory is free only once the index is closed.
    pub(super) lock: DirLock,
}

/// One mutex for each group of keys.
pub(super) struct Writing([Mutex<()>; WRITERS]);

impl Writing {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }

    fn begin(&self, key: &Fingerprint) -> Option<MutexGuard<'_, ()>> {
        let [.., last] = key.as_bytes();
        let group = self.0.get(usize::from(*last) % WRITERS)?;
        Some(group.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Store for DiskStore {
    fn get(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError> {
        let Some(entry) = self.read(key)? else {
            return Ok(None);
        };
        // A body that cannot be sent is no hit. Polls can be asked for again, so they are not
        // looked at here.
        if let Payload::Blob { hash, len } = &entry.body {
            match self.blobs.check(hash, *len) {
                Ok(()) => {}
                Err(error @ (StoreError::MissingBlob { .. } | StoreError::Damaged { .. })) => {
                    tracing::warn!(%key, %error, "a kept generation cannot be served");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(entry))
    }

    fn put(&self, entry: &Entry) -> Result<(), StoreError> {
        let entry = self.settle(entry)?;
        let bytes = codec::encode(&entry)?;
        let key = &entry.record.key;
        let _writing = self.writing.begin(key);
        match self.files.write(key, &bytes) {
            Ok(stamp) => {
                fault::point("before-row");
                let task = entry.record.task.as_ref().map(|task| task.id.as_str());
                self.index.put(key, &Row::new(stamp, task, &bytes));
                fault::point("after-row");
                Ok(())
            }
            Err(error) => {
                // The file may be the old or the new one; it will say which.
                self.index.remove(key);
                Err(error)
            }
        }
    }

    fn remove(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        let _writing = self.writing.begin(key);
        let removed = self.files.remove(key);
        self.index.remove(key);
        removed
    }

    fn find_task(&self, task_id: &str) -> Result<Option<Fingerprint>, StoreError> {
        if let Ok(found) = self.index.find_task(task_id) {
            return Ok(found);
        }
        let mut found = None;
        self.list(&mut |record| {
            if record.task.as_ref().is_some_and(|task| task.id == task_id) {
                found = Some(record.key);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn list(&self, visit: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), StoreError> {
        for shard in 0..=u8::MAX {
            for key in self.files.shard(shard)?.files.keys() {
                let entry = match self.read(key) {
                    Err(error @ StoreError::NewerFormat { .. }) => {
                        tracing::warn!(%key, %error, "left out of a listing");
                        continue;
                    }
                    other => other?,
                };
                if entry.is_some_and(|entry| visit(&entry.record).is_break()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn put_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        self.intents.put(intent)
    }

    fn intent(&self, key: &Fingerprint) -> Result<Option<Intent>, StoreError> {
        self.intents.get(key)
    }

    fn remove_intent(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        self.intents.remove(key)
    }

    fn intents(&self) -> Result<Vec<Intent>, StoreError> {
        Ok(self.intents.list()?.intents)
    }

    fn bind(&self, binding: &Binding) -> Result<Fingerprint, StoreError> {
        self.bindings.bind(binding)
    }

    fn open_blob(&self, hash: &BlobHash) -> Result<File, StoreError> {
        self.blobs.open(hash)
    }

    fn new_blob(&self) -> Result<BlobWriter, StoreError> {
        self.blobs.begin()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        fs2::available_space(&self.dir)
            .map_err(StoreError::io("ask for the free space of", &self.dir))
    }

    fn probe(&self) -> Result<(), StoreError> {
        // Each folder that the next paid answer would need; one may be broken by itself.
        for folder in [GENERATIONS, PENDING, BLOBS] {
            files::probe(&self.dir.join(folder), PROBE)?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.index.flush();
        Ok(())
    }
}

impl DiskStore {
    /// Notes for the commands of other processes where this one serves HTTP, until it is dropped.
    pub fn announce(&self, at: Served) {
        self.lock.announce(at);
    }

    /// The entry of `key` from the index or its file, without a look at its blobs.
    fn read(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError> {
        if let Some(bytes) = self.index.get(key).and_then(|row| row.content) {
            if let Ok(entry) = codec::decode(key, &bytes) {
                return Ok(Some(entry));
            }
            tracing::warn!(%key, "its row in the index is not what was put into it");
            let _writing = self.writing.begin(key);
            self.index.refresh(key);
        }
        match self.files.read(key) {
            Ok(file) => Ok(file.map(|file| file.entry)),
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::warn!(%key, %error, "a kept generation cannot be served");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The entry as it goes into its file: large bodies are blobs, and every blob is there.
    fn settle(&self, entry: &Entry) -> Result<Entry, StoreError> {
        let mut entry = entry.clone();
        let mut room = INLINE_TOTAL_MAX;
        for payload in std::iter::once(&mut entry.body).chain(&mut entry.polls) {
            match payload {
                Payload::Blob { hash, len } => self.blobs.check(hash, *len)?,
                Payload::Bytes(bytes) if bytes.len() as u64 <= INLINE_MAX.min(room) => {
                    room -= bytes.len() as u64;
                }
                Payload::Bytes(bytes) => *payload = self.blobs.keep(bytes)?.into(),
            }
        }
        Ok(entry)
    }
}
