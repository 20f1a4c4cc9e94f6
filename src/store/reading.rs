//! How a disk store reads an entry.

use std::io::Read;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::StoreError;
use super::blob_hash::BlobHash;
use super::disk::DiskStore;
use super::record::{Entry, Payload, Record};
use super::warm;
use crate::generation::Fingerprint;

impl DiskStore {
    /// The entry of `key` from its file, without a look at its blobs.
    pub(super) fn read(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError> {
        match self.files.read(key) {
            Ok(file) => Ok(file.map(|file| file.entry)),
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::warn!(%key, %error, "a kept generation cannot be served");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The entry of `key` for a listing, which leaves out what a newer version has kept.
    pub(super) fn read_listed(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError> {
        match self.read(key) {
            Err(error @ StoreError::NewerFormat { .. }) => {
                tracing::warn!(%key, %error, "left out of a listing");
                Ok(None)
            }
            other => other,
        }
    }

    /// Shows the records of `keys`. One that cannot be read keeps nobody from the others; what was
    /// wrong with the last such one goes to `unread`.
    pub(super) fn show_each(
        &self,
        keys: impl IntoIterator<Item = Fingerprint>,
        unread: &mut Option<StoreError>,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for key in keys {
            match self.read_listed(&key) {
                Ok(Some(entry)) => visit(&entry.record)?,
                Ok(None) => {}
                Err(error) => *unread = Some(error),
            }
        }
        ControlFlow::Continue(())
    }

    /// The same entry, with a body that is a small blob in memory; what cannot be read stays a file.
    pub(super) fn in_memory(&self, mut entry: Entry) -> Entry {
        if let Payload::Blob { hash, len, .. } = &entry.body
            && *len <= warm::LARGEST
            && let Some(bytes) = self.whole_blob(hash, *len)
        {
            entry.body = Payload::Bytes(bytes);
        }
        entry
    }

    fn whole_blob(&self, hash: &BlobHash, len: u64) -> Option<Bytes> {
        let mut bytes = Vec::with_capacity(usize::try_from(len).ok()?);
        let file = self.blobs.open(hash).ok()?;
        file.take(len).read_to_end(&mut bytes).ok()?;
        (*blake3::hash(&bytes).as_bytes() == *hash.as_bytes()).then(|| Bytes::from(bytes))
    }

    /// The entry of `key` with its bodies held.
    pub(super) fn read_held(&self, key: &Fingerprint) -> Result<Option<Entry>, StoreError> {
        let mut entry = self.read(key)?;
        if let Some(entry) = &mut entry {
            for payload in std::iter::once(&mut entry.body).chain(&mut entry.polls) {
                if let Payload::Blob { hash, hold, .. } = payload {
                    *hold = self.blobs.hold(hash);
                }
            }
        }
        Ok(entry)
    }
}
