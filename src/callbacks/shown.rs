//! What the end of a job looks like to whoever hears of it.

use std::io::Read as _;
use std::time::Duration;

use crate::store::{BlobHash, Entry, Payload, Store, StoreError};

/// The end of a job, as callers will hear of it.
pub(super) struct Shown {
    /// The poll's answer.
    pub(super) body: String,
    /// Whether the job stays kept.
    pub(super) kept: bool,
    /// How long to wait with it.
    pub(super) after: Duration,
}

impl Shown {
    pub(super) fn success(body: String) -> Self {
        Self {
            body,
            kept: true,
            after: Duration::ZERO,
        }
    }

    pub(super) fn failure(body: String) -> Self {
        Self {
            body,
            kept: false,
            after: Duration::ZERO,
        }
    }
}

/// What a poll of a finished job shows: on the path that belongs to `submit_path`, else on any that
/// is kept; `None` when none is.
pub(super) fn shown(
    store: &dyn Store,
    entry: &Entry,
    submit_path: &str,
) -> Result<Option<String>, StoreError> {
    let Some(task) = &entry.record.task else {
        return Ok(None);
    };
    let family = if submit_path.starts_with("/v1/video/") {
        "/v1/video/"
    } else {
        "/v1/videos/"
    };
    let mut polls = task.polls.iter().zip(&entry.polls);
    let own = polls
        .clone()
        .find(|(poll, _)| poll.path.starts_with(family));
    let Some((_, payload)) = own.or_else(|| polls.next()) else {
        return Ok(None);
    };
    let bytes = match payload {
        Payload::Bytes(bytes) => bytes.to_vec(),
        Payload::Blob { hash, len, .. } => match read(store, hash, *len) {
            Ok(bytes) => bytes,
            Err(error) if error.is_damage() => return Ok(None),
            Err(error) => return Err(error),
        },
    };
    Ok(String::from_utf8(bytes).ok())
}

/// A poll is asked for again when its file cannot be read.
fn read(store: &dyn Store, hash: &BlobHash, len: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let read = store.open_blob(hash)?.take(len).read_to_end(&mut bytes);
    read.map_err(|_| StoreError::MissingBlob { hash: *hash })?;
    Ok(bytes)
}
