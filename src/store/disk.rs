//! The store in one directory: files for what must last, the index for speed.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::bindings::{Binding, Bindings};
use super::blob_hash::BlobHash;
use super::blobs::{BlobWriter, Blobs};
use super::book::Book;
use super::codec;
use super::files;
use super::folder::RESTS;
use super::found::Found;
use super::generations::Generations;
use super::hold::Hold;
use super::index::Index;
use super::intents::Intents;
use super::kept::{self, Kept};
use super::layout::{BLOBS, GENERATIONS, PENDING};
use super::lock::{DirLock, Served};
use super::outbox::{Delivery, DeliveryChange, DeliveryId, Outbox};
use super::owners::Owners;
use super::record::{Entry, Intent, Payload, Record};
use super::row::{self, Row};
use super::survey::{Survey, Surveyed};
use super::usage::Usage;
use super::verify::{self, VerifyReport};
use super::warm::Warm;
use super::writing::Writing;
use super::{Freed, Store, StoreError};
use crate::fault;
use crate::generation::{Fingerprint, ThingKey};

/// How much a probe writes: as much as a generation's own file may hold. A disk that takes less
/// would not take the next answer either.
const PROBE: usize = 64 * 1024;

/// How many of the generations that need a blob are named at most.
const NEEDED_BY_MAX: usize = 16;

/// A store in a directory of its own. See [the room's story](super).
///
/// Dropping it writes out the index, which may block: drop it where blocking is allowed.
pub struct DiskStore {
    pub(super) dir: PathBuf,
    pub(super) files: Generations,
    pub(super) intents: Intents,
    pub(super) blobs: Blobs,
    pub(super) bindings: Bindings,
    pub(super) outbox: Outbox,
    pub(super) owners: Owners,
    pub(super) index: Index,
    pub(super) book: Book,
    pub(super) usage: Usage,
    /// What is asked for often.
    pub(super) warm: Warm,
    /// Which folders have been looked at since start.
    pub(super) survey: Survey,
    /// What looks at the folders have come to.
    pub(super) found: Found,
    /// Held from before a file changes until its row has: the row of a key always follows its file.
    pub(super) writing: Writing,
    /// Last, so that the directory is free only once the index is closed.
    pub(super) lock: DirLock,
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
        let mut missing = None;
        loop {
            let Some(entry) = self.read_held(key)? else {
                return Ok(None);
            };
            // A body that cannot be sent is no hit. Polls can be asked for again, so they are not
            // looked at here.
            let Payload::Blob { hash, len, .. } = &entry.body else {
                return Ok(Some(entry));
            };
            match self.blobs.check(hash, *len) {
                Ok(()) => return Ok(Some(entry)),
                // MONEY: it may have gone with its generation, just before it was held. Then
                // another generation has its place, which must be seen.
                Err(StoreError::MissingBlob { hash }) if missing != Some(hash) => {
                    missing = Some(hash);
                }
                Err(error @ (StoreError::MissingBlob { .. } | StoreError::Damaged { .. })) => {
                    tracing::warn!(%key, %error, "a kept generation cannot be served");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn at_hand(&self, key: &Fingerprint) -> Option<Arc<Entry>> {
        self.warm.get(key)
    }

    fn take_up(&self, key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        let before = self.warm.before(key);
        let Some(entry) = self.get(key)? else {
            return Ok(None);
        };
        let entry = Arc::new(self.in_memory(entry));
        self.warm.keep(before, &entry);
        Ok(Some(entry))
    }

    fn put(&self, entry: &Entry) -> Result<(), StoreError> {
        if let Some(task) = &entry.record.task {
            // First, so that no job is ever kept whose owner could be forgotten.
            self.own(&[ThingKey::job(&task.id)], &entry.record.client)?;
        }
        let (entry, _held) = self.settle(entry)?;
        let bytes = codec::encode(&entry)?;
        let blobs = row::blobs_of(&entry);
        let key = &entry.record.key;
        let folder = self.enter(key);
        let writing = self.writing.begin(key);
        let changing = self.warm.change(key);
        let before = self.files.len(key);
        let freed = match self.files.write(key, (before, &bytes)) {
            Ok(stamp) => {
                fault::point("before-row");
                self.index.put(key, &Row::of(stamp, &entry));
                fault::point("after-row");
                let sizes = folder.counted((before, stamp.len));
                self.book.written(key, sizes, &blobs)
            }
            Err(error) => {
                // The file may be the old or the new one; it says which.
                self.index.refresh(key);
                let sizes = folder.counted((before, self.files.len(key)));
                self.book.maybe_written(key, sizes, &blobs);
                return Err(error);
            }
        };
        drop((changing, writing, folder));
        self.free(&freed);
        Ok(())
    }

    fn remove(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        let folder = self.enter(key);
        let writing = self.writing.begin(key);
        let changing = self.warm.change(key);
        let before = self.files.len(key);
        let removed = self.files.remove(key);
        if removed.is_err() {
            // What stays is found as before.
            self.index.refresh(key);
            let sizes = folder.counted((before, self.files.len(key)));
            self.book.maybe_written(key, sizes, &[]);
            return removed;
        }
        self.index.remove(key);
        let freed = self.book.removed(key, folder.counted((before, 0)).0);
        drop((changing, writing, folder));
        self.free(&freed);
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
        let mut unread = None;
        for shard in 0..=u8::MAX {
            let keys = match self.files.shard(shard) {
                Ok(shard) => shard.files.into_keys(),
                Err(error) => {
                    unread = Some(error);
                    continue;
                }
            };
            if self.show_each(keys, &mut unread, visit).is_break() {
                return Ok(());
            }
        }
        unread.map_or(Ok(()), Err)
    }

    fn open_work(
        &self,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut visit_open = |record: &Record| {
            if record.is_open() {
                visit(record)
            } else {
                ControlFlow::Continue(())
            }
        };
        let Ok(keys) = self.index.open_keys() else {
            return self.list(&mut visit_open);
        };
        let mut unread = None;
        if self
            .show_each(keys, &mut unread, &mut visit_open)
            .is_break()
        {
            return Ok(());
        }
        unread.map_or(Ok(()), Err)
    }

    fn list_kept(
        &self,
        after: Option<&Fingerprint>,
        visit: &mut dyn FnMut(Kept) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        kept::list(self, after, visit)
    }

    fn glance(&self, key: &Fingerprint) -> Result<Option<Kept>, StoreError> {
        if !self.book.is_complete() {
            // Whoever asks may decide by it what is to go, so its row has to be true.
            self.look_first(key)?;
        }
        kept::one(self, key)
    }

    fn find_key(&self, digits: &str) -> Result<Vec<Fingerprint>, StoreError> {
        kept::find(self, digits)
    }

    fn used(&self, key: &Fingerprint, at: Timestamp) {
        self.usage.note(key, at);
    }

    fn write_used(&self) {
        self.usage.write(&self.index);
        self.mark_folders(RESTS);
    }

    fn survey(&self, is_over: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        self.survey_rest(is_over)
    }

    fn surveyed(&self) -> Surveyed {
        self.found.take().into()
    }

    fn kept_bytes(&self) -> u64 {
        self.book.bytes()
    }

    fn passing_bytes(&self) -> u64 {
        self.book.passing_bytes()
    }

    fn needed_by(&self, hash: &BlobHash) -> Vec<Fingerprint> {
        self.book.needed_by(hash, NEEDED_BY_MAX)
    }

    fn hold(&self, hash: &BlobHash) -> Hold {
        self.blobs.hold(hash)
    }

    fn free_blobs(&self, before: Timestamp) -> Result<Freed, StoreError> {
        self.free_unneeded(before)
    }

    fn blobs_stay(&self) -> bool {
        self.found.has_newer()
    }

    fn verify(
        &self,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<VerifyReport, StoreError> {
        verify::verify(self, progress)
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

    fn change_delivery(
        &self,
        id: &DeliveryId,
        decide: &mut dyn FnMut(Option<&Delivery>) -> DeliveryChange,
    ) -> Result<Option<Delivery>, StoreError> {
        self.outbox.change(id, decide)
    }

    fn deliveries_of(&self, task_id: &str) -> Result<Vec<Delivery>, StoreError> {
        self.outbox.of_job(task_id)
    }

    fn deliveries(
        &self,
        visit: &mut dyn FnMut(Delivery) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.outbox.list(visit)
    }

    fn own(&self, things: &[ThingKey], client: &str) -> Result<(), StoreError> {
        self.owners.own(things, client)
    }

    fn owner(&self, thing: &ThingKey) -> Option<Arc<str>> {
        self.owners.owner(thing)
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
        self.write_used();
        self.index.flush();
        Ok(())
    }
}

impl DiskStore {
    /// Notes for the commands of other processes where this one serves HTTP, until it is dropped.
    pub fn announce(&self, at: Served) {
        self.lock.announce(at);
    }
}
