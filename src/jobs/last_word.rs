//! What upstream says about a job that is about to be deleted there: afterwards nobody can ask.

use std::time::Duration;

use super::ending::Outcome;
use super::polls::{Polled, Polls};
use super::question::Question;
use super::route::Route;
use crate::generation::Fingerprint;
use crate::generation::state::State;

/// How long a deletion waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What upstream said about a running job last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    /// It had not ended: a deletion calls it off.
    Runs,
    /// Nothing that says whether it has been paid for, or an end that could not be noted.
    Unsure,
}

impl LastWord {
    /// MONEY: a job that is called off costs nothing. One that may have succeeded may have been paid for.
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Self::Runs => Outcome::Cancelled,
            Self::Unsure => Outcome::GivenUp,
        }
    }
}

impl Polls {
    /// Asks once about a job that counts as running, which was submitted to `path`. What it tells is
    /// noted, as of any other question: a job that has ended does not run any more when this returns.
    ///
    /// # Cancel safety
    /// The question goes on to its end.
    pub async fn last_word(&self, (key, path): (Fingerprint, &str), task_id: &str) -> LastWord {
        let route = self.agenda().route(task_id);
        let route = route.unwrap_or_else(|| Route::of_submit(path));
        let Some(question) = Question::ours(key, task_id, route) else {
            return LastWord::Unsure;
        };
        let asked = tokio::time::timeout(PATIENCE, self.ask_anew(question)).await;
        let Ok(Ok(Polled::Now(answer) | Polled::Before(answer, _))) = asked else {
            return LastWord::Unsure;
        };
        match answer.about(task_id).map(|poll| poll.state) {
            Some(State::Waiting | State::Working) => LastWord::Runs,
            Some(State::Succeeded | State::Failed | State::Cancelled | State::Unknown) | None => {
                LastWord::Unsure
            }
        }
    }
}
