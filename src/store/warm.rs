//! Entries that are asked for often, whole and in memory.
//!
//! A kept answer never changes without a `put` or a `remove` of its key, so one that is at hand is
//! served without a look at the disk and without another thread. What is at hand was checked when it
//! was read.
//!
//! Not everybody who reads an entry looks here first. So while a key changes nothing of it is at hand:
//! whoever has seen what stands now is never shown afterwards what stood before.

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
    groups: [Mutex<Group>; GROUPS],
}

#[derive(Default)]
struct Group {
    /// How many changes of its keys have begun and ended.
    changes: u64,
    /// The keys that are changing now.
    changing: Vec<Fingerprint>,
}

/// A change of an entry, from before anybody can see it until everybody does.
#[must_use = "the change is over when this is dropped"]
pub(super) struct Changing<'a> {
    warm: &'a Warm,
    key: Fingerprint,
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
            groups: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// The entry of `key`, if it is at hand.
    pub(super) fn get(&self, key: &Fingerprint) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// To be called before an entry is read that may be [kept](Self::keep) at hand.
    pub(super) fn before(&self, key: &Fingerprint) -> Before {
        Before(self.group_of(key).changes)
    }

    /// Has an entry at hand, unless something changes or has changed since `before`: then it may be an
    /// old one. One that is not whole in memory is left out: it would keep its blobs from being removed.
    pub(super) fn keep(&self, before: Before, entry: &Arc<Entry>) {
        let mut bodies = std::iter::once(&entry.body).chain(&entry.polls);
        if !bodies.all(|payload| matches!(payload, Payload::Bytes(_))) {
            return;
        }
        let key = &entry.record.key;
        let group = self.group_of(key);
        if group.changes == before.0 && !group.changing.contains(key) {
            self.entries.insert(*key, entry.clone());
        }
    }

    /// The entry of `key` is about to change: it is not at hand until it has.
    pub(super) fn change(&self, key: &Fingerprint) -> Changing<'_> {
        let mut group = self.group_of(key);
        group.changes = group.changes.wrapping_add(1);
        group.changing.push(*key);
        self.entries.remove(key);
        Changing {
            warm: self,
            key: *key,
        }
    }

    fn group_of(&self, key: &Fingerprint) -> MutexGuard<'_, Group> {
        let [.., last] = key.as_bytes();
        let group = usize::from(*last) % GROUPS;
        self.groups[group]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let mut group = self.warm.group_of(&self.key);
        // Whoever has read the key meanwhile may have read what stood before.
        group.changes = group.changes.wrapping_add(1);
        let at = group.changing.iter().position(|key| *key == self.key);
        at.map(|at| group.changing.swap_remove(at));
    }
}
