//! What goes when there is no room, and what goes by its age.

use std::collections::{BTreeSet, BinaryHeap};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::misses::Misses;
use super::purge::set_aside_for_running_jobs;
use super::{Kept, Shelf, Store, StoreError};
use crate::clock;
use crate::config::{Cache, Ttl};
use crate::generation::{Fingerprint, Kind};

/// How many expired generations are noted before they go.
const BATCH: usize = 1_024;

/// How many are chosen at a time to make room.
const AT_ONCE: usize = 64 * 1_024;

/// How much may be kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// All kept bytes.
    max_size: u64,
    /// For the kinds that are not kept for ever.
    ttl: Vec<(Kind, Duration)>,
}

impl Rules {
    /// The rules of a configuration.
    pub fn of(cache: &Cache) -> Self {
        let ttl = |kind: Kind| match cache.policy(kind).ttl {
            Ttl::For(ttl) => Some((kind, ttl)),
            Ttl::Forever => None,
        };
        Self {
            max_size: cache.max_size,
            ttl: Kind::ALL.into_iter().filter_map(ttl).collect(),
        }
    }

    pub(super) fn max_size(&self) -> u64 {
        self.max_size
    }

    /// What is left once there was no room: a little less, so that not every answer evicts one.
    fn target(&self) -> u64 {
        self.max_size / 100 * 95
    }

    /// By the same count as a look-up goes by.
    fn has_expired(&self, kept: &Kept, now: Timestamp) -> bool {
        let age = clock::age_seconds(now, kept.created_at);
        let ttl = self.ttl.iter().find(|(kind, _)| *kind == kept.kind);
        ttl.is_some_and(|(_, ttl)| age >= ttl.as_secs())
    }
}

/// What has been evicted since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Generations older than their kind's `ttl`.
    pub expired: u64,
    /// Generations that made room for others.
    pub for_room: u64,
    /// What that freed, in bytes.
    pub bytes: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    expired: AtomicU64,
    for_room: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(super) fn read(&self) -> Evicted {
        Evicted {
            expired: self.expired.load(Ordering::Relaxed),
            for_room: self.for_room.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

#[derive(Clone, Copy)]
enum Why {
    Expired,
    ForRoom,
}

/// What became of an attempt to forget a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It is gone, and so many bytes with it.
    Gone(u64),
    /// It stays: its job runs, or a file of it is yet to be fetched.
    Open,
    /// It stays: an identical call is under way, or its outcome unknown.
    Pending,
    /// There was none, or not any longer the one that was seen.
    Absent,
}

/// Forgets a generation, unless there is still something to be done for it. With `seen`, only if
/// nothing has happened to it since; a request for it counts.
///
/// # Errors
/// As [`Store::remove`].
pub fn forget(
    store: &dyn Store,
    key: &Fingerprint,
    seen: Option<&Kept>,
) -> Result<Forgotten, StoreError> {
    let Some(kept) = store.glance(key)? else {
        return Ok(Forgotten::Absent);
    };
    if kept.open {
        return Ok(Forgotten::Open);
    }
    if seen.is_some_and(|seen| *seen != kept) {
        return Ok(Forgotten::Absent);
    }
    if store.intent(key)?.is_some() {
        return Ok(Forgotten::Pending);
    }
    let before = store.kept_bytes();
    if !store.remove(key)? {
        return Ok(Forgotten::Absent);
    }
    let freed = before.saturating_sub(store.kept_bytes());
    Ok(Forgotten::Gone(freed))
}

/// One pass over what is kept.
pub(super) struct Pass<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) shelf: &'a Shelf,
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
    pub(super) tally: &'a Tally,
    /// Says that the program ends.
    pub(super) is_over: &'a dyn Fn() -> bool,
}

impl Pass<'_> {
    /// Evicts what is older than its kind's `ttl`.
    ///
    /// # Errors
    /// When not all could be listed, or some could not be removed and none could.
    pub(super) fn expired(&self) -> Result<(), StoreError> {
        if self.rules.ttl.is_empty() {
            return Ok(());
        }
        let mut misses = Misses::default();
        let mut after: Option<Fingerprint> = None;
        loop {
            let mut batch = Vec::new();
            self.each(after, &mut |kept| {
                after = Some(kept.key);
                if self.rules.has_expired(&kept, self.now) {
                    batch.push(kept);
                }
                if batch.len() < BATCH {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            for kept in &batch {
                if misses.note(self.evict(kept, Why::Expired)).is_break() {
                    return misses.verdict();
                }
            }
            if batch.len() < BATCH || (self.is_over)() {
                return misses.verdict();
            }
        }
    }

    /// Evicts the least recently used until there is room; says whether there is.
    ///
    /// # Errors
    /// When not all could be listed, or some could not be removed and none could.
    pub(super) fn for_room(&self) -> Result<bool, StoreError> {
        // What was let go by those who had it in hand takes nobody's place.
        if let Err(error) = self.store.free_blobs(Timestamp::UNIX_EPOCH) {
            tracing::warn!(%error, "blobs that nobody needs stay for now");
        }
        if settled_bytes(self.store) <= self.rules.max_size {
            return Ok(true);
        }
        // MONEY: what was paid for would be gone, and its bytes would stay.
        if self.store.blobs_stay() {
            return Ok(false);
        }
        let mut misses = Misses::default();
        let mut stay = BTreeSet::new();
        while settled_bytes(self.store) > self.rules.target() {
            let before = (misses.gone, stay.len());
            if self.round(&mut stay, &mut misses)?.is_break() || (self.is_over)() {
                break;
            }
            // What shares its blobs frees less than it seems to, so one round may not do.
            if before == (misses.gone, stay.len()) {
                break;
            }
        }
        misses.verdict()?;
        Ok(settled_bytes(self.store) <= self.rules.max_size)
    }

    /// Evicts as many as seem to be too much, and notes in `stay` those that cannot go.
    fn round(
        &self,
        stay: &mut BTreeSet<Fingerprint>,
        misses: &mut Misses,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut spared = set_aside_for_running_jobs(self.store)?;
        spared.extend(stay.iter());
        let oldest = self.least_recently_used(&spared)?;
        // MONEY: a job may have been set aside since.
        let spared = set_aside_for_running_jobs(self.store)?;
        for kept in oldest.iter().filter(|kept| !spared.contains(&kept.key)) {
            if settled_bytes(self.store) <= self.rules.target() || (self.is_over)() {
                break;
            }
            let forgotten = self.evict(kept, Why::ForRoom);
            if !matches!(forgotten, Ok(Forgotten::Gone(_) | Forgotten::Absent)) {
                stay.insert(kept.key);
            }
            if misses.note(forgotten).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// As few of the least recently used as are too much, the oldest first.
    fn least_recently_used(&self, spared: &BTreeSet<Fingerprint>) -> Result<Vec<Kept>, StoreError> {
        let excess = settled_bytes(self.store).saturating_sub(self.rules.target());
        let (mut oldest, mut bytes) = (BinaryHeap::new(), 0_u64);
        self.each(None, &mut |kept| {
            if !spared.contains(&kept.key) {
                bytes = bytes.saturating_add(kept.bytes);
                oldest.push(ByAge(kept));
            }
            while let Some(ByAge(newest)) = oldest.peek() {
                if oldest.len() <= AT_ONCE && bytes.saturating_sub(newest.bytes) < excess {
                    break;
                }
                bytes = bytes.saturating_sub(newest.bytes);
                oldest.pop();
            }
            ControlFlow::Continue(())
        })?;
        let oldest = oldest.into_sorted_vec();
        Ok(oldest.into_iter().map(|ByAge(kept)| kept).collect())
    }

    /// Shows what may be evicted.
    fn each(
        &self,
        after: Option<Fingerprint>,
        visit: &mut dyn FnMut(Kept) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.list_kept(after.as_ref(), &mut |kept| {
            if (self.is_over)() {
                ControlFlow::Break(())
            } else if kept.open {
                ControlFlow::Continue(())
            } else {
                visit(kept)
            }
        })
    }

    /// Evicts one generation, if nothing has happened to it meanwhile.
    fn evict(&self, kept: &Kept, why: Why) -> Result<Forgotten, StoreError> {
        if (self.is_over)() {
            return Ok(Forgotten::Absent);
        }
        let forgotten = self
            .shelf
            .in_turn(&kept.key, || forget(self.store, &kept.key, Some(kept)));
        let bytes = match forgotten {
            Ok(Forgotten::Gone(bytes)) => bytes,
            Err(StoreError::NewerFormat { .. }) => return Ok(Forgotten::Open),
            Err(error) => {
                tracing::warn!(key = kept.key.short(), %error, "it cannot be evicted, and stays for now");
                return Err(error);
            }
            other => return other,
        };
        let (count, why) = match why {
            Why::Expired => (&self.tally.expired, "it has expired"),
            Why::ForRoom => (&self.tally.for_room, "to make room"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        tracing::info!(key = kept.key.short(), kind = %kept.kind, bytes, why, "evicted");
        Ok(Forgotten::Gone(bytes))
    }
}

/// What counts for what must go, in bytes: what somebody only has in hand is gone without an
/// eviction, or counts once a generation needs it.
pub(super) fn settled_bytes(store: &dyn Store) -> u64 {
    store.kept_bytes().saturating_sub(store.passing_bytes())
}

/// Ordered by when it was last asked for.
struct ByAge(Kept);

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let order = |kept: &Kept| (kept.last_used_at, kept.key);
        order(&self.0).cmp(&order(&other.0))
    }
}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByAge {}
