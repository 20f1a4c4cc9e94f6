//! A store for tests that does something of the test's own before a call, or fails it.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Binding, BlobHash, BlobWriter, Delivery, DeliveryChange, DeliveryId, DiskStore, Entry, Freed,
    Hold, Intent, Kept, Record, Store, StoreError, Surveyed, VerifyReport,
};
use crate::generation::{Fingerprint, ThingKey};

/// A call that can be rigged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get(Fingerprint),
    Intent(Fingerprint),
    Put(Fingerprint),
    Remove(Fingerprint),
    OpenWork,
}

type Before = dyn Fn(&DiskStore, Call) -> Result<(), StoreError> + Send + Sync;

/// A disk store whose calls pass a test first.
pub(crate) struct Rigged {
    store: DiskStore,
    before: Box<Before>,
}

impl Rigged {
    pub(crate) fn new(
        store: DiskStore,
        before: impl Fn(&DiskStore, Call) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        let before = Box::new(before);
        Self { store, before }
    }
}

/// What a file system says that is about to die.
pub(crate) fn broken() -> StoreError {
    StoreError::io("use", Path::new("the disk"))(io::Error::other("rigged"))
}

impl Store for Rigged {
    fn get(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError> {
        (self.before)(&self.store, Call::Get(*key))?;
        self.store.get(key)
    }

    fn put(&self, entry: &Entry) -> Result<(), StoreError> {
        (self.before)(&self.store, Call::Put(entry.record.key))?;
        self.store.put(entry)
    }

    fn remove(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        (self.before)(&self.store, Call::Remove(*key))?;
        self.store.remove(key)
    }

    fn open_work(
        &self,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (self.before)(&self.store, Call::OpenWork)?;
        self.store.open_work(visit)
    }

    fn find_task(&self, task_id: &str) -> Result<Option<Fingerprint>, StoreError> {
        self.store.find_task(task_id)
    }

    fn list(&self, visit: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.store.list(visit)
    }

    fn list_kept(
        &self,
        after: Option<&Fingerprint>,
        visit: &mut dyn FnMut(Kept) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.list_kept(after, visit)
    }

    fn glance(&self, key: &Fingerprint) -> Result<Option<Kept>, StoreError> {
        self.store.glance(key)
    }

    fn find_key(&self, digits: &str) -> Result<Vec<Fingerprint>, StoreError> {
        self.store.find_key(digits)
    }

    fn used(&self, key: &Fingerprint, at: Timestamp) {
        self.store.used(key, at);
    }

    fn write_used(&self) {
        self.store.write_used();
    }

    fn survey(&self, is_over: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        self.store.survey(is_over)
    }

    fn surveyed(&self) -> Surveyed {
        self.store.surveyed()
    }

    fn kept_bytes(&self) -> u64 {
        self.store.kept_bytes()
    }

    fn passing_bytes(&self) -> u64 {
        self.store.passing_bytes()
    }

    fn needed_by(&self, hash: &BlobHash) -> Vec<Fingerprint> {
        self.store.needed_by(hash)
    }

    fn hold(&self, hash: &BlobHash) -> Hold {
        self.store.hold(hash)
    }

    fn free_blobs(&self, before: Timestamp) -> Result<Freed, StoreError> {
        self.store.free_blobs(before)
    }

    fn blobs_stay(&self) -> bool {
        self.store.blobs_stay()
    }

    fn verify(
        &self,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<VerifyReport, StoreError> {
        self.store.verify(progress)
    }

    fn put_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        self.store.put_intent(intent)
    }

    fn intent(&self, key: &Fingerprint) -> Result<Option<Intent>, StoreError> {
        (self.before)(&self.store, Call::Intent(*key))?;
        self.store.intent(key)
    }

    fn remove_intent(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        self.store.remove_intent(key)
    }

    fn intents(&self) -> Result<Vec<Intent>, StoreError> {
        self.store.intents()
    }

    fn bind(&self, binding: &Binding) -> Result<Fingerprint, StoreError> {
        self.store.bind(binding)
    }

    fn change_delivery(
        &self,
        id: &DeliveryId,
        decide: &mut dyn FnMut(Option<&Delivery>) -> DeliveryChange,
    ) -> Result<Option<Delivery>, StoreError> {
        self.store.change_delivery(id, decide)
    }

    fn deliveries_of(&self, task_id: &str) -> Result<Vec<Delivery>, StoreError> {
        self.store.deliveries_of(task_id)
    }

    fn deliveries(
        &self,
        visit: &mut dyn FnMut(Delivery) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.deliveries(visit)
    }

    fn own(&self, things: &[ThingKey], client: &str) -> Result<(), StoreError> {
        self.store.own(things, client)
    }

    fn owner(&self, thing: &ThingKey) -> Option<Arc<str>> {
        self.store.owner(thing)
    }

    fn open_blob(&self, hash: &BlobHash) -> Result<File, StoreError> {
        self.store.open_blob(hash)
    }

    fn new_blob(&self) -> Result<BlobWriter, StoreError> {
        self.store.new_blob()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        self.store.free_bytes()
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.store.probe()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }
}
