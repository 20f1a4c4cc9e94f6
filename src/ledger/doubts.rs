//! Runs whose outcome stayed unknown: a later one of the same generation may be a second payment.

use std::collections::HashMap;

use uuid::Uuid;

use super::Outcome;
use crate::generation::Fingerprint;

/// How many are remembered at most: some 100 bytes each. A team that has more has other worries.
const MOST: usize = 100_000;

/// The runs of unknown outcome, by what they were to make.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    runs: HashMap<Fingerprint, Vec<Option<Uuid>>>,
    count: usize,
}

impl Doubts {
    /// Notes how a run ended, and says whether it may have been paid for twice.
    ///
    /// One doubt makes one payment doubtful: whoever runs it a third time has asked for that.
    pub(super) fn note(&mut self, key: Fingerprint, run: Option<Uuid>, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Unknown => {
                self.clear_own(&key, run);
                if self.count < MOST {
                    self.runs.entry(key).or_default().push(run);
                    self.count += 1;
                }
                false
            }
            Outcome::Failed => {
                self.clear_own(&key, run);
                false
            }
            Outcome::Paid => {
                self.clear_own(&key, run);
                self.take(&key)
            }
            Outcome::Hit | Outcome::Joined => false,
        }
    }

    /// Takes one doubt about `key` away; whether there was one.
    pub(super) fn take(&mut self, key: &Fingerprint) -> bool {
        let Some(runs) = self.runs.get_mut(key) else {
            return false;
        };
        let taken = runs.pop().is_some();
        self.count -= usize::from(taken);
        self.tidy(key);
        taken
    }

    /// Whatever is known of a run now, it is no longer unknown.
    fn clear_own(&mut self, key: &Fingerprint, run: Option<Uuid>) {
        let (Some(runs), Some(_)) = (self.runs.get_mut(key), run) else {
            return;
        };
        let before = runs.len();
        runs.retain(|other| *other != run);
        self.count -= before - runs.len();
        self.tidy(key);
    }

    fn tidy(&mut self, key: &Fingerprint) {
        if self.runs.get(key).is_some_and(Vec::is_empty) {
            self.runs.remove(key);
        }
    }

    /// What there are doubts about.
    pub(super) fn keys(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.runs.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, Hit, Joined, Paid, Unknown};

    #[test]
    fn a_payment_is_doubtful_once_for_each_doubt() {
        let key = Fingerprint::from_bytes([1; 32]);
        let other = Fingerprint::from_bytes([2; 32]);
        let [a, b, c] = [1, 2, 3].map(|n| Some(Uuid::from_u128(n)));
        let mut doubts = Doubts::default();
        for (key, run, outcome, doubtful) in [
            (key, a, Unknown, false),
            (other, b, Paid, false),
            (key, None, Hit, false),
            (key, a, Joined, false),
            (key, b, Failed, false),
            (key, b, Paid, true),
            (key, c, Paid, false),
            // Its own doubt is answered, not doubled.
            (other, a, Unknown, false),
            (other, a, Unknown, false),
            (other, a, Paid, false),
            (other, b, Paid, false),
            (other, a, Unknown, false),
            (other, a, Failed, false),
            (other, c, Paid, false),
            (other, None, Unknown, false),
            (other, None, Paid, true),
        ] {
            assert_eq!(
                doubts.note(key, run, outcome),
                doubtful,
                "{run:?} {outcome:?}"
            );
        }
        assert_eq!((doubts.count, doubts.keys().count()), (0, 0));
    }
}
