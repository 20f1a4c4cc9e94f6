//! A map that forgets what came first.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::ledger::Outcome;

/// How many runs are remembered: those that end at once, many times over.
const MOST: usize = 64 * 1024;

/// The runs that came last, each with how it was booked.
#[derive(Debug, Default)]
pub(super) struct Recent {
    runs: HashMap<Uuid, Outcome>,
    order: VecDeque<Uuid>,
}

impl Recent {
    /// How a run is booked, if it is there.
    pub(super) fn of(&self, run: Uuid) -> Option<Outcome> {
        self.runs.get(&run).copied()
    }

    /// Adds a run, or says anew how it is booked.
    pub(super) fn insert(&mut self, run: Uuid, outcome: Outcome) {
        if self.runs.insert(run, outcome).is_some() {
            return;
        }
        self.order.push_back(run);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.runs.remove(&oldest);
        }
    }

    /// Takes a run back.
    pub(super) fn remove(&mut self, run: Uuid) {
        if self.runs.remove(&run).is_some() {
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
            recent.insert(run(n), Outcome::Failed);
        }
        assert_eq!((recent.runs.len(), recent.order.len()), (MOST, MOST));
        let last = run(2 * MOST - 1);
        recent.insert(last, Outcome::Paid);
        assert_eq!(recent.of(last), Some(Outcome::Paid));
        assert_eq!((recent.runs.len(), recent.order.len()), (MOST, MOST));
        assert_eq!(recent.of(run(0)), None, "long ago");
        recent.remove(last);
        assert_eq!(recent.of(last), None);
        assert_eq!(recent.order.len(), MOST - 1);
    }
}
