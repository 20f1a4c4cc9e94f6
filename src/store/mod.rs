//! What was paid for, kept.
//!
//! [`Store`] is the seam: the rest of the program sees entries, intents and blobs, and never a
//! file. [`DiskStore`] is the store behind it, in one directory:
//!
//! ```text
//! VERSION                  one integer, the format of the directory    (layout)
//! LOCK                     who has it                                  (lock)
//! generations/ab/<key>.gen one kept generation                         (generations, codec, form)
//! pending/<key>.json       a paid call under way or of unknown outcome (intents)
//! idempotency/ab/<hash>    which request a client's Idempotency-Key came with   (bindings)
//! callbacks/ab/<id>.json   who is to hear of the end of a job      (outbox)
//! owners/000001            whose the things are that upstream keeps      (owners)
//! blobs/ab/<blake3>        larger bodies and media, named by content   (blobs)
//! index/                   sled, derived from the files                (index, rebuild, reconcile, rows)
//! admin-token              who may administer the proxy                (token)
//! ```
//!
//! **The files are the truth.** Each is written aside, synced, renamed, and its folder synced
//! (`files`), carries its own checksum and its own key, and is checked whenever it is read. sled
//! 0.34 flushes without fsync, may open silently empty after damage, and keeps failing after a
//! full disk until it is opened anew; so it only says what there is, and a hit reads its file. Every
//! row carries a stamp of the file it was made from: a row whose file is newer is not believed, a
//! missing row is made again, and an index that cannot be opened or read is moved aside and rebuilt.
//!
//! **A start waits for what has changed.** Of the folders that are as they were when their rows were
//! last true, the rows are believed; those of the others are made true before anybody is served,
//! and everything else is looked at in the background (`survey`, `folder`).
//!
//! **What is kept has bounds.** A book in memory says which generations need a blob, who has it in
//! hand and how much is kept (`book`, `hold`); a [`Keeper`] evicts by age and for room (`evict`). An
//! entry that was read keeps its bodies from going until it is dropped.
//!
//! Everything here blocks, for milliseconds where it syncs: call it where blocking is allowed.

mod aside;
mod bindings;
mod blob_hash;
mod blobs;
mod book;
mod checks;
mod codec;
mod disk;
mod error;
mod evict;
mod export;
mod files;
mod folder;
mod form;
mod found;
mod generations;
mod glance;
mod headers;
mod hold;
mod import;
mod index;
mod intents;
mod job;
mod keeper;
mod kept;
mod layout;
mod lock;
mod medium;
mod medium_form;
mod misses;
mod open;
mod outbox;
mod owners;
mod passed;
mod purge;
mod reading;
mod rebuild;
mod reconcile;
mod record;
#[cfg(test)]
pub(crate) mod rigged;
mod row;
mod rows;
mod settle;
mod shelf;
mod survey;
#[cfg(test)]
mod tests;
mod together;
mod token;
mod turns;
mod usage;
mod verify;
mod warm;
mod watch;
mod writing;

use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use bindings::Binding;
pub use blob_hash::BlobHash;
pub use blobs::{Blob, BlobWriter};
pub use disk::DiskStore;
pub use error::StoreError;
pub use evict::{Evicted, Forgotten, Rules, forget};
pub use export::{Exported, export};
pub use glance::Glance;
pub use headers::{StoredHeaders, keepable, restore};
pub use hold::Hold;
pub use import::{Imported, Refusal, import};
pub use job::find_job;
pub use keeper::Keeper;
pub use kept::Kept;
pub use lock::{Holder, Served, holder};
pub use medium::{Medium, MediumState};
pub use open::OpenReport;
pub use outbox::{Delivery, DeliveryChange, DeliveryId, DeliveryState};
pub use passed::place_of_job;
pub use purge::{Purge, Purged, purge, remove};
pub use record::{
    Entry, HeaderBytes, Intent, IntentState, Payload, PollRecord, Record, Stake, Task, TaskState,
};
pub use shelf::{Change, Shelf};
pub use survey::Surveyed;
pub use token::admin_token;
pub use verify::{Damage, VerifyReport};
pub use watch::Indexing;

use jiff::Timestamp;

use crate::generation::{Fingerprint, ThingKey};

/// What was removed of the blobs that nobody needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many.
    pub blobs: u64,
    /// Their size, in bytes.
    pub bytes: u64,
}

/// Where kept generations live.
///
/// The contract, for whoever writes another one (a fake that loses what was not synced, a shared
/// engine for several replicas):
///
/// - **Durable means durable.** When `put`, `remove`, `put_intent`, `remove_intent` or
///   [`BlobWriter::finish`] has returned `Ok`, a power cut does not undo it. When one returns
///   `Err`, it may or may not have happened, but never half.
/// - **Whole entries.** `get` gives exactly what one `put` was given (a large body may come back
///   as a blob), or nothing. It never mixes two puts and never gives damaged bytes.
/// - **Last put wins** for each key; a `get` that begins after a `put` returned sees it or a later
///   one. There is no order between different keys.
/// - **Absence is certain.** `Ok(None)` means that nothing usable is kept. A store that cannot
///   tell answers `Err`, because whoever hears "nothing" may pay again. An intent that cannot be
///   read is an intent of unknown outcome, never an absent one.
/// - Values are small (bodies over 64 KiB are blobs) and each method touches one key, so an engine
///   with single-key atomic writes suffices.
/// - Methods block and may be called from many threads at once.
pub trait Store: Send + Sync + 'static {
    /// The entry under `key`. A damaged one is reported in the log and counts as absent.
    ///
    /// # Errors
    /// When the store cannot tell, or the entry was kept by a newer version of the program.
    fn get(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError>;

    /// The entry under `key` where it is in memory, whole. Does not block; `None` says nothing.
    fn at_hand(&self, _key: &Fingerprint) -> Option<Arc<Entry>> {
        None
    }

    /// As [`get`](Self::get), and has it [at hand](Self::at_hand) from now on if it is small enough: a
    /// body that is a blob may be in memory then.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn take_up(&self, key: &Fingerprint) -> Result<Option<Arc<Entry>>, StoreError> {
        Ok(self.get(key)?.map(Arc::new))
    }

    /// Keeps `entry` under its record's key, in place of what was there. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable, names a blob that is not there, or has not one poll body
    /// for each poll record.
    fn put(&self, entry: &Entry) -> Result<(), StoreError>;

    /// Forgets the entry under `key`; says whether there was one. Durable when it returns. Its blobs
    /// go with it, but for those that others need or somebody has in hand.
    ///
    /// # Errors
    /// When it could not be removed, or belongs to a newer version of the program.
    fn remove(&self, key: &Fingerprint) -> Result<bool, StoreError>;

    /// The key of the kept entry whose job has this id.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn find_task(&self, task_id: &str) -> Result<Option<Fingerprint>, StoreError>;

    /// Shows every kept record to `visit`, in no certain order, until it breaks. Damaged ones are
    /// reported in the log and left out. Entries that come or go meanwhile may be shown or not.
    ///
    /// # Errors
    /// When not all could be listed; those that can be read have been shown nonetheless.
    fn list(&self, visit: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// Shows every kept record with something still to be done ([`Record::is_open`]) to `visit`, in
    /// no certain order, until it breaks; fast however much is kept. Otherwise as
    /// [`list`](Self::list).
    ///
    /// # Errors
    /// When not all could be listed.
    fn open_work(
        &self,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Shows every kept generation behind `after` to `visit`, in the order of their keys, until it
    /// breaks. No file is opened for it, so it is fast.
    ///
    /// # Errors
    /// When not all could be listed.
    fn list_kept(
        &self,
        after: Option<&Fingerprint>,
        visit: &mut dyn FnMut(Kept) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// One kept generation as in a listing.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn glance(&self, key: &Fingerprint) -> Result<Option<Kept>, StoreError>;

    /// The keys of the kept generations that begin with these hexadecimal digits in lower case:
    /// none when there are fewer than 8 of them.
    ///
    /// # Errors
    /// When not all could be listed.
    fn find_key(&self, digits: &str) -> Result<Vec<Fingerprint>, StoreError>;

    /// Notes that a generation was asked for. Writes nothing and does not block.
    fn used(&self, key: &Fingerprint, at: Timestamp);

    /// Writes out what [`used`](Self::used) has noted. Losing it costs only the order of evictions.
    fn write_used(&self);

    /// Looks at everything that was not looked at when the store was opened, until `is_over`; says
    /// whether it has come to its end. [`free_blobs`](Self::free_blobs) removes nothing before; nobody
    /// should evict either.
    ///
    /// # Errors
    /// When not all could be listed, or a file not be read; another call goes on where this one has
    /// ended.
    fn survey(&self, is_over: &dyn Fn() -> bool) -> Result<bool, StoreError>;

    /// What was found since this was last asked: by [`survey`](Self::survey), or by whoever came to a
    /// file first. For the one who tells those who have to know; does not block.
    fn surveyed(&self) -> Surveyed;

    /// The size of everything kept, each blob once, in bytes; while not everything has been looked at,
    /// as it was when it last had been. Does not block.
    fn kept_bytes(&self) -> u64;

    /// How much of [`kept_bytes`](Self::kept_bytes) no generation needs while somebody has it in
    /// hand, or since it is about to go: no eviction makes room there. In bytes; does not block.
    fn passing_bytes(&self) -> u64;

    /// The generations that need a blob, a few at most: whom a request for its bytes is to be
    /// counted for. Does not block.
    fn needed_by(&self, hash: &BlobHash) -> Vec<Fingerprint>;

    /// Keeps a blob from being removed while the answer lives. Does not block.
    fn hold(&self, hash: &BlobHash) -> Hold;

    /// Removes the blobs that nobody needs and nobody has in hand: those that a generation has let
    /// go, and of the rest those written before `before`. One that cannot be removed is reported in
    /// the log, and stays for now.
    ///
    /// # Errors
    /// When there was something to remove, and nothing of it could be.
    fn free_blobs(&self, before: Timestamp) -> Result<Freed, StoreError>;

    /// Whether no blob goes, since generations that a newer version kept may need it: then an eviction
    /// makes no room. Does not block.
    fn blobs_stay(&self) -> bool;

    /// Reads every kept file, and says what is not as it was written. Changes nothing.
    ///
    /// `progress` hears of the bytes that were read since it was last called, and may break.
    ///
    /// # Errors
    /// When not everything could be read.
    fn verify(
        &self,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<VerifyReport, StoreError>;

    /// Notes that a paid call is about to leave, or what became of it; in place of an earlier
    /// intent for the key. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn put_intent(&self, intent: &Intent) -> Result<(), StoreError>;

    /// The intent for `key`. One that cannot be read counts as an unknown outcome.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn intent(&self, key: &Fingerprint) -> Result<Option<Intent>, StoreError>;

    /// Forgets the intent for `key`; says whether there was one. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be removed.
    fn remove_intent(&self, key: &Fingerprint) -> Result<bool, StoreError>;

    /// All intents, in the order of their keys.
    ///
    /// # Errors
    /// When not all could be listed.
    fn intents(&self) -> Result<Vec<Intent>, StoreError>;

    /// The generation that a client's `Idempotency-Key` stands for: the one it was first sent with
    /// in the 24 hours before `binding`, or the one of `binding` from now on. Durable when it
    /// returns; of two at once, one is first.
    ///
    /// # Errors
    /// When it could not be looked up or made durable.
    fn bind(&self, binding: &Binding) -> Result<Fingerprint, StoreError>;

    /// Looks at a delivery and changes it, with nobody else changing it in between; says what stands
    /// afterwards. Durable when it returns. One that cannot be read counts as absent.
    ///
    /// # Errors
    /// When it could not be read or made durable, or what is to be kept has another name.
    fn change_delivery(
        &self,
        id: &DeliveryId,
        decide: &mut dyn FnMut(Option<&Delivery>) -> DeliveryChange,
    ) -> Result<Option<Delivery>, StoreError>;

    /// The deliveries of one job, in no certain order.
    ///
    /// # Errors
    /// When not all could be read.
    fn deliveries_of(&self, task_id: &str) -> Result<Vec<Delivery>, StoreError>;

    /// Shows every delivery to `visit`, in no certain order, until it breaks.
    ///
    /// # Errors
    /// When not all could be read.
    fn deliveries(
        &self,
        visit: &mut dyn FnMut(Delivery) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Notes that things which upstream keeps are a client's, where nobody owns them yet; a job whose
    /// record is [`put`](Self::put) is its client's by that. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable; this process knows it all the same.
    fn own(&self, things: &[ThingKey], client: &str) -> Result<(), StoreError>;

    /// Whose it is, as far as is known. Does not block.
    fn owner(&self, thing: &ThingKey) -> Option<Arc<str>>;

    /// A blob for reading, at its first byte. Its content has been checked against its name.
    ///
    /// # Errors
    /// When it is missing, damaged or cannot be read.
    fn open_blob(&self, hash: &BlobHash) -> Result<File, StoreError>;

    /// Begins a new blob.
    ///
    /// # Errors
    /// When no file can be made.
    fn new_blob(&self) -> Result<BlobWriter, StoreError>;

    /// Free bytes where the data is, as far as this process may use them.
    ///
    /// # Errors
    /// When the system does not say.
    fn free_bytes(&self) -> Result<u64, StoreError>;

    /// Whether something would be made durable now: writes, syncs and removes a little.
    ///
    /// # Errors
    /// When it would not.
    fn probe(&self) -> Result<(), StoreError>;

    /// Writes out what is only kept for speed. Losing it costs time, never an entry.
    ///
    /// # Errors
    /// When the store cannot be used any longer.
    fn flush(&self) -> Result<(), StoreError>;
}
