//! The job that came to its end stays beside the one that runs in its place.

use std::sync::Arc;

use super::turns::{Turn, Turns};
use super::{Entry, Store, StoreError};
use crate::generation::Fingerprint;

/// Keeps the job that stands under `key` beside the one that takes its place, unless that is the
/// same; says where.
///
/// MONEY: one that cannot be kept whole, since a file of it is damaged, keeps the new one from
/// nothing: that has just been paid for.
pub(super) fn set_aside(
    store: &dyn Store,
    key: &Fingerprint,
    task: &str,
) -> Result<Option<Fingerprint>, StoreError> {
    let old = match store.get(key) {
        // Writing the new one keeps it, under a name of its own.
        Err(StoreError::NewerFormat { .. }) => None,
        other => other?,
    };
    let Some(mut old) = old else {
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
    match store.put(&old) {
        Ok(()) => Ok(Some(place)),
        Err(error) if error.is_damage() => {
            tracing::warn!(key = key.short(), task = id, %error, "a damaged job is not set aside");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The entry of `key` in its turn; in that of its place too, when a job stands aside for it.
pub(super) fn look<'a>(
    store: &dyn Store,
    turns: &'a Turns,
    key: &Fingerprint,
) -> Result<(Turn<'a>, Option<Entry>), StoreError> {
    let mut turn = turns.of(key);
    let mut place = None;
    loop {
        let entry = store.get(key)?;
        let previous = entry.as_ref().and_then(|entry| entry.record.previous);
        let Some(previous) = previous.filter(|previous| place != Some(*previous)) else {
            return Ok((turn, entry));
        };
        // It may change while neither turn is ours.
        drop(turn);
        turn = turns.both(key, &previous);
        place = Some(previous);
    }
}

/// Forgets an entry; a job that was set aside for it stands again. Needs the turn of both.
///
/// One that is damaged stays where it is, for a restore from a backup.
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
    match store.put(&old) {
        Ok(()) => {}
        Err(error) if error.is_damage() => {
            tracing::warn!(key = key.short(), %error, "a damaged job that was set aside stays there");
            return store.remove(&key).map(|_| None);
        }
        Err(error) => return Err(error),
    }
    store.remove(&place)?;
    Ok(Some(Arc::new(old)))
}
