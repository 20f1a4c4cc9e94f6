//! The end of a job, as those who wait for it will hear of it.

use std::sync::PoisonError;
use std::time::Duration;

use super::Callbacks;
use super::shown::{Shown, shown, stands};
use crate::jobs::{End, Ends, Outcome};
use crate::store::{DeliveryChange, DeliveryState, StoreError};

/// How many failures are remembered for callers who are noted late, and the longest answer among
/// them, in bytes.
const MOST_FAILURES: usize = 256;
const LONGEST_FAILURE: usize = 64 * 1024;

impl Ends for Callbacks {
    fn ended(&self, end: &End) -> Result<(), StoreError> {
        let store = self.means.shelf.store();
        let answer = end.answer.as_ref();
        let answer = answer.and_then(|answer| String::from_utf8(answer.body.to_vec()).ok());
        // First, so that a caller who is noted behind the listing finds it there.
        if let (Some(body), Outcome::Failed | Outcome::Cancelled) = (&answer, end.outcome) {
            self.remember_failure(&end.task_id, body);
        }
        let waiting = store.deliveries_of(&end.task_id)?;
        let mut waiting = waiting
            .into_iter()
            .filter(|delivery| delivery.state == DeliveryState::Waiting)
            .peekable();
        let Some(first) = waiting.peek() else {
            return Ok(());
        };
        let shown = match end.outcome {
            Outcome::Succeeded => {
                // Kept by now: in the form of the path they submitted on, where it is known.
                let (kept, after) = match stands(store, &end.task_id)? {
                    Some(entry) => (
                        shown(store, &entry, &first.path)?,
                        self.wait_for_media(&entry),
                    ),
                    None => (None, Duration::ZERO),
                };
                kept.or(answer).map(|body| Shown {
                    after,
                    ..Shown::success(body)
                })
            }
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
}

impl Callbacks {
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
