//! The store as the async threads see it: every call on a thread that may block.

mod blobs;

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::aside::{self, bring_back, set_aside};
use super::evict::{self, Forgotten};
use super::turns::Turns;
use super::{Binding, BlobHash, Entry, Imported, Intent, Store, StoreError};
use crate::generation::Fingerprint;
use crate::message::said;

/// A store behind the async threads; cheap to clone.
///
/// Changes of one generation happen one after another: a change reads, decides and writes, and a
/// job's end must not undo what a newer run has kept.
#[derive(Clone)]
pub struct Shelf {
    store: Arc<dyn Store>,
    pub(super) turns: Turns,
    /// How many writes have failed, and how many had when a probe last succeeded.
    failures: Arc<AtomicU64>,
    forgiven: Arc<AtomicU64>,
    /// Tells the keeper that something was written while more is kept than there is room for.
    written: Arc<Notify>,
    /// How much there is room for, in bytes.
    room: Arc<AtomicU64>,
    /// Counts the imports.
    imports: watch::Sender<u64>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}

/// What a look at an entry decides about it.
pub enum Change {
    /// Keep this instead.
    Put(Box<Entry>),
    /// Forget it. A job whose place it took comes back.
    Remove,
    /// Leave it as it is.
    Nothing,
}

impl Shelf {
    /// Puts the async side in front of `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            turns: Turns::default(),
            failures: Arc::default(),
            forgiven: Arc::default(),
            written: Arc::default(),
            room: Arc::new(AtomicU64::new(u64::MAX)),
            imports: watch::Sender::default(),
        }
    }

    /// What is kept of a generation.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get(&self, key: Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        match self.store.at_hand(&key) {
            Some(entry) => Ok(Some(entry)),
            None => self.blocking(move |store| store.take_up(&key)).await,
        }
    }

    /// Keeps a generation, and gives back what is kept; durable when it returns.
    ///
    /// MONEY: a job's answer only says that it was accepted. Until it has succeeded, the job whose
    /// place it takes stays beside it, and comes back if the new one fails.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn put(&self, entry: Entry) -> Result<Arc<Entry>, StoreError> {
        let turns = self.turns.clone();
        self.writing(move |store| put_in_turn(store, &turns, entry))
            .await
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_blocking(&self, entry: Entry) -> Result<Arc<Entry>, StoreError> {
        self.writing_here(|store| put_in_turn(store, &self.turns, entry))
    }

    /// Looks at what is kept and changes it, with nobody else changing it in between. Returns what
    /// is kept afterwards.
    ///
    /// # Errors
    /// As [`Store::get`], [`Store::put`] and [`Store::remove`].
    pub async fn change(
        &self,
        key: Fingerprint,
        decide: impl FnOnce(&Entry) -> Change + Send + 'static,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        self.change_and(key, |entry| Ok(decide(entry)), |_| Ok(()))
            .await
    }

    /// As [`change`](Self::change); `decide` may do something durable of its own before the entry
    /// changes, and `then` once a [`Change::Put`] is durable. Both block, in the entry's turn.
    ///
    /// # Errors
    /// As [`change`](Self::change), and those of `decide`, after which nothing has changed, and of
    /// `then`, after which the change stands.
    pub async fn change_and(
        &self,
        key: Fingerprint,
        decide: impl FnOnce(&Entry) -> Result<Change, StoreError> + Send + 'static,
        then: impl FnOnce(&Entry) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        let turns = self.turns.clone();
        self.writing(move |store| {
            let (_turn, entry) = aside::look(store, &turns, &key)?;
            match entry {
                Some(entry) => changed(store, entry, (decide, then)),
                None => Ok(None),
            }
        })
        .await
    }

    /// Which generation a job belongs to.
    ///
    /// # Errors
    /// As [`Store::find_task`].
    pub async fn find_task(&self, task_id: String) -> Result<Option<Fingerprint>, StoreError> {
        self.blocking(move |store| store.find_task(&task_id)).await
    }

    /// The note about a paid call of this generation, if one stands.
    ///
    /// # Errors
    /// As [`Store::intent`].
    pub async fn intent(&self, key: Fingerprint) -> Result<Option<Intent>, StoreError> {
        self.blocking(move |store| store.intent(&key)).await
    }

    /// Does several things about one generation, with nobody else changing what is kept of it in
    /// between.
    ///
    /// # Errors
    /// Those of `call`.
    ///
    /// # Cancel safety
    /// What was begun goes on to its end, whether or not anyone waits for it.
    pub async fn exclusively<T: Send + 'static>(
        &self,
        key: Fingerprint,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turns = self.turns.clone();
        self.writing(move |store| {
            let _turn = turns.of(&key);
            call(store)
        })
        .await
    }

    /// The generation that a client's `Idempotency-Key` stands for.
    ///
    /// # Errors
    /// As [`Store::bind`].
    pub async fn bind(&self, binding: Binding) -> Result<Fingerprint, StoreError> {
        self.writing(move |store| store.bind(&binding)).await
    }

    /// Notes that a generation was asked for. Writes nothing and does not block.
    pub fn used(&self, key: &Fingerprint, at: Timestamp) {
        self.store.used(key, at);
    }

    /// The same for every generation that needs the blob, a few at most.
    pub fn used_blob(&self, hash: &BlobHash, at: Timestamp) {
        for key in self.store.needed_by(hash) {
            self.store.used(&key, at);
        }
    }

    /// The size of everything kept, each blob once, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        self.store.kept_bytes()
    }

    /// Forgets a generation, unless there is still something to be done for it.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub async fn forget(&self, key: Fingerprint) -> Result<Forgotten, StoreError> {
        self.exclusively(key, move |store| evict::forget(store, &key, None))
            .await
    }

    /// Takes over what an export holds; see [`import`](super::import()). Whoever listens to
    /// [`imports`](Self::imports) hears of it, however it ends.
    ///
    /// # Errors
    /// As [`import`](super::import()).
    pub async fn import(
        &self,
        from: impl Read + Send + 'static,
        mut progress: impl FnMut(u64) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Imported, StoreError> {
        let others = self.clone();
        self.writing(move |store| {
            let imported = super::import(store, Some(&others), from, &mut progress);
            others.found_open();
            imported
        })
        .await
    }

    /// Tells those who listen to [`imports`](Self::imports) that there is something to be done.
    pub(super) fn found_open(&self) {
        self.imports.send_modify(|count| *count += 1);
    }

    /// Changes after each import, and after a look at everything, when those may have brought
    /// something that is still to be done ([`Store::open_work`]).
    pub fn imports(&self) -> watch::Receiver<u64> {
        self.imports.subscribe()
    }

    /// Does something about one generation, with nobody else changing what is kept of it in
    /// between. Blocks.
    pub(super) fn in_turn<T>(&self, key: &Fingerprint, call: impl FnOnce() -> T) -> T {
        let _turn = self.turns.of(key);
        call()
    }

    /// Notes how much there is room for, in bytes.
    pub(super) fn set_room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::Release);
    }

    /// Ends when something was written, since it last ended, for which there may be no room.
    pub(super) async fn kept_something(&self) {
        self.written.notified().await;
    }

    pub(super) fn wake_keeper(&self) {
        self.written.notify_one();
    }

    /// Free disk where the data is, in bytes.
    ///
    /// # Errors
    /// As [`Store::free_bytes`].
    pub async fn free_bytes(&self) -> Result<u64, StoreError> {
        self.blocking(Store::free_bytes).await
    }

    /// Makes sure that an answer could be kept: after a write has failed, one must succeed before
    /// anything is paid for again. Costs nothing while all is well.
    ///
    /// # Errors
    /// When the disk still does not take anything.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let failures = self.failures.load(Ordering::Acquire);
        if failures == self.forgiven.load(Ordering::Acquire) {
            return Ok(());
        }
        self.writing(Store::probe).await?;
        // Only those that were seen: one that failed meanwhile asks for a probe of its own.
        self.forgiven.store(failures, Ordering::Release);
        Ok(())
    }

    /// Writes out what is only kept for speed.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.blocking(Store::flush).await
    }

    /// How many writes have failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The store itself, for whoever is on a thread that may block already.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// A call that writes. One that fails says that the disk may take nothing; that it takes
    /// something again is only believed when [`check_writable`](Self::check_writable) has tried.
    ///
    /// # Errors
    /// As the call.
    pub async fn writing<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let here = self.clone();
        self.blocking(move |_| here.writing_here(call)).await
    }

    /// The same, for a thread that may block: several steps that follow one another make one visit to
    /// such a thread, and each of them counts by itself.
    ///
    /// # Errors
    /// As the call.
    pub fn writing_here<T>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // As it would end on a thread of its own. What is changed under a lock stays whole.
        let result = catch_unwind(AssertUnwindSafe(|| call(self.store.as_ref())))
            .unwrap_or_else(|panic| Err(StoreError::Panicked(said(panic.as_ref()))));
        self.note(&result);
        result
    }

    fn note<T>(&self, result: &Result<T, StoreError>) {
        if matches!(result, Err(StoreError::Io { .. })) {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
        // Each time that it wakes for nothing costs as much as a write.
        if self.kept_bytes() > self.room.load(Ordering::Acquire) {
            self.wake_keeper();
        }
    }

    /// A call that only reads.
    ///
    /// # Errors
    /// As the call.
    pub async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || call(store.as_ref())).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Panicked(error.to_string())),
        }
    }
}

fn put_in_turn(
    store: &dyn Store,
    turns: &Turns,
    mut entry: Entry,
) -> Result<Arc<Entry>, StoreError> {
    let _turn = turns.of(&entry.record.key);
    if let Some(task) = &entry.record.task {
        let task = task.id.clone();
        entry.record.previous = set_aside(store, &entry.record.key, &task)?;
    }
    store.put(&entry)?;
    Ok(Arc::new(entry))
}

/// Does what `decide` says with an entry, in its turn; see [`Shelf::change_and`].
pub(super) fn changed(
    store: &dyn Store,
    entry: Entry,
    (decide, then): (
        impl FnOnce(&Entry) -> Result<Change, StoreError>,
        impl FnOnce(&Entry) -> Result<(), StoreError>,
    ),
) -> Result<Option<Arc<Entry>>, StoreError> {
    match decide(&entry)? {
        Change::Nothing => Ok(Some(Arc::new(entry))),
        Change::Remove => bring_back(store, &entry),
        Change::Put(entry) => {
            store.put(&entry)?;
            then(&entry)?;
            Ok(Some(Arc::new(*entry)))
        }
    }
}
