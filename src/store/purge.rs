//! Forgetting what is kept because a person says so.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evict::{Forgotten, forget};
use super::keeper::LEFT_OVER;
use super::{Kept, Shelf, Store, StoreError};
use crate::clock;
use crate::generation::{Fingerprint, Kind};

/// How many generations are looked at before some of them go.
const BATCH: usize = 1_024;

/// What is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purge {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only what is at least so old.
    pub older_than: Option<Duration>,
}

impl Purge {
    fn takes(&self, kept: &Kept, now: Timestamp) -> bool {
        let age = clock::age_seconds(now, kept.created_at);
        // What was kept after the word was said is not meant by it.
        kept.created_at <= now
            && self.kind.is_none_or(|kind| kind == kept.kind)
            && self.older_than.is_none_or(|old| age >= old.as_secs())
    }
}

/// What a purge came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Generations that were forgotten.
    pub generations: u64,
    /// What that freed, in bytes, blobs that a crash had left included.
    pub bytes: u64,
    /// Generations that stay, since a job of theirs runs or a file of theirs is to be fetched.
    pub running: u64,
    /// Generations that stay, since an identical call is under way or its outcome unknown.
    pub unknown: u64,
}

/// Forgets every finished generation that `what` means, and blobs of the day before that nobody
/// needs; `others` is what everybody else uses the same store by, if anybody does.
///
/// `progress` hears how many have been looked at since it was last called, and may break; what has
/// gone by then is gone.
///
/// # Errors
/// When not all could be listed, or one could not be removed.
pub fn purge(
    store: &dyn Store,
    others: Option<&Shelf>,
    what: &Purge,
    now: Timestamp,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Purged, StoreError> {
    // What the index says is only a guess before that.
    store.survey(&|| false)?;
    let mut done = Purged::default();
    let mut after = None;
    loop {
        let batch = next(store, after.as_ref())?;
        let beside = set_aside_for_running_jobs(store)?;
        for kept in batch.iter().filter(|kept| what.takes(kept, now)) {
            let forget = || forget_unchanged(store, kept);
            let forgotten = match others {
                _ if beside.contains(&kept.key) => Forgotten::Open,
                Some(others) => others.in_turn(&kept.key, forget)?,
                None => forget()?,
            };
            match forgotten {
                Forgotten::Gone(bytes) => {
                    done.generations += 1;
                    done.bytes += bytes;
                }
                Forgotten::Open => done.running += 1,
                Forgotten::Pending => done.unknown += 1,
                Forgotten::Absent => {}
            }
            if progress(1).is_break() {
                return Ok(done);
            }
        }
        if batch.len() < BATCH {
            break;
        }
        after = batch.last().map(|kept| kept.key);
    }
    if let Ok(before) = now.checked_sub(LEFT_OVER) {
        done.bytes += store.free_blobs(before)?.bytes;
    }
    Ok(done)
}

fn next(store: &dyn Store, after: Option<&Fingerprint>) -> Result<Vec<Kept>, StoreError> {
    let mut batch = Vec::new();
    store.list_kept(after, &mut |kept| {
        batch.push(kept);
        if batch.len() < BATCH {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(batch)
}

/// MONEY: a job that came to its end stays beside the one that runs in its place, and comes back if
/// that one fails.
pub(super) fn set_aside_for_running_jobs(
    store: &dyn Store,
) -> Result<BTreeSet<Fingerprint>, StoreError> {
    let mut beside = BTreeSet::new();
    store.open_work(&mut |record| {
        beside.extend(record.previous);
        ControlFlow::Continue(())
    })?;
    Ok(beside)
}

/// MONEY: an answer that took the place of the one that was seen has just been paid for.
fn forget_unchanged(store: &dyn Store, seen: &Kept) -> Result<Forgotten, StoreError> {
    let same = |kept: Kept| kept.created_at == seen.created_at;
    if !store.glance(&seen.key)?.is_some_and(same) {
        return Ok(Forgotten::Absent);
    }
    match forget(store, &seen.key, None) {
        Err(StoreError::NewerFormat { .. }) => Ok(Forgotten::Absent),
        other => other,
    }
}

/// Forgets one generation, which nobody else may be changing. One that stands aside for a running
/// job counts as running; one that is damaged can be forgotten too.
///
/// # Errors
/// As [`Store::remove`].
pub fn remove(store: &dyn Store, key: &Fingerprint) -> Result<Forgotten, StoreError> {
    if set_aside_for_running_jobs(store)?.contains(key) {
        return Ok(Forgotten::Open);
    }
    match forget(store, key, None)? {
        Forgotten::Absent if store.intent(key)?.is_some() => Ok(Forgotten::Pending),
        // What cannot be read is not shown at a glance.
        Forgotten::Absent => {
            let before = store.kept_bytes();
            let removed = store.remove(key)?;
            let freed = before.saturating_sub(store.kept_bytes());
            Ok(if removed {
                Forgotten::Gone(freed)
            } else {
                Forgotten::Absent
            })
        }
        forgotten => Ok(forgotten),
    }
}
