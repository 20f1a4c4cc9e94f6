//! Who writes which generation.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::generation::Fingerprint;

/// How many generations may be written at the same time; two of one key never are.
const WRITERS: usize = 64;

/// One mutex for each group of keys.
pub(super) struct Writing([Mutex<()>; WRITERS]);

impl Writing {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }

    pub(super) fn begin(&self, key: &Fingerprint) -> Option<MutexGuard<'_, ()>> {
        let [.., last] = key.as_bytes();
        let group = self.0.get(usize::from(*last) % WRITERS)?;
        Some(group.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
