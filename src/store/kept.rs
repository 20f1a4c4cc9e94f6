//! What a listing shows of a kept generation, from the index and without a look at any body.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::StoreError;
use super::disk::DiskStore;
use super::row::Row;
use crate::generation::{Fingerprint, Kind};

/// The fewest digits that name a key.
pub(super) const SHORTEST: usize = 8;

/// A kept generation at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its key.
    pub key: Fingerprint,
    /// Its kind.
    pub kind: Kind,
    /// The path it was sent to.
    pub path: String,
    /// The model named in the request, when it named one.
    pub model: Option<String>,
    /// The status of its answer.
    pub status: u16,
    /// Its size with all its blobs, in bytes; a blob that others need too counts for each.
    pub bytes: u64,
    /// When its answer was complete.
    pub created_at: Timestamp,
    /// When it was last asked for; when it was made, if never.
    pub last_used_at: Timestamp,
    /// Whether there is still something to be done for it: then it is not evicted.
    pub open: bool,
    /// Whether only its job is followed, and nothing of it is kept: no listing shows it.
    pub passed_by: bool,
}

impl Kept {
    fn of(key: Fingerprint, row: Row, used: Option<Timestamp>) -> Self {
        let (bytes, open) = (row.bytes(), row.may_be_open());
        let last_used_at = used.map_or(row.created_at, |used| used.max(row.created_at));
        Self {
            key,
            kind: row.kind,
            path: row.path,
            model: row.model,
            status: row.status,
            bytes,
            created_at: row.created_at,
            last_used_at,
            open,
            passed_by: row.passed_by,
        }
    }
}

/// Shows the generations behind `after` to `visit`, in the order of their keys.
pub(super) fn list(
    store: &DiskStore,
    after: Option<&Fingerprint>,
    visit: &mut dyn FnMut(Kept) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let first = after.map_or(0, |key| key.as_bytes()[0]);
    for shard in first..=u8::MAX {
        for kept in one_shard(store, shard)? {
            if after.is_none_or(|after| kept.key > *after) && visit(kept).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// One generation.
pub(super) fn one(store: &DiskStore, key: &Fingerprint) -> Result<Option<Kept>, StoreError> {
    let waiting = store.usage.of(key);
    if let Some(row) = store.index.get(key) {
        let used = waiting.or_else(|| store.index.used_at(key));
        return Ok(Some(Kept::of(*key, row, used)));
    }
    Ok(from_file(store, key)?.map(|row| Kept::of(*key, row, waiting)))
}

/// The keys that begin with these digits.
pub(super) fn find(store: &DiskStore, digits: &str) -> Result<Vec<Fingerprint>, StoreError> {
    let shard = digits
        .get(..2)
        .and_then(|two| u8::from_str_radix(two, 16).ok());
    let (Some(shard), true) = (shard, digits.len() >= SHORTEST) else {
        return Ok(Vec::new());
    };
    let found = store.files.shard(shard)?;
    let keys = found.files.into_keys();
    Ok(keys
        .filter(|key| key.to_string().starts_with(digits))
        .collect())
}

fn one_shard(store: &DiskStore, shard: u8) -> Result<Vec<Kept>, StoreError> {
    let Ok((rows, used)) = store.index.rows(shard) else {
        return without_index(store, shard);
    };
    let mut all = Vec::with_capacity(rows.len());
    for (key, row) in rows {
        let row = match row {
            Some(row) => Some(row),
            None => from_file(store, &key)?,
        };
        let used = store.usage.of(&key).or_else(|| used.get(&key).copied());
        all.extend(row.map(|row| Kept::of(key, row, used)));
    }
    Ok(all)
}

fn without_index(store: &DiskStore, shard: u8) -> Result<Vec<Kept>, StoreError> {
    let mut all = Vec::new();
    for key in store.files.shard(shard)?.files.keys() {
        let row = from_file(store, key)?;
        all.extend(row.map(|row| Kept::of(*key, row, store.usage.of(key))));
    }
    Ok(all)
}

/// The row as the index would have it. What cannot be read is left out.
fn from_file(store: &DiskStore, key: &Fingerprint) -> Result<Option<Row>, StoreError> {
    match store.files.read(key) {
        Ok(file) => Ok(file.map(|file| Row::of(file.stamp, &file.entry))),
        Err(error @ (StoreError::Damaged { .. } | StoreError::NewerFormat { .. })) => {
            tracing::warn!(%key, %error, "left out of a listing");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
