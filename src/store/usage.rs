//! When generations were last asked for.
//!
//! A hit writes nothing: its time stands in memory until a batch of them goes to the index. What a
//! crash loses costs only the order in which generations are evicted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::index::{Away, Index};
use crate::generation::Fingerprint;

/// How many times wait for their batch at most; further ones are not noted until it is written.
const WAITING_MAX: usize = 16 * 1024;

/// The times that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<BTreeMap<Fingerprint, Timestamp>>);

impl Usage {
    /// To the millisecond, as the index holds it: a listing shows the same before and after.
    pub(super) fn note(&self, key: &Fingerprint, at: Timestamp) {
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX || waiting.contains_key(key) {
            waiting.insert(*key, at);
        }
    }

    pub(super) fn of(&self, key: &Fingerprint) -> Option<Timestamp> {
        self.waiting().get(key).copied()
    }

    /// Writes the batch. Without an index the times go on waiting.
    pub(super) fn write(&self, index: &Index) {
        let batch = std::mem::take(&mut *self.waiting());
        if batch.is_empty() {
            return;
        }
        if let Err(Away) = index.note_used(&batch) {
            let mut waiting = self.waiting();
            for (key, at) in batch {
                waiting.entry(key).or_insert(at);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
