//! The end of a job, as those who wait for it will hear of it.

use std::sync::PoisonError;
use std::time::Duration;

use super::Callbacks;
use super::shown::{Shown, shown};
use crate::jobs::{End, Ends, Outcome};
use crate::store::{DeliveryChange, DeliveryState, Store, StoreError, find_job};

/// How many failures are remembered for callers who are noted late, and the longest answer among
/// them, in bytes.
const MOST_FAILURES: usize = 256;
const LONGEST_FAILURE: usize = 64 * 1024;

impl Ends for Callbacks {
    fn ended(&self, end: &End) -> Result<(), StoreError> {
        let heard = self.hear(end);
        if heard.is_err() && end.outcome == Outcome::Succeeded {
            // Nobody tells it again: the next look finds that it has succeeded.
            self.unsure.notify_one();
        }
        heard
    }
}

impl Callbacks {
    /// Makes due whoever waits for this end.
    fn hear(&self, end: &End) -> Result<(), StoreError> {
        let store = self.means.shelf.store();
        let answer = end.answer.as_ref();
        let answer = answer.and_then(|answer| String::from_utf8(answer.body.to_vec()).ok());
        // First, so that a caller who is noted behind the listing finds it there.
        if let (Some(body), Outcome::Failed | Outcome::Cancelled) = (&answer, end.outcome) {
            self.remember_failure(&end.task_id, body);
        }
        let mut waiting = store.deliveries_of(&end.task_id)?;
        waiting.retain(|delivery| delivery.state == DeliveryState::Waiting);
        let Some(first) = waiting.first() else {
            return Ok(());
        };
        let shown = match end.outcome {
            Outcome::Succeeded => self.success(store, (end, answer), &first.path)?,
            Outcome::Failed | Outcome::Cancelled | Outcome::GivenUp => answer.map(Shown::failure),
        };
        for delivery in waiting {
            if let Some(shown) = &shown {
                self.make_due(store, &delivery, shown)?;
            } else {
                tracing::warn!(
                    task = end.task_id,
                    outcome = end.outcome.as_str(),
                    "nothing showed the end of a job, so nobody is called back about it"
                );
                store.change_delivery(&delivery.id(), &mut |_| DeliveryChange::Remove)?;
            }
        }
        Ok(())
    }

    /// What is shown of a success, which is kept by now: in the form of the path they submitted on,
    /// where it is known.
    fn success(
        &self,
        store: &dyn Store,
        (end, answer): (&End, Option<String>),
        submit_path: &str,
    ) -> Result<Option<Shown>, StoreError> {
        let (kept, after) = match find_job(store, &end.task_id)? {
            Some(entry) => (
                shown(store, &entry, submit_path)?,
                self.wait_for_media(&entry),
            ),
            None => (None, Duration::ZERO),
        };
        Ok(kept.or(answer).map(|body| Shown {
            after,
            ..Shown::success(body)
        }))
    }

    fn remember_failure(&self, task_id: &str, body: &str) {
        if body.len() > LONGEST_FAILURE {
            return;
        }
        let failures = self.failures.lock();
        let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST_FAILURES {
            failures.pop_front();
        }
        failures.push_back((task_id.to_owned(), body.to_owned()));
    }

    /// How a job failed of late.
    pub(super) fn failure_of(&self, task_id: &str) -> Option<String> {
        let failures = self.failures.lock();
        let failures = failures.unwrap_or_else(PoisonError::into_inner);
        let mut found = failures.iter().filter(|(task, _)| task == task_id);
        found.next_back().map(|(_, body)| body.clone())
    }
}
