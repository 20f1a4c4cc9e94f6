//! What looks at what is kept have come to, until somebody asks for it.
//!
//! Folders are looked at by whoever comes first: the one who looks at all of them, a write into one that
//! nobody has looked at, an index that is opened anew. What is to be told of it must not hang on who it was.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reconcile::Tally;

/// What was found; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found(Arc<Finds>);

#[derive(Debug, Default)]
struct Finds {
    /// What nobody has asked for yet.
    untold: Mutex<Tally>,
    /// Files that cannot be read as what was written: each is told once.
    damaged: Mutex<BTreeSet<PathBuf>>,
    /// Whether there are generations that a newer version kept.
    newer: AtomicBool,
}

impl Found {
    /// Remembers what a look says of all that is kept; gives back the damaged files of which nobody had
    /// known.
    pub(super) fn remember(&self, tally: &Tally) -> Vec<PathBuf> {
        if tally.newer {
            self.0.newer.store(true, Ordering::Relaxed);
        }
        let mut damaged = self.damaged();
        let new = |path: &&PathBuf| damaged.insert((*path).clone());
        tally.damaged.iter().filter(new).cloned().collect()
    }

    /// Notes what a look has come to.
    pub(super) fn note(&self, mut tally: Tally) {
        tally.damaged = self.remember(&tally);
        self.untold().add(tally);
    }

    /// The same for a look at what was counted before, or will be again.
    pub(super) fn note_again(&self, tally: &Tally) {
        let damaged = self.remember(tally);
        self.untold().add(Tally {
            damaged,
            found_open: tally.found_open,
            ..Tally::default()
        });
    }

    /// What was noted since this was last asked.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut *self.untold())
    }

    /// Whether every generation that was looked at could be read.
    pub(super) fn all_read(&self) -> bool {
        self.damaged().is_empty()
    }

    /// Whether there are generations of which only a newer version knows what they need.
    pub(super) fn has_newer(&self) -> bool {
        self.0.newer.load(Ordering::Relaxed)
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        let damaged = self.0.damaged.lock();
        damaged.unwrap_or_else(PoisonError::into_inner)
    }

    fn untold(&self) -> MutexGuard<'_, Tally> {
        let untold = self.0.untold.lock();
        untold.unwrap_or_else(PoisonError::into_inner)
    }
}
