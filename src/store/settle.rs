//! What a disk store does about the blobs of an entry: before it is kept, and after it has gone.

use std::sync::atomic::Ordering;

use super::StoreError;
use super::blob_hash::BlobHash;
use super::codec::{INLINE_MAX, INLINE_TOTAL_MAX};
use super::disk::DiskStore;
use super::hold::Hold;
use super::medium::MediumState;
use super::record::{Entry, Payload};

impl DiskStore {
    /// The entry as it goes into its file: large bodies are blobs, and every blob is there and held.
    pub(super) fn settle(&self, entry: &Entry) -> Result<(Entry, Vec<Hold>), StoreError> {
        let mut held = Vec::new();
        let mut check = |hash: &BlobHash, len: u64| {
            held.push(self.blobs.hold(hash));
            self.blobs.check(hash, len)
        };
        for medium in &entry.record.media {
            if let MediumState::Kept { hash, len, .. } = &medium.state {
                check(hash, *len)?;
            }
        }
        let mut entry = entry.clone();
        let mut room = INLINE_TOTAL_MAX;
        for payload in std::iter::once(&mut entry.body).chain(&mut entry.polls) {
            match payload {
                Payload::Blob { hash, len, .. } => check(hash, *len)?,
                Payload::Bytes(bytes) if bytes.len() as u64 <= INLINE_MAX.min(room) => {
                    room -= bytes.len() as u64;
                }
                Payload::Bytes(bytes) => *payload = self.blobs.keep(bytes)?.into(),
            }
        }
        Ok((entry, held))
    }

    /// MONEY: whether what every generation needs is known. A blob that none of ours has needed may
    /// belong to one that cannot be read, or that a newer version has kept.
    pub(super) fn has_read_all(&self) -> Result<bool, StoreError> {
        let mut all = !self.damaged.load(Ordering::Relaxed);
        for shard in 0..=u8::MAX {
            all = all && !self.files.shard(shard)?.strangers;
        }
        Ok(all)
    }

    /// Removes blobs that nobody needs any longer. One that stays is tried again later, and so are all
    /// as long as not everything is known.
    pub(super) fn free(&self, blobs: &[BlobHash]) {
        if !self.book.is_complete() {
            return;
        }
        for hash in blobs {
            if let Err(error) = self.blobs.free(hash) {
                tracing::warn!(%hash, %error, "a blob that nobody needs stays for now");
            }
        }
    }
}
