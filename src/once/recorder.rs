//! The writing side of a recording: one owner, the lead.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Recording;
use super::recording::IN_MEMORY;
use crate::message::{BodyError, body};
use crate::store::{BlobWriter, Payload, Shelf, StoreError};

/// The largest body that lives in a generation's own file; a larger one is a blob.
const INLINE: u64 = 64 * 1024;

/// What memory may hold of one answer when the disk does not take it: 64 MiB.
const HELD_WITHOUT_DISK: u64 = 64 * 1024 * 1024;

/// Writes an answer into a [`Recording`]; dropped early, it ends every reader's body with an error.
pub struct Recorder {
    recording: Arc<Recording>,
    shelf: Shelf,
    blob: Option<BlobWriter>,
    disk_refused: bool,
}

impl Recorder {
    /// An empty recording.
    pub fn new(shelf: Shelf) -> Self {
        Self {
            recording: Arc::new(Recording::new()),
            shelf,
            blob: None,
            disk_refused: false,
        }
    }

    /// The side that is read.
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// Adds a piece; readers see it once it is [shown](Self::show).
    ///
    /// MONEY: a disk that takes no more does not lose an answer that was paid for: it stays in
    /// memory, within bounds, so that the caller at least has it.
    ///
    /// # Errors
    /// When neither disk nor memory can hold more.
    pub async fn append(&mut self, piece: &Bytes) -> Result<(), StoreError> {
        if self.blob.is_some() {
            return self.write(piece.clone()).await;
        }
        // A piece of the connection's read buffer would keep the whole buffer alive.
        self.recording.push(Bytes::copy_from_slice(piece));
        let len = self.recording.len();
        if len <= IN_MEMORY || (self.disk_refused && len <= HELD_WITHOUT_DISK) {
            return Ok(());
        }
        match self.spill().await {
            Ok(()) => Ok(()),
            Err(error) if !self.disk_refused => {
                tracing::warn!(%error, "a large answer stays in memory: the disk does not take it");
                self.disk_refused = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets readers see everything before `upto`.
    pub fn show(&self, upto: u64) {
        self.recording.show(upto);
    }

    /// The whole answer as the store keeps it: bytes when small, else a durable blob.
    ///
    /// # Errors
    /// When the blob could not be made durable; the recording is as readable as before.
    pub async fn payload(&mut self) -> Result<Payload, StoreError> {
        if self.blob.is_none() {
            if self.recording.len() <= INLINE {
                return Ok(Payload::Bytes(self.bytes()));
            }
            self.spill().await?;
        }
        match self.blob.take() {
            Some(blob) => self.shelf.finish_blob(blob).await,
            None => Ok(Payload::Bytes(self.bytes())),
        }
    }

    /// What is in memory, as one piece: all of it unless the answer went to disk.
    pub fn bytes(&self) -> Bytes {
        let mut pieces = self.recording.pieces();
        if pieces.len() == 1 {
            return pieces.swap_remove(0);
        }
        let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
        for piece in &pieces {
            joined.extend_from_slice(piece);
        }
        joined.freeze()
    }

    /// The whole answer in memory, wherever it is; `None` when it is larger than `limit` bytes.
    ///
    /// # Errors
    /// When the file it went to cannot be read.
    pub async fn whole(&self, limit: u64) -> Result<Option<Bytes>, BodyError> {
        if self.recording.len() > limit {
            return Ok(None);
        }
        match self.recording.file() {
            Some(file) => {
                let len = usize::try_from(self.recording.len())?;
                body::read_at(file, 0, len).await.map(Some)
            }
            None => Ok(Some(self.bytes())),
        }
    }

    /// The answer is whole: readers see the rest, and their bodies end well.
    pub fn end(self) {
        self.recording.end(Ok(()));
    }

    /// The answer broke off: readers' bodies end with an error.
    pub fn fail(self, why: &str) {
        self.recording.end(Err(why.into()));
    }

    async fn spill(&mut self) -> Result<(), StoreError> {
        let (blob, file) = self.shelf.new_blob(self.recording.pieces()).await?;
        self.blob = Some(blob);
        self.recording.move_to(Arc::new(file));
        Ok(())
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let Some(blob) = self.blob.take() else {
            return Ok(());
        };
        let len = piece.len() as u64;
        self.blob = Some(self.shelf.write_blob(blob, piece).await?);
        self.recording.grow_in_file(len);
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A no-op after `end` or `fail`.
        self.recording.end(Err("the answer was abandoned".into()));
    }
}
