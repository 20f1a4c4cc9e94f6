//! Whose turn it is to change a generation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::generation::Fingerprint;

/// How many groups of generations do not wait for each other. Each change lasts for some syncs, so there
/// are many more than changes at a time.
const STRIPES: usize = 1024;

/// Changes of one generation happen one after another; clones share the order. Blocks.
#[derive(Clone)]
pub(super) struct Turns(Arc<[Mutex<()>; STRIPES]>);

/// A turn, or two of them; over when it is dropped.
pub(super) struct Turn<'a> {
    _first: MutexGuard<'a, ()>,
    _second: Option<MutexGuard<'a, ()>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::new(()))))
    }
}

impl Turns {
    /// Waits for the turn of `key`. Whoever has one takes no other: see [`both`](Self::both).
    pub(super) fn of(&self, key: &Fingerprint) -> Turn<'_> {
        Turn {
            _first: self.lock(stripe(key)),
            _second: None,
        }
    }

    /// Waits for the turns of both, in an order that is the same for everybody.
    pub(super) fn both(&self, one: &Fingerprint, other: &Fingerprint) -> Turn<'_> {
        let (one, other) = (stripe(one), stripe(other));
        let first = self.lock(one.min(other));
        let second = (one != other).then(|| self.lock(one.max(other)));
        Turn {
            _first: first,
            _second: second,
        }
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, ()> {
        self.0[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn stripe(key: &Fingerprint) -> usize {
    let [high, low, ..] = key.as_bytes();
    usize::from(u16::from_be_bytes([*high, *low])) % STRIPES
}
