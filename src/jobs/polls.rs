//! Polls of running jobs: one question to upstream for everybody who asks.
//!
//! A poll that shows the end of a job changes what is kept before anyone hears of it: success is
//! made durable with the answer, failure is forgotten so that the next identical submit runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::dialect::{self, State};
use crate::clock::Clock;
use crate::fault;
use crate::generation::Fingerprint;
use crate::message::{body, headers};
use crate::store::{self, Change, Entry, Payload, PollRecord, Shelf, TaskState};
use crate::upstream::{Reuse, SendError, Upstream};

/// A job's description is a few kilobytes; 8 MiB is a different thing altogether.
const LARGEST: usize = 8 * 1024 * 1024;

/// A poll that is not answered by then holds up everybody who waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many jobs' latest answers are held before the stale ones are swept.
const SWEEP_AT: usize = 1024;

/// What upstream said about a job.
pub struct PollAnswer {
    /// The HTTP status, which says nothing about the job.
    pub status: StatusCode,
    /// End-to-end headers, as they came.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    at: Instant,
}

impl PollAnswer {
    /// Whether this says that the job is accepted or under way.
    pub fn still_runs(&self) -> bool {
        let poll = dialect::read_poll(self.status, &self.body);
        poll.is_some_and(|poll| matches!(poll.state, State::Waiting | State::Working))
    }
}

/// Who asked upstream for the answer that a poll gets.
pub enum Polled {
    /// This poll did.
    Now(Arc<PollAnswer>),
    /// Another one did, this long ago.
    Before(Arc<PollAnswer>, Duration),
}

/// Why a poll has no answer. A poll is free: asking again is always right.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PollError {
    /// Upstream did not answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Upstream's answer broke off or is far too large.
    #[error("upstream's answer to a poll could not be read: {0}")]
    Body(String),
    /// The one who asked went away, which only a shutdown brings about.
    #[error("the proxy is shutting down")]
    Gone,
}

type Told = Option<Result<Arc<PollAnswer>, PollError>>;

/// One job's latest answer on one poll path.
#[derive(Default)]
struct Slot {
    latest: Option<Arc<PollAnswer>>,
    asking: Option<watch::Receiver<Told>>,
}

/// The polls of all running jobs.
#[derive(Clone)]
pub struct Polls {
    shelf: Shelf,
    upstream: Arc<Upstream>,
    clock: Clock,
    interval: Duration,
    tasks: TaskTracker,
    slots: Arc<Mutex<HashMap<String, Slot>>>,
}

/// One question to upstream.
struct Question {
    key: Fingerprint,
    task_id: String,
    target: Uri,
    headers: HeaderMap,
}

impl Polls {
    /// Asks upstream at most once per `interval` for each job and path; runs its questions in
    /// `tasks`, so that one client's leaving does not leave the others without an answer.
    pub fn new(
        shelf: Shelf,
        upstream: Arc<Upstream>,
        clock: Clock,
        interval: Duration,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            shelf,
            upstream,
            clock,
            interval,
            tasks,
            slots: Arc::default(),
        }
    }

    /// What upstream says about the job of generation `key`, at most `interval` old.
    ///
    /// `target` is path and query below `/v1`; `headers` are the client's, without its credentials.
    ///
    /// # Errors
    /// When upstream gave no answer to the poll that was waited for.
    ///
    /// # Cancel safety
    /// The question goes on for those who still wait.
    pub async fn ask(
        &self,
        key: Fingerprint,
        task_id: &str,
        target: Uri,
        headers: HeaderMap,
    ) -> Result<Polled, PollError> {
        let (mut told, mine) = match self.board(&target) {
            Boarded::Latest(answer, age) => return Ok(Polled::Before(answer, age)),
            Boarded::Wait(told) => (told, false),
            Boarded::Ask(tell, told) => {
                let question = Question {
                    key,
                    task_id: task_id.to_owned(),
                    target,
                    headers,
                };
                let polls = self.clone();
                self.tasks
                    .spawn(async move { polls.question(question, tell).await });
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

    fn board(&self, target: &Uri) -> Boarded {
        let mut slots = self.slots();
        if slots.len() >= SWEEP_AT {
            let interval = self.interval;
            slots.retain(|_, slot| slot.asking.is_some() || slot.fresh(interval).is_some());
        }
        let slot = slots.entry(target.path().to_owned()).or_default();
        if let Some((answer, age)) = slot.fresh(self.interval) {
            return Boarded::Latest(answer, age);
        }
        if let Some(told) = &slot.asking {
            return Boarded::Wait(told.clone());
        }
        let (tell, told) = watch::channel(None);
        slot.asking = Some(told.clone());
        Boarded::Ask(tell, told)
    }

    async fn question(&self, question: Question, tell: watch::Sender<Told>) {
        let place = question.target.path().to_owned();
        // Even a panic below leaves no slot behind in which everybody waits for nobody.
        let cleared = Cleared {
            polls: self,
            place: Some(&place),
        };
        let answer = self.fetch(&question).await;
        fault::point("before-note");
        let over = match &answer {
            Ok(answer) => self.note(&question, answer).await,
            Err(_) => false,
        };
        fault::point("after-note");
        self.settle(&place, &answer, over);
        cleared.disarm();
        tell.send_replace(Some(answer));
    }

    fn settle(&self, place: &str, answer: &Result<Arc<PollAnswer>, PollError>, over: bool) {
        let mut slots = self.slots();
        match (answer, over) {
            (Ok(answer), false) => {
                let slot = slots.entry(place.to_owned()).or_default();
                slot.latest = Some(answer.clone());
                slot.asking = None;
            }
            (Ok(_), true) | (Err(_), _) => {
                slots.remove(place);
            }
        }
    }

    async fn fetch(&self, question: &Question) -> Result<Arc<PollAnswer>, PollError> {
        let mut request = Request::new(body::empty());
        *request.uri_mut() = question.target.clone();
        *request.headers_mut() = question.headers.clone();
        let sent = self.upstream.send(request, Reuse::Pooled);
        let response = match tokio::time::timeout(PATIENCE, sent).await {
            Ok(response) => response?,
            Err(_) => return Err(PollError::Send(SendError::TimedOut(PATIENCE))),
        };
        let (mut head, body) = response.into_parts();
        headers::remove_hop_by_hop(&mut head.headers);
        let body = body::collect(body::boxed(body), LARGEST).await;
        let body = body.map_err(|error| PollError::Body(error.to_string()))?;
        let answer = PollAnswer {
            status: head.status,
            headers: head.headers,
            body,
            at: Instant::now(),
        };
        Ok(Arc::new(answer))
    }

    /// Makes what is kept agree with what upstream said; `true` when the job is over.
    async fn note(&self, question: &Question, answer: &PollAnswer) -> bool {
        let Some(poll) = dialect::read_poll(answer.status, &answer.body) else {
            return false;
        };
        if poll
            .task_id
            .as_ref()
            .is_some_and(|id| *id != question.task_id)
        {
            return false;
        }
        let id = question.task_id.clone();
        let changed = match poll.state {
            State::Waiting | State::Working | State::Unknown => return false,
            State::Failed | State::Cancelled => {
                self.shelf
                    .change(question.key, move |entry| fail(entry, &id))
                    .await
            }
            State::Succeeded => {
                let record = self.poll_record(question, answer);
                let body = Payload::Bytes(answer.body.clone());
                let tokens = poll.total_tokens;
                self.shelf
                    .change(question.key, move |entry| {
                        succeed(entry, &id, (record, body), tokens)
                    })
                    .await
            }
        };
        match changed {
            Ok(_) => true,
            Err(error) => {
                // A poll is free: what could not be noted now is noted by the next one.
                tracing::warn!(task = question.task_id, %error, "the end of a job could not be noted");
                false
            }
        }
    }

    fn poll_record(&self, question: &Question, answer: &PollAnswer) -> PollRecord {
        PollRecord {
            path: format!("/v1{}", question.target.path()),
            status: answer.status.as_u16(),
            headers: store::keepable(&answer.headers),
            at: self.clock.now(),
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Boarded {
    Latest(Arc<PollAnswer>, Duration),
    Wait(watch::Receiver<Told>),
    Ask(watch::Sender<Told>, watch::Receiver<Told>),
}

impl Slot {
    fn fresh(&self, interval: Duration) -> Option<(Arc<PollAnswer>, Duration)> {
        let answer = self.latest.as_ref()?;
        let age = answer.at.elapsed();
        (age < interval).then(|| (answer.clone(), age))
    }
}

/// Empties a slot whose question was not settled.
struct Cleared<'a> {
    polls: &'a Polls,
    place: Option<&'a str>,
}

impl Cleared<'_> {
    fn disarm(mut self) {
        self.place = None;
    }
}

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.polls.slots().remove(place);
        }
    }
}

/// MONEY: an old job's end must not touch the newer run that took its place. And a success that is
/// kept stays: another view of the job that lags behind, or has expired, takes nothing away.
fn fail(entry: &Entry, id: &str) -> Change {
    match &entry.record.task {
        Some(task) if task.id == id && task.state == TaskState::Running => Change::Remove,
        Some(_) | None => Change::Nothing,
    }
}

fn succeed(
    entry: &Entry,
    id: &str,
    (record, body): (PollRecord, Payload),
    tokens: Option<u64>,
) -> Change {
    let mut entry = entry.clone();
    let Some(task) = entry.record.task.as_mut().filter(|task| task.id == id) else {
        return Change::Nothing;
    };
    task.state = TaskState::Succeeded;
    task.ended_at.get_or_insert(record.at);
    task.total_tokens = tokens.or(task.total_tokens);
    // One that stands already is replaced: it was asked for again because it could not be served.
    let place = task.polls.iter().position(|poll| poll.path == record.path);
    let standing =
        place.and_then(|place| Some((task.polls.get_mut(place)?, entry.polls.get_mut(place)?)));
    if let Some((poll, payload)) = standing {
        (*poll, *payload) = (record, body);
    } else {
        task.polls.push(record);
        entry.polls.push(body);
    }
    // It has succeeded: nothing that stood before comes back in its place.
    entry.record.previous = None;
    Change::Put(Box::new(entry))
}
