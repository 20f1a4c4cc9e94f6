//! The end of a job, and those who want to know of it.
//!
//! An end changes what is kept before anyone hears of it from a poll: a success is made durable with
//! the answer that showed it, a job that failed is forgotten so that the next identical submit runs. One
//! that was passed by is forgotten however it ends.

use std::sync::Arc;

use super::answer::PollAnswer;
use super::dialect::State;
use super::question::Question;
use super::route::{self, Route};
use crate::clock::Clock;
use crate::generation::Fingerprint;
use crate::media::{Archive, links, medium};
use crate::store::{
    self, Change, Entry, Payload, PollRecord, Record, Shelf, StoreError, Task, TaskState,
};

/// Somebody who wants to know of the ends of jobs.
///
/// Told of a success when it is durable, of every other end while the job is still kept: what has
/// to be remembered about it is remembered before it is forgotten.
///
/// **At least once.** A success is told again when another poll path shows it. It is kept whether or
/// not its telling fails, and not asked for again: a listener who has failed looks by itself a little
/// later at the jobs that have succeeded, and so it does at its start, since a crash may have come in
/// between.
pub trait Ends: Send + Sync + 'static {
    /// Takes note of an end. Blocks, for as long as a small durable write takes; runs in the turn of
    /// the job's generation, so nobody changes what is kept of it meanwhile (and [`Shelf::change`]
    /// of it must not be waited for).
    ///
    /// # Errors
    /// When it could not be remembered. A job that has not succeeded stays kept then, and its end is
    /// told again at its next poll; of a success the others hear all the same.
    fn ended(&self, end: &End) -> Result<(), StoreError>;

    /// Hears of the end of a running job before anything of it is durable: of every end, once for each
    /// time that it is tried, in the job's turn as [`ended`](Self::ended). May write into `record` what
    /// is to be kept with a success.
    ///
    /// # Errors
    /// When the end must not be noted now. The job goes on as running, and its end is told again at its
    /// next poll.
    fn before(&self, _end: &End, _record: &mut Record) -> Result<(), StoreError> {
        Ok(())
    }

    /// A job is not followed any more: it has ended, or is not kept any longer. May be told again, and
    /// without [`ended`](Self::ended) when its file is lost. Does not block.
    fn gone(&self, _task_id: &str) {}

    /// These jobs were found to run: at the start, after a look at everything, or by an import; those
    /// that this process has submitted may be among them. May be told again. If one has ended meanwhile,
    /// [`gone`](Self::gone) follows. Told before anybody asks for them; blocks, for as long as a look into
    /// the ledger takes.
    fn found(&self, _running: &[Record]) {}
}

/// The end of one job.
#[derive(Clone, Debug)]
pub struct End {
    /// Where the job is kept. A job whose place a newer run has taken stands under a key of its
    /// own, so go by `task_id`.
    pub key: Fingerprint,
    /// Upstream's id of the job.
    pub task_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The poll path that showed it, or else the one that belongs to its submit; beginning with `/v1/`, without query.
    pub poll_path: String,
    /// The poll's answer; `None` where no poll showed the end: of a job that is given up, that was
    /// deleted, or whose clip is served while all its polls are refused.
    pub answer: Option<Arc<PollAnswer>>,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Succeeded,
    /// Without one; not charged.
    Failed,
    /// Called off.
    Cancelled,
    /// Nobody knows: nothing new was heard of it for `jobs.deadline`, or it was deleted before anybody
    /// could tell.
    GivenUp,
}

impl Outcome {
    /// The word for it in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::GivenUp => "given up",
        }
    }

    fn of(state: State) -> Option<Self> {
        match state {
            State::Succeeded => Some(Self::Succeeded),
            State::Failed => Some(Self::Failed),
            State::Cancelled => Some(Self::Cancelled),
            State::Waiting | State::Working | State::Unknown => None,
        }
    }
}

/// Where ends are noted and told.
#[derive(Clone)]
pub struct Endings {
    shelf: Shelf,
    clock: Clock,
    ends: Arc<[Arc<dyn Ends>]>,
    archive: Option<Arc<Archive>>,
}

impl Endings {
    /// Notes ends in `shelf`, and tells them to everyone in `ends`, in that order.
    pub fn new(shelf: Shelf, clock: Clock, ends: Vec<Arc<dyn Ends>>) -> Self {
        Self {
            shelf,
            clock,
            ends: ends.into(),
            archive: None,
        }
    }

    /// The same, with somebody who fetches the files that results link to.
    #[must_use]
    pub fn archiving(mut self, archive: Arc<Archive>) -> Self {
        self.archive = Some(archive);
        self
    }

    pub(super) fn gone(&self, task_id: &str) {
        for listener in self.ends.iter() {
            listener.gone(task_id);
        }
    }

    pub(super) fn found(&self, running: &[Record]) {
        for listener in self.ends.iter() {
            listener.found(running);
        }
    }

    /// Makes what is kept agree with what upstream said; `true` when the job is over.
    pub(super) async fn note(&self, question: &Question, answer: &Arc<PollAnswer>) -> bool {
        let Some(poll) = answer.about(&question.task_id) else {
            return false;
        };
        let Some(outcome) = Outcome::of(poll.state) else {
            return false;
        };
        let end = End {
            key: question.key,
            task_id: question.task_id.clone(),
            outcome,
            poll_path: question.poll_path(),
            answer: Some(answer.clone()),
        };
        let noted = match outcome {
            Outcome::Succeeded => self.succeed(end, answer, poll.total_tokens).await,
            Outcome::Failed | Outcome::Cancelled | Outcome::GivenUp => self.forget(end).await,
        };
        match noted {
            Ok(()) => true,
            Err(error) => {
                // A poll is free: what could not be noted now is noted by the next one.
                tracing::warn!(task = question.task_id, %error, "the end of a job could not be noted");
                false
            }
        }
    }

    async fn succeed(
        &self,
        end: End,
        answer: &PollAnswer,
        tokens: Option<u64>,
    ) -> Result<(), StoreError> {
        let record = PollRecord {
            path: end.poll_path.clone(),
            status: answer.status.as_u16(),
            headers: store::keepable(&answer.headers),
            at: self.clock.now(),
        };
        let shown = Shown {
            poll: Some((record, Payload::Bytes(answer.body.clone()))),
            tokens,
            links: links::find(&answer.body),
        };
        self.keep(end, shown).await
    }

    /// A job has succeeded, though nobody has seen a poll that says so.
    pub(super) async fn succeed_unseen(&self, end: End) -> Result<(), StoreError> {
        // What it is about is served there, and shown nowhere else.
        let clip = self.archive.as_ref();
        let clip = clip.map(|archive| archive.own_link(&route::content(&end.task_id)));
        let shown = Shown {
            poll: None,
            tokens: None,
            links: clip.into_iter().collect(),
        };
        self.keep(end, shown).await
    }

    async fn keep(&self, end: End, shown: Shown) -> Result<(), StoreError> {
        let (id, ends) = (end.task_id.clone(), self.ends.clone());
        let (first, listeners) = (end.clone(), self.ends.clone());
        let place = (end.key, id.clone());
        let now = self.clock.now();
        let (archive, teller) = (self.archive.clone(), self.archive.clone());
        let decide = move |entry: &Entry| {
            let mut entry = entry.clone();
            let Some(task) = entry.record.task.as_mut().filter(|task| task.id == id) else {
                return Ok(Change::Nothing);
            };
            let ran = task.state == TaskState::Running;
            task.total_tokens = shown.tokens.or(task.total_tokens);
            if entry.record.passed_by.is_some() {
                let key = entry.record.key;
                return over(&listeners, &End { key, ..first }, entry.record);
            }
            if let Some(archive) = &archive {
                let lifetime = archive.link_lifetime();
                medium::renew(&mut entry, &shown.links, (now, lifetime));
            }
            if let Some(task) = &mut entry.record.task {
                task.state = TaskState::Succeeded;
                task.ended_at.get_or_insert(now);
            }
            if let Some(poll) = shown.poll {
                put_poll(&mut entry, poll);
            }
            if archive.is_some_and(|archive| archive.is_on()) {
                medium::want(&mut entry.record, shown.links);
            }
            // It has succeeded: nothing that stood before comes back in its place.
            entry.record.previous = None;
            if ran {
                let key = entry.record.key;
                before(&listeners, &End { key, ..first }, &mut entry.record)?;
            }
            Ok(Change::Put(Box::new(entry)))
        };
        let tell = move |entry: &Entry| {
            // Not once more for a second poll path.
            if entry.polls.len() < 2 {
                log(&end);
            }
            let key = entry.record.key;
            let told = tell_all(&ends, &End { key, ..end });
            if let Some(archive) = teller {
                archive.fetch_for(&entry.record);
            }
            told
        };
        self.shelf.change_job(place, decide, tell).await.map(drop)
    }

    /// Upstream has deleted a job: whatever it came to, nobody may be joined to it. One that ran until
    /// then has ended with `outcome`.
    pub(super) async fn deleted(
        &self,
        (key, task_id): (Fingerprint, &str),
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let ends = self.ends.clone();
        let id = task_id.to_owned();
        let place = (key, id.clone());
        let decide = move |entry: &Entry| match &entry.record.task {
            Some(task) if task.id == id => {
                if task.state == TaskState::Running {
                    let end = deleted(&entry.record, id, outcome);
                    if outcome == Outcome::GivenUp {
                        let task = &end.task_id;
                        tracing::warn!(
                            task,
                            "a job was deleted of which upstream did not say how it stood: it may have been paid for"
                        );
                    }
                    return over(&ends, &end, entry.record.clone());
                }
                Ok(Change::Remove)
            }
            Some(_) | None => Ok(Change::Nothing),
        };
        self.shelf
            .change_job(place, decide, |_| Ok(()))
            .await
            .map(drop)
    }

    /// MONEY: an old job's end must not touch the newer run that took its place. And a success that
    /// is kept stays: another view of the job that lags behind, or has expired, takes nothing away.
    pub(super) async fn forget(&self, end: End) -> Result<(), StoreError> {
        let ends = self.ends.clone();
        let place = (end.key, end.task_id.clone());
        let decide = move |entry: &Entry| match &entry.record.task {
            Some(task) if runs(task, &end.task_id) => {
                let key = entry.record.key;
                let end = End { key, ..end };
                over(&ends, &end, entry.record.clone())
            }
            Some(_) | None => Ok(Change::Nothing),
        };
        self.shelf
            .change_job(place, decide, |_| Ok(()))
            .await
            .map(drop)
    }
}

fn runs(task: &Task, id: &str) -> bool {
    task.id == id && task.state == TaskState::Running
}

/// Tells of an end behind which nothing stays.
fn over(ends: &[Arc<dyn Ends>], end: &End, mut record: Record) -> Result<Change, StoreError> {
    before(ends, end, &mut record)?;
    tell(ends, end)?;
    log(end);
    Ok(Change::Remove)
}

fn before(ends: &[Arc<dyn Ends>], end: &End, record: &mut Record) -> Result<(), StoreError> {
    let mut listeners = ends.iter();
    listeners.try_for_each(|listener| listener.before(end, record))
}

fn tell(ends: &[Arc<dyn Ends>], end: &End) -> Result<(), StoreError> {
    ends.iter().try_for_each(|listener| listener.ended(end))
}

/// As [`tell`]; one who fails keeps nobody else from hearing it.
fn tell_all(ends: &[Arc<dyn Ends>], end: &End) -> Result<(), StoreError> {
    let told = ends.iter().map(|listener| listener.ended(end));
    told.fold(Ok(()), Result::and)
}

fn log(end: &End) {
    tracing::info!(
        key = end.key.short(),
        task = end.task_id,
        outcome = end.outcome.as_str(),
        "a job has ended"
    );
}

fn deleted(record: &Record, task_id: String, outcome: Outcome) -> End {
    End {
        key: record.key,
        poll_path: format!("/v1{}", Route::of_submit(&record.path).path(&task_id)),
        task_id,
        outcome,
        answer: None,
    }
}

/// A poll's answer as it is kept.
type KeptPoll = (PollRecord, Payload);

/// What has shown that a job succeeded.
#[derive(Clone)]
struct Shown {
    poll: Option<KeptPoll>,
    tokens: Option<u64>,
    /// The links of its result.
    links: Vec<String>,
}

/// Adds the answer of one poll path. One that stands already is replaced: it was asked for again
/// because it could not be served, or its links may be dead. The links are as old as they were.
fn put_poll(entry: &mut Entry, (record, body): KeptPoll) {
    let Some(task) = entry.record.task.as_mut() else {
        return;
    };
    let place = task.polls.iter().position(|poll| poll.path == record.path);
    let standing =
        place.and_then(|place| Some((task.polls.get_mut(place)?, entry.polls.get_mut(place)?)));
    if let Some((poll, payload)) = standing {
        let at = poll.at;
        (*poll, *payload) = (PollRecord { at, ..record }, body);
    } else {
        task.polls.push(record);
        entry.polls.push(body);
    }
}

#[cfg(test)]
mod tests;
