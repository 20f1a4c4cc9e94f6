//! Larger bodies and files, each a blob.

use std::fs::File;

use bytes::Bytes;

use super::Shelf;
use crate::store::{BlobWriter, Payload, Store, StoreError};

impl Shelf {
    /// Begins a blob with `pieces` in it; the file reads what was written so far.
    ///
    /// # Errors
    /// As [`Store::new_blob`].
    pub async fn new_blob(&self, pieces: Vec<Bytes>) -> Result<(BlobWriter, File), StoreError> {
        self.writing(move |store| begun(store, &pieces)).await
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`new_blob`](Self::new_blob).
    pub fn new_blob_blocking(&self, pieces: &[Bytes]) -> Result<(BlobWriter, File), StoreError> {
        self.writing_here(|store| begun(store, pieces))
    }

    /// Adds to a blob, and hands it back.
    ///
    /// # Errors
    /// When the disk does not take it; the blob is gone then.
    pub async fn write_blob(
        &self,
        mut blob: BlobWriter,
        piece: Bytes,
    ) -> Result<BlobWriter, StoreError> {
        self.writing(move |_| blob.write(&piece).map(|()| blob))
            .await
    }

    /// Makes a blob durable.
    ///
    /// # Errors
    /// When it could not be synced or renamed.
    pub async fn finish_blob(&self, blob: BlobWriter) -> Result<Payload, StoreError> {
        self.writing(move |_| blob.finish().map(Payload::from))
            .await
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`finish_blob`](Self::finish_blob).
    pub fn finish_blob_blocking(&self, blob: BlobWriter) -> Result<Payload, StoreError> {
        self.writing_here(move |_| blob.finish().map(Payload::from))
    }

    /// Opens a payload that is a blob; `None` for one that is bytes already.
    ///
    /// # Errors
    /// As [`Store::open_blob`].
    pub async fn open(&self, payload: &Payload) -> Result<Option<File>, StoreError> {
        match payload {
            Payload::Bytes(_) => Ok(None),
            Payload::Blob { hash, .. } => {
                let hash = *hash;
                self.blocking(move |store| store.open_blob(&hash).map(Some))
                    .await
            }
        }
    }
}

fn begun(store: &dyn Store, pieces: &[Bytes]) -> Result<(BlobWriter, File), StoreError> {
    let mut blob = store.new_blob()?;
    for piece in pieces {
        blob.write(piece)?;
    }
    let reader = blob.reader()?;
    Ok((blob, reader))
}
