//! Polls of running jobs: one question to upstream for everybody who asks.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::answer::{PollAnswer, PollError};
use super::ending::Endings;
use super::question::Question;
use super::slot::{Asking, Boarded, Slots};
use crate::config;
use crate::fault;
use crate::upstream::Upstream;

/// Who asked upstream for the answer that a poll gets.
pub enum Polled {
    /// This poll did.
    Now(Arc<PollAnswer>),
    /// Another one did, this long ago.
    Before(Arc<PollAnswer>, Duration),
}

/// The polls of all running jobs.
#[derive(Clone)]
pub struct Polls {
    upstream: Arc<Upstream>,
    endings: Endings,
    settings: config::Jobs,
    tasks: TaskTracker,
    slots: Arc<Slots>,
}

impl Polls {
    /// Asks upstream at most once per `min_poll_interval` for each job and path; runs its questions
    /// in `tasks`, so that one client's leaving does not leave the others without an answer.
    pub fn new(
        upstream: Arc<Upstream>,
        endings: Endings,
        settings: config::Jobs,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            upstream,
            endings,
            settings,
            tasks,
            slots: Arc::default(),
        }
    }

    /// What upstream says about a job, at most `min_poll_interval` old.
    ///
    /// # Errors
    /// When upstream gave no answer to the poll that was waited for.
    ///
    /// # Cancel safety
    /// The question goes on for those who still wait.
    pub async fn ask(&self, question: Question) -> Result<Polled, PollError> {
        let interval = self.settings.min_poll_interval;
        let (mut told, mine) = match self.slots.board(question.target.path(), interval) {
            Boarded::Latest(answer) => {
                let age = answer.age();
                return Ok(Polled::Before(answer, age));
            }
            Boarded::Wait(told) => (told, false),
            Boarded::Ask(asking, told) => {
                let polls = self.clone();
                self.tasks
                    .spawn(async move { polls.question(question, asking).await });
                (told, true)
            }
        };
        let answer = match told.wait_for(Option::is_some).await {
            Ok(told) => told.clone().unwrap_or(Err(PollError::Gone))?,
            Err(_) => return Err(PollError::Gone),
        };
        if mine {
            Ok(Polled::Now(answer))
        } else {
            Ok(Polled::Before(answer, Duration::ZERO))
        }
    }

    async fn question(&self, question: Question, asking: Asking) {
        let answer = question.ask(&self.upstream).await;
        fault::point("before-note");
        let over = match &answer {
            Ok(answer) => self.endings.note(&question, answer).await,
            Err(_) => false,
        };
        fault::point("after-note");
        asking.answer(answer, over);
    }
}
