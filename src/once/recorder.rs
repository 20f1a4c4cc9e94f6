//! The writing side of a recording: one owner, the lead.

use std::fs::File;
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
    /// The disk takes no more of this answer: it will not be kept.
    refused: Option<StoreError>,
    /// How much is in memory.
    held: u64,
}

impl Recorder {
    /// An empty recording.
    pub fn new(shelf: Shelf) -> Self {
        Self {
            recording: Arc::new(Recording::new()),
            shelf,
            blob: None,
            refused: None,
            held: 0,
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
        if let Some(blob) = self.blob.take() {
            match self.shelf.write_blob(blob, piece.clone()).await {
                Ok(blob) => {
                    self.blob = Some(blob);
                    self.recording.grow_in_file(piece.len() as u64);
                    return Ok(());
                }
                Err(error) => self.refuse(error),
            }
        }
        // A piece of the connection's read buffer would keep the whole buffer alive.
        self.recording.push(Bytes::copy_from_slice(piece));
        self.held += piece.len() as u64;
        if self.refused.is_none()
            && self.held > IN_MEMORY
            && let Err(error) = self.spill().await
        {
            self.refuse(error);
        }
        match &self.refused {
            Some(_) if self.held > HELD_WITHOUT_DISK => Err(StoreError::Refused(
                "the disk does not take it, and memory holds no more",
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn refuse(&mut self, error: StoreError) {
        tracing::warn!(%error, "an answer stays in memory: the disk does not take it");
        self.refused = Some(error);
    }

    /// Lets readers see everything before `upto`.
    pub fn show(&self, upto: u64) {
        self.recording.show(upto);
    }

    /// The whole answer as the store keeps it: bytes when small, else a durable blob. Blocks.
    ///
    /// # Errors
    /// When the blob could not be made durable; the recording is as readable as before.
    pub fn payload_blocking(&mut self) -> Result<Payload, StoreError> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        if self.blob.is_none() {
            if self.recording.len() <= INLINE {
                return Ok(Payload::Bytes(self.in_memory()));
            }
            let begun = self.shelf.new_blob_blocking(&self.recording.pieces())?;
            self.goes_on_in(begun);
        }
        match self.blob.take() {
            Some(blob) => self.shelf.finish_blob_blocking(blob),
            None => Ok(Payload::Bytes(self.in_memory())),
        }
    }

    /// The whole answer in memory, wherever it is; `None` when it is larger than `limit` bytes.
    ///
    /// # Errors
    /// When the file it went to cannot be read.
    pub async fn whole(&self, limit: u64) -> Result<Option<Bytes>, BodyError> {
        if self.recording.len() > limit {
            return Ok(None);
        }
        let Some((file, len)) = self.recording.file() else {
            return Ok(Some(self.in_memory()));
        };
        let head = body::read_at(file, 0, usize::try_from(len)?).await?;
        Ok(Some(self.behind(head)))
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`whole`](Self::whole).
    pub fn whole_blocking(&self, limit: u64) -> Result<Option<Bytes>, BodyError> {
        if self.recording.len() > limit {
            return Ok(None);
        }
        let Some((file, len)) = self.recording.file() else {
            return Ok(Some(self.in_memory()));
        };
        let head = body::read_at_blocking(&file, 0, usize::try_from(len)?)?;
        Ok(Some(self.behind(head)))
    }

    /// What is in memory, behind what is in the file.
    fn behind(&self, head: Bytes) -> Bytes {
        let tail = self.in_memory();
        if tail.is_empty() {
            return head;
        }
        Bytes::from([head, tail].concat())
    }

    /// What is in memory, as one piece.
    fn in_memory(&self) -> Bytes {
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

    /// The answer is whole: readers see the rest, and their bodies end well.
    pub fn end(self) {
        self.recording.end(Ok(()));
    }

    /// The answer broke off: readers' bodies end with an error.
    pub fn fail(self, why: &str) {
        self.recording.end(Err(why.into()));
    }

    async fn spill(&mut self) -> Result<(), StoreError> {
        let begun = self.shelf.new_blob(self.recording.pieces()).await?;
        self.goes_on_in(begun);
        Ok(())
    }

    fn goes_on_in(&mut self, (blob, file): (BlobWriter, File)) {
        self.blob = Some(blob);
        self.held = 0;
        self.recording.move_to(Arc::new(file));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A no-op after `end` or `fail`.
        self.recording.end(Err("the answer was abandoned".into()));
    }
}
