//! Runs whose outcome stayed unknown: a later one of the same generation may be a second payment, also
//! when nobody knows its outcome either.

use std::collections::HashMap;

use uuid::Uuid;

use super::Outcome;
use crate::generation::Fingerprint;

/// How many are remembered at most: some 100 bytes each. A team that has more has other worries.
const MOST: usize = 100_000;

/// The runs of unknown outcome, by what they were to make.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    runs: HashMap<Fingerprint, Vec<Doubt>>,
    count: usize,
}

/// One run of unknown outcome.
#[derive(Debug)]
struct Doubt {
    run: Option<Uuid>,
    /// The run that may have paid for the same a second time, and whose outcome is unknown too. Nobody
    /// else does because of this doubt.
    doubled_by: Option<Uuid>,
}

impl Doubts {
    /// Notes how a run ended, and says whether it may have been paid for twice.
    ///
    /// One doubt makes one run doubtful: whoever runs it a third time has asked for that.
    pub(super) fn note(&mut self, key: Fingerprint, run: Option<Uuid>, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Unknown => {
                let doubles = self.double(&key, run);
                self.begin(key, run);
                doubles
            }
            Outcome::Failed => {
                self.end(&key, run);
                false
            }
            // One that was in doubt itself is doubtful because of what stood before it, or not at all.
            Outcome::Paid => {
                let was_in_doubt = self.end_own(&key, run);
                self.take_own(&key, run) || !was_in_doubt && self.take(&key)
            }
            Outcome::Hit | Outcome::Joined => false,
        }
    }

    /// Adds a doubt, unless it is there.
    pub(super) fn begin(&mut self, key: Fingerprint, run: Option<Uuid>) {
        if self.count >= MOST {
            return;
        }
        let runs = self.runs.entry(key).or_default();
        if run.is_none() || runs.iter().all(|doubt| doubt.run != run) {
            runs.push(Doubt {
                run,
                doubled_by: None,
            });
            self.count += 1;
        }
    }

    /// A further run of unknown outcome: whether an earlier one makes it doubtful. It is remembered which,
    /// since the outcome may become known.
    pub(super) fn double(&mut self, key: &Fingerprint, run: Option<Uuid>) -> bool {
        if run.is_none() {
            return self.take(key);
        }
        let Some(runs) = self.runs.get_mut(key) else {
            return false;
        };
        // The oldest, so that a start that reads all this again comes to the same.
        let free = |doubt: &&mut Doubt| doubt.doubled_by.is_none() && doubt.run != run;
        let is_told = runs.iter().any(|doubt| doubt.doubled_by == run);
        match runs.iter_mut().find(free) {
            _ if is_told => true,
            Some(doubt) => {
                doubt.doubled_by = run;
                true
            }
            None => false,
        }
    }

    /// Takes away the oldest doubt about `key` that nobody has doubled; whether there was one.
    pub(super) fn take(&mut self, key: &Fingerprint) -> bool {
        self.take_doubled_by(key, None)
    }

    fn take_own(&mut self, key: &Fingerprint, run: Option<Uuid>) -> bool {
        run.is_some() && self.take_doubled_by(key, run)
    }

    fn take_doubled_by(&mut self, key: &Fingerprint, by: Option<Uuid>) -> bool {
        let Some(runs) = self.runs.get_mut(key) else {
            return false;
        };
        let Some(taken) = runs.iter().position(|doubt| doubt.doubled_by == by) else {
            return false;
        };
        runs.remove(taken);
        self.count -= 1;
        self.tidy(key);
        true
    }

    /// A run has failed: there is no doubt about it any more, and it doubled nothing.
    fn end(&mut self, key: &Fingerprint, run: Option<Uuid>) {
        if run.is_none() {
            return;
        }
        let runs = self.runs.get_mut(key).into_iter().flatten();
        for doubt in runs.filter(|doubt| doubt.doubled_by == run) {
            doubt.doubled_by = None;
        }
        self.end_own(key, run);
    }

    /// Whatever is known of a run now, it is no longer unknown; whether it was. What has doubled it stays
    /// doubtful.
    fn end_own(&mut self, key: &Fingerprint, run: Option<Uuid>) -> bool {
        let (Some(runs), Some(_)) = (self.runs.get_mut(key), run) else {
            return false;
        };
        let Some(own) = runs.iter().position(|doubt| doubt.run == run) else {
            return false;
        };
        match runs.get_mut(own) {
            Some(doubt) if doubt.doubled_by.is_some() => doubt.run = None,
            Some(_) | None => {
                runs.remove(own);
                self.count -= 1;
            }
        }
        self.tidy(key);
        true
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
    fn a_run_is_doubtful_once_for_each_doubt() {
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
            // A rerun whose outcome is unknown too is doubtful, and stays so when it is known.
            (key, a, Unknown, false),
            (key, b, Unknown, true),
            (key, b, Unknown, true),
            (key, c, Unknown, true),
            (key, b, Paid, true),
            (key, c, Paid, true),
            // One that has failed doubled nothing.
            (key, a, Unknown, false),
            (key, b, Unknown, true),
            (key, b, Failed, false),
            (key, c, Paid, true),
            (other, None, Unknown, false),
            (other, None, Unknown, true),
            (other, a, Paid, true),
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
