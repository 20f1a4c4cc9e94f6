//! What the runs of one generation leave on disk, when one of them or all have ended.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::generation::{Fingerprint, asked_at};
use crate::price::Usd;
use crate::store::{Intent, IntentState, Stake, Store, StoreError};

/// How many runs of one generation, at most, a note holds money for beside its own: whoever has asked
/// for more of them without hearing how one ended has other worries.
const MOST_BESIDE: usize = 1000;

/// What a note says while it stands for more than one run.
pub(super) const SHARED: &str = "more than one run of it was under way when the proxy ended";

/// What the runs of one generation know together.
#[derive(Default)]
pub(super) struct Note {
    /// How many are under way.
    pub(super) live: usize,
    /// One of them succeeded, and its answer is durable.
    pub(super) kept: bool,
    /// One of them ended without anybody knowing how.
    pub(super) doubt: Option<Intent>,
    /// What stood before the first of them.
    pub(super) before: Option<Intent>,
    /// What is held for those that are under way or in doubt.
    pub(super) stakes: Vec<Stake>,
    /// Which run the note on disk is about, and what it says is held beside that.
    pub(super) written: Option<(Option<Uuid>, Vec<Stake>)>,
}

impl Note {
    /// The last run has ended: what it and the others leave.
    ///
    /// MONEY: what is held in doubt is held by the note that stands on disk, so that a restart finds the
    /// same; what an earlier note held is free when a run has succeeded in its place.
    pub(super) fn conclude(
        self,
        key: &Fingerprint,
        store: &dyn Store,
    ) -> Result<Vec<Stake>, StoreError> {
        if let Some(doubt) = &self.doubt {
            return self.leave_doubt(doubt, store);
        }
        let earlier = self.before.as_ref().map(Intent::stakes);
        let earlier = earlier.unwrap_or_default();
        match (self.kept, self.before) {
            (true, _) | (false, None) => store.remove_intent(key).map(|_| earlier),
            (false, Some(before)) => {
                store.put_intent(&Intent {
                    state: IntentState::Unknown,
                    ..before
                })?;
                Ok(Vec::new())
            }
        }
    }

    /// A doubt stays, and with it whatever is in doubt beside it: what an earlier note was about, and
    /// nothing that has ended since it was written. Returns what counts in no budget any more.
    fn leave_doubt(&self, doubt: &Intent, store: &dyn Store) -> Result<Vec<Stake>, StoreError> {
        let (beside, over) = self.beside(doubt);
        let is_shared = !beside.is_empty() && doubt.state == IntentState::Pending;
        if self.written.as_ref() != Some(&(doubt.run, beside.clone())) {
            store.put_intent(&Intent {
                // One whose answer is kept must not settle the others.
                reason: match &doubt.reason {
                    None if is_shared => Some(SHARED.to_owned()),
                    reason => reason.clone(),
                },
                beside,
                ..doubt.clone()
            })?;
        }
        Ok(over)
    }

    /// What is held beside the run of `intent`, by those that have not ended and by an earlier note; and
    /// of the latter what counts in no budget any more, since its month is over.
    pub(super) fn beside(&self, intent: &Intent) -> (Vec<Stake>, Vec<Stake>) {
        let now = month(intent.started_at);
        let is_over = |stake: &Stake| {
            let past = asked_at(stake.run).is_some_and(|at| month(at) < now);
            past || stake.usd == Usd::ZERO
        };
        let earlier = self.before.as_ref().map(Intent::stakes);
        let (mut over, mut beside): (Vec<_>, Vec<_>) =
            earlier.into_iter().flatten().partition(is_over);
        let own = self.stakes.iter();
        beside.extend(own.filter(|stake| Some(stake.run) != intent.run).cloned());
        let most = beside.len().saturating_sub(MOST_BESIDE);
        over.extend(beside.drain(..most));
        (beside, over)
    }

    pub(super) fn forget(&mut self, run: Option<Uuid>) {
        self.stakes.retain(|stake| Some(stake.run) != run);
    }
}

/// The month that a budget counts it in.
pub(super) fn month(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date().first_of_month()
}
