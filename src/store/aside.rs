//! The job that came to its end stays beside the one that runs in its place.

use std::sync::Arc;

use super::{Entry, Store, StoreError};
use crate::generation::Fingerprint;

/// Keeps the job that stands under `key` beside the one that takes its place, unless that is the
/// same; says where.
pub(super) fn set_aside(
    store: &dyn Store,
    key: &Fingerprint,
    task: &str,
) -> Result<Option<Fingerprint>, StoreError> {
    let Some(mut old) = store.get(key)? else {
        return Ok(None);
    };
    let Some(id) = old.record.task.as_ref().map(|task| task.id.clone()) else {
        return Ok(None);
    };
    if id == task {
        return Ok(old.record.previous);
    }
    let mut place = blake3::Hasher::new_derive_key("reprise 2026-11 job set aside, format 1");
    place.update(key.as_bytes()).update(id.as_bytes());
    let place = Fingerprint::from_bytes(*place.finalize().as_bytes());
    old.record.key = place;
    store.put(&old)?;
    Ok(Some(place))
}

/// Forgets an entry; a job that was set aside for it stands again.
pub(super) fn bring_back(
    store: &dyn Store,
    entry: &Entry,
) -> Result<Option<Arc<Entry>>, StoreError> {
    let key = entry.record.key;
    let old = match &entry.record.previous {
        Some(place) => store.get(place)?,
        None => None,
    };
    let Some(mut old) = old else {
        return store.remove(&key).map(|_| None);
    };
    let place = std::mem::replace(&mut old.record.key, key);
    store.put(&old)?;
    store.remove(&place)?;
    Ok(Some(Arc::new(old)))
}
