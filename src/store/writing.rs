//! Who writes which generation.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::generation::Fingerprint;

/// How many groups of keys do not wait for each other; two of one key always do. Each write lasts for some
/// syncs, so there are many more than writers.
const WRITERS: usize = 1024;

/// One mutex for each group of keys.
pub(super) struct Writing(Box<[Mutex<()>; WRITERS]>);

impl Writing {
    pub(super) fn new() -> Self {
        Self(Box::new(std::array::from_fn(|_| Mutex::new(()))))
    }

    pub(super) fn begin(&self, key: &Fingerprint) -> Option<MutexGuard<'_, ()>> {
        let [.., high, low] = key.as_bytes();
        let group = usize::from(u16::from_be_bytes([*high, *low])) % WRITERS;
        let group = self.0.get(group)?;
        Some(group.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
