//! Polls of running jobs: one question to upstream for everybody who asks.
//!
//! Whatever a question brings is noted here, whoever asked it: an end changes what is kept, and
//! everything else tells the agenda when to ask again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agenda::{Agenda, Prospect};
use super::answer::{PollAnswer, PollError};
use super::clip;
use super::ending::{End, Endings, Outcome};
use super::last_word::LastWord;
use super::question::Question;
use super::route::Route;
use super::slot::{Asking, Boarded, Slots};
use super::word::Word;
use crate::config::{self, Live};
use crate::fault;
use crate::generation::Fingerprint;
use crate::store::{Record, StoreError};
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
    upstream: Live<Upstream>,
    endings: Endings,
    tasks: TaskTracker,
    slots: Arc<Slots>,
    agenda: Arc<Agenda>,
    closing: CancellationToken,
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
            upstream: Live::new(upstream),
            endings,
            agenda: Arc::new(Agenda::new(&settings)),
            slots: Arc::new(Slots::new(settings.min_poll_interval)),
            tasks,
            closing: CancellationToken::new(),
        }
    }

    /// Asks `upstream` from the next question on, as often as `settings` say: jobs that are followed
    /// are not asked for later than those would have it.
    pub fn reload(&self, upstream: Arc<Upstream>, settings: &config::Jobs) {
        self.upstream.set(upstream);
        self.slots.set_interval(settings.min_poll_interval);
        self.agenda.reload(settings);
    }

    /// Follows a job from now on; it was submitted to `submit_path`, which begins with `/v1/`.
    pub fn follow(&self, task_id: &str, submit_path: &str) {
        self.agenda.follow(task_id, Route::of_submit(submit_path));
    }

    /// How many running jobs are followed.
    pub fn followed(&self) -> usize {
        self.agenda.len()
    }

    /// What is known of a job that is followed, without asking upstream.
    pub fn prospect(&self, task_id: &str) -> Option<Prospect> {
        self.agenda.prospect(task_id)
    }

    /// Upstream has deleted this job, of which it said `last` before: it is forgotten, and no longer
    /// followed.
    ///
    /// # Errors
    /// As [`Shelf::change`](crate::store::Shelf::change), and when its end could not be told.
    pub async fn deleted(
        &self,
        (key, task_id): (Fingerprint, &str),
        last: LastWord,
    ) -> Result<(), StoreError> {
        self.endings.deleted((key, task_id), last.outcome()).await?;
        self.leave(task_id);
        Ok(())
    }

    /// What upstream says about a job, at most `min_poll_interval` old.
    ///
    /// # Errors
    /// When upstream gave no answer to the poll that was waited for.
    ///
    /// # Cancel safety
    /// The question goes on for those who still wait.
    pub async fn ask(&self, question: Question) -> Result<Polled, PollError> {
        self.ask_as(question, false).await
    }

    /// As [`ask`](Self::ask), but no answer that is there already will do: the agenda has counted
    /// those.
    pub(super) async fn ask_anew(&self, question: Question) -> Result<Polled, PollError> {
        self.ask_as(question, true).await
    }

    async fn ask_as(&self, question: Question, anew: bool) -> Result<Polled, PollError> {
        let (mut told, mine) = match self.slots.board(question.target.path(), anew) {
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
        let unwanted = async {
            self.closing.cancelled().await;
            asking.abandoned().await;
        };
        let upstream = self.upstream.load();
        let answer = tokio::select! {
            answer = question.ask(&upstream) => answer,
            // A shutdown does not wait for an answer that nobody waits for.
            () = unwanted => Err(PollError::Gone),
        };
        let over = self.hear(&question, &answer).await;
        asking.answer(answer, over);
    }

    /// Notes what a question has brought; `true` when the job is over.
    async fn hear(&self, question: &Question, answer: &Result<Arc<PollAnswer>, PollError>) -> bool {
        fault::point("before-note");
        let over = match answer {
            Ok(answer) => self.endings.note(question, answer).await,
            Err(_) => false,
        };
        fault::point("after-note");
        let task_id = &question.task_id;
        if over {
            self.leave(task_id);
        } else {
            let route = Route::of_poll(question.target.path());
            self.agenda.hear(task_id, Word::of(answer, task_id), route);
        }
        over
    }

    /// Whether a job is followed.
    pub fn follows(&self, task_id: &str) -> bool {
        self.agenda.route(task_id).is_some()
    }

    /// Notes an answer that has passed by: upstream's to a client's own `question`.
    ///
    /// # Cancel safety
    /// An end that is being noted is noted.
    pub async fn overheard(&self, question: &Question, answer: PollAnswer) {
        self.hear(question, &Ok(Arc::new(answer))).await;
    }

    /// Gives up a job of which nothing new was heard for `jobs.deadline`.
    pub(super) async fn give_up(&self, submit: (Fingerprint, &str), task_id: &str) {
        let end = unseen(submit, task_id, Outcome::GivenUp);
        match self.endings.forget(end).await {
            Ok(()) => {
                tracing::warn!(
                    task = task_id,
                    key = submit.0.short(),
                    "a job was given up: nothing new was heard of it for jobs.deadline. It may have been \
                     paid for; the next identical request runs"
                );
                self.leave(task_id);
            }
            Err(error) => tracing::warn!(task = task_id, %error, "a job could not be given up"),
        }
    }

    /// Whether the clip of a job is served, whose polls are all refused: then it has succeeded, and
    /// is kept as that.
    pub(super) async fn look_at_clip(&self, submit: (Fingerprint, &str), task_id: &str) -> bool {
        if !clip::is_served(&self.upstream.load(), task_id).await {
            return false;
        }
        let end = unseen(submit, task_id, Outcome::Succeeded);
        match self.endings.succeed_unseen(end).await {
            Ok(()) => {
                self.leave(task_id);
                true
            }
            Err(error) => {
                tracing::warn!(task = task_id, %error, "the end of a job could not be noted");
                false
            }
        }
    }

    /// Follows a job no more. Its slot goes back even when its end was never told, or was told while
    /// somebody found it running.
    pub(super) fn leave(&self, task_id: &str) {
        self.agenda.forget(task_id);
        self.endings.gone(task_id);
    }

    /// Tells of jobs that are found to run. Blocks.
    pub(super) fn found(&self, running: &[Record]) {
        self.endings.found(running);
    }

    pub(super) fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// From now on only those questions go on that somebody waits for.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

/// An end that no poll has shown.
fn unseen((key, path): (Fingerprint, &str), task_id: &str, outcome: Outcome) -> End {
    End {
        key,
        task_id: task_id.to_owned(),
        outcome,
        poll_path: format!("/v1{}", Route::of_submit(path).path(task_id)),
        answer: None,
    }
}
