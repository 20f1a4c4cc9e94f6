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
//! blobs/ab/<blake3>        larger bodies and media, named by content   (blobs)
//! index/                   sled, derived from the files                (index, rebuild, reconcile, rows)
//! admin-token              who may administer the proxy                (token)
//! ```
//!
//! **The files are the truth.** Each is written aside, synced, renamed, and its folder synced
//! (`files`), carries its own checksum and its own key, and is checked whenever it is read. sled
//! 0.34 flushes without fsync, may open silently empty after damage, and keeps failing after a
//! full disk until it is opened anew; so it only makes things fast. Every row carries a stamp of
//! the file it was made from: a row whose file is newer is not believed, a missing row is made
//! again, and an index that cannot be opened or read is moved aside and rebuilt.
//!
//! Everything here blocks, for milliseconds where it syncs: call it where blocking is allowed.

mod bindings;
mod blob_hash;
mod blobs;
mod codec;
mod disk;
mod error;
mod files;
mod form;
mod generations;
mod glance;
mod headers;
mod index;
mod intents;
mod layout;
mod lock;
mod open;
mod rebuild;
mod reconcile;
mod record;
mod row;
mod rows;
mod shelf;
#[cfg(test)]
mod tests;
mod token;

use std::fs::File;
use std::ops::ControlFlow;

pub use bindings::Binding;
pub use blob_hash::BlobHash;
pub use blobs::{Blob, BlobWriter};
pub use disk::DiskStore;
pub use error::StoreError;
pub use glance::Glance;
pub use headers::{StoredHeaders, keepable, restore};
pub use lock::{Holder, Served, holder};
pub use open::OpenReport;
pub use record::{
    Entry, HeaderBytes, Intent, IntentState, Payload, PollRecord, Record, Task, TaskState,
};
pub use shelf::{Change, Shelf};
pub use token::admin_token;

use crate::generation::Fingerprint;

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

    /// Keeps `entry` under its record's key, in place of what was there. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable, names a blob that is not there, or has not one poll body
    /// for each poll record.
    fn put(&self, entry: &Entry) -> Result<(), StoreError>;

    /// Forgets the entry under `key`; says whether there was one. Durable when it returns. Blobs
    /// stay, since others may share them.
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
    /// When not all could be listed.
    fn list(&self, visit: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), StoreError>;

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
