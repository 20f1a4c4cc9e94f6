//! A set that forgets what came first.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// How many runs are remembered: those that end at once, many times over.
const MOST: usize = 64 * 1024;

/// The runs that came last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    runs: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Recent {
    /// Adds a run; `false` when it is there already.
    pub(super) fn insert(&mut self, run: Uuid) -> bool {
        if !self.runs.insert(run) {
            return false;
        }
        self.order.push_back(run);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.runs.remove(&oldest);
        }
        true
    }

    /// Takes back the run that was added last.
    pub(super) fn remove(&mut self, run: Uuid) {
        if self.runs.remove(&run) {
            self.order.retain(|other| *other != run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_the_last_ones_and_stays_small() {
        let mut recent = Recent::default();
        let run = |n: usize| Uuid::from_u128(n as u128);
        for n in 0..2 * MOST {
            assert!(recent.insert(run(n)));
        }
        assert_eq!((recent.runs.len(), recent.order.len()), (MOST, MOST));
        assert!(!recent.insert(run(2 * MOST - 1)));
        assert!(recent.insert(run(0)), "long ago");
        recent.remove(run(0));
        assert!(recent.insert(run(0)));
    }
}
