//! What a disk store does about the blobs of an entry: before it is kept, and after it has gone.

use jiff::Timestamp;

use super::blob_hash::BlobHash;
use super::codec::{INLINE_MAX, INLINE_TOTAL_MAX};
use super::disk::DiskStore;
use super::hold::Hold;
use super::medium::MediumState;
use super::record::{Entry, Payload};
use super::{Freed, StoreError};

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
        let mut all = self.found.all_read();
        for shard in 0..=u8::MAX {
            all = all && !self.files.shard(shard)?.strangers;
        }
        Ok(all)
    }

    /// MONEY: what was let go by one generation may be needed by another: by one that nobody has looked
    /// at, or that only a newer version can read.
    fn may_free(&self) -> bool {
        self.book.is_complete() && !self.found.has_newer()
    }

    /// Removes the blobs that nobody needs and nobody has in hand; see
    /// [`Store::free_blobs`](super::Store::free_blobs).
    pub(super) fn free_unneeded(&self, before: Timestamp) -> Result<Freed, StoreError> {
        let (mut freed, mut failed) = (Freed::default(), None);
        if !self.may_free() {
            return Ok(freed);
        }
        let mut all_read = None;
        for (hash, released) in self.book.unneeded() {
            let old = || self.blobs.written_at(&hash).is_some_and(|at| at < before);
            if !released && old() && all_read.is_none() {
                all_read = Some(self.has_read_all()?);
            }
            if released || (all_read == Some(true) && old()) {
                match self.blobs.free(&hash) {
                    Ok(bytes) => {
                        freed.blobs += u64::from(bytes > 0);
                        freed.bytes += bytes;
                    }
                    Err(error) => {
                        tracing::warn!(%hash, %error, "a blob that nobody needs stays for now");
                        failed = Some(error);
                    }
                }
            }
        }
        match failed {
            Some(error) if freed.blobs == 0 => Err(error),
            Some(_) | None => Ok(freed),
        }
    }

    /// Removes blobs that nobody needs any longer. One that stays is tried again later, and so are all
    /// as long as not everything is known.
    pub(super) fn free(&self, blobs: &[BlobHash]) {
        if !self.may_free() {
            return;
        }
        for hash in blobs {
            if let Err(error) = self.blobs.free(hash) {
                tracing::warn!(%hash, %error, "a blob that nobody needs stays for now");
            }
        }
    }
}
