//! Entries that are asked for often, whole and in memory.
//!
//! A kept answer never changes without a `put` or a `remove` of its key, so one that is at hand is
//! served without a look at the disk and without another thread. What is at hand was checked when it
//! was read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::record::{Entry, Payload};
use crate::generation::Fingerprint;

/// How much is at hand at most, in bytes.
const MOST: u64 = 24 * 1024 * 1024;
/// The largest body that is, in bytes.
pub(super) const LARGEST: u64 = 1024 * 1024;
/// What an entry takes beside its bodies, about.
const RECORD: u64 = 2 * 1024;
/// How many entries there may be before the tables grow. It also bounds the parts that the room is divided
/// into to eight, of which each has room for the largest body.
const FIRST_ROOM: usize = 256;

/// Groups of keys that do not wait for each other.
const GROUPS: usize = 64;

/// What is at hand.
pub(super) struct Warm {
    entries: Cache<Fingerprint, Arc<Entry>, Weight>,
    /// How often something in a group has changed.
    changes: [Mutex<u64>; GROUPS],
}

/// How things stood when an entry began to be read.
#[derive(Clone, Copy)]
pub(super) struct Before(u64);

#[derive(Clone)]
struct Weight;

impl Weighter<Fingerprint, Arc<Entry>> for Weight {
    fn weight(&self, _: &Fingerprint, entry: &Arc<Entry>) -> u64 {
        let bodies = std::iter::once(&entry.body).chain(&entry.polls);
        RECORD + bodies.map(Payload::len).sum::<u64>()
    }
}

impl Warm {
    pub(super) fn new() -> Self {
        Self {
            entries: Cache::with_weighter(FIRST_ROOM, MOST, Weight),
            changes: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// The entry of `key`, if it is at hand.
    pub(super) fn get(&self, key: &Fingerprint) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// To be called before an entry is read that may be [kept](Self::keep) at hand.
    pub(super) fn before(&self, key: &Fingerprint) -> Before {
        Before(*self.changes_of(key))
    }

    /// Has an entry at hand, unless something has changed since `before`: then it may be an old one.
    /// One that is not whole in memory is left out: it would keep its blobs from being removed.
    pub(super) fn keep(&self, before: Before, entry: &Arc<Entry>) {
        let mut bodies = std::iter::once(&entry.body).chain(&entry.polls);
        if !bodies.all(|payload| matches!(payload, Payload::Bytes(_))) {
            return;
        }
        let changes = self.changes_of(&entry.record.key);
        if *changes == before.0 {
            self.entries.insert(entry.record.key, entry.clone());
        }
    }

    /// The entry of `key` is about to have changed: whoever asks from now on gets what stands.
    pub(super) fn forget(&self, key: &Fingerprint) {
        let mut changes = self.changes_of(key);
        *changes = changes.wrapping_add(1);
        self.entries.remove(key);
    }

    fn changes_of(&self, key: &Fingerprint) -> MutexGuard<'_, u64> {
        let [.., last] = key.as_bytes();
        let group = usize::from(*last) % GROUPS;
        self.changes[group]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
