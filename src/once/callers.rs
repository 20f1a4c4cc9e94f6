//! How many requests asked for each generation in this process's life, for those who look on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::generation::Fingerprint;

/// How many generations are counted at once; beyond that, counts are forgotten.
const MOST: usize = 16 * 1024;

/// Counts of requests. What is not counted, or no longer, was asked for once.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<HashMap<Fingerprint, u64>>);

impl Callers {
    /// One more request asks for the generation.
    pub(super) fn note(&self, key: Fingerprint) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST && !counts.contains_key(&key) {
            counts.retain(|_, count| *count > 1);
            if counts.len() > MOST / 2 {
                counts.clear();
            }
        }
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// How many did, at least one.
    pub(super) fn of(&self, key: &Fingerprint) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(key).copied().unwrap_or(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Fingerprint::from_bytes(bytes)
    }

    #[test]
    fn requests_are_counted_for_each_generation() {
        let callers = Callers::default();
        assert_eq!(callers.of(&key(1)), 1);
        for _ in 0..3 {
            callers.note(key(1));
        }
        callers.note(key(2));
        assert_eq!((callers.of(&key(1)), callers.of(&key(2))), (3, 1));
    }

    #[test]
    fn counts_never_outgrow_their_room() {
        let callers = Callers::default();
        callers.note(key(0));
        callers.note(key(0));
        for n in 1..MOST + 10 {
            callers.note(key(n));
        }
        assert_eq!(callers.of(&key(0)), 2, "those who were alone go first");
        for n in 0..3 * MOST {
            callers.note(key(n));
            callers.note(key(n));
            assert!(callers.0.lock().unwrap().len() <= MOST);
        }
    }
}
