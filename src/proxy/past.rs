//! A video that is submitted past what is kept: nothing of it stays, and its job is followed all the same.
//!
//! Its submit is a task of its own, since the job that it begins is paid for whether or not its client
//! waits. Before the client sees the job's id a durable note says that the job runs, and what is held for
//! it. Nobody joins or hits it; its polls pass by, and what they show is noted before it is shown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Response, StatusCode, Uri};
use tokio::time::Instant;

use super::admit::Admission;
use super::forward::Passing;
use super::passage::Passage;
use super::verdict::{AT_ONCE, apart};
use super::{Error, Proxy};
use crate::books::Stake;
use crate::fault;
use crate::generation::Kind;
use crate::generation::outcome::{self, Answer, BodySummary, Verdict};
use crate::jobs::{PollAnswer, Question, dialect};
use crate::message::{Body, coding, headers, peek};
use crate::store::{self, Entry, Record, Task};

/// The largest answer that is looked into, as it comes and in its plain form, and how long its end is
/// waited for: it is a few kilobytes, and whoever submitted has no use for a part of it.
const LOOKED_AT: u64 = 1024 * 1024;
const PLAIN: u64 = 8 * 1024 * 1024;
const SUBMITTING: Duration = Duration::from_mins(5);
const POLLING: Duration = Duration::from_secs(30);

/// A submit on its way past what is kept.
pub(super) struct Submit {
    pub(super) parts: Parts,
    pub(super) target: Uri,
    pub(super) body: Body,
    pub(super) passing: Passing,
}

/// What came of a submit.
enum Submitted {
    /// It has begun the job with this id.
    Job(String, Response<Body>),
    /// It has not, or nobody can tell.
    Other(Result<Response<Body>, Error>),
}

impl Proxy {
    /// Passes a submit on, and has the job followed that it begins.
    ///
    /// # Errors
    /// When no answer's head came.
    ///
    /// # Cancel safety
    /// A submit that has reached upstream whole goes on without its client.
    pub(super) async fn submit_past(
        self: &Arc<Self>,
        submit: Submit,
        (admission, passage): (Admission, Passage),
    ) -> Result<Response<Body>, Error> {
        let proxy = self.clone();
        let submitting = self.tasks.spawn(async move {
            let path = submit.parts.uri.path().to_owned();
            let started = Instant::now();
            let submitted = proxy.submitted(submit, path.clone()).await;
            fault::point("answer-whole");
            match submitted {
                Submitted::Job(id, answer) => {
                    if let Some(stake) = passage.stake() {
                        let record = proxy.record_of((id, path), stake, started);
                        proxy.follow_past(record, (admission, passage)).await;
                    }
                    Ok(answer)
                }
                Submitted::Other(answer) => {
                    let answer = proxy.metered(answer, passage, (Kind::Video, path)).await?;
                    Ok(admission.within(answer))
                }
            }
        });
        submitting.await.unwrap_or(Err(Error::ShuttingDown))
    }

    async fn submitted(&self, submit: Submit, path: String) -> Submitted {
        let Submit {
            parts,
            target,
            body,
            passing,
        } = submit;
        let answer = match self.forward(parts, target, body, passing).await {
            Ok(answer) if answer.status().is_success() => answer,
            other => return Submitted::Other(other),
        };
        let (head, body) = answer.into_parts();
        let (seen, body) = peek(body, LOOKED_AT, SUBMITTING).await;
        let status = head.status;
        let job = read(&head.headers, seen, move |headers, plain| {
            accepted(status, headers, plain, &path)
        });
        let job = job.await.flatten();
        let answer = Response::from_parts(head, body);
        match job {
            Some(id) => Submitted::Job(id, answer),
            None => Submitted::Other(Ok(answer)),
        }
    }

    /// What is noted of a job: that it runs, whose it is, and what is held for it.
    fn record_of(&self, (id, path): (String, String), stake: &Stake, started: Instant) -> Record {
        let (now, claim) = (self.clock.now(), stake.claim());
        Record {
            key: claim.key,
            kind: claim.kind,
            path,
            model: claim.model.clone(),
            client: claim.client.clone(),
            status: StatusCode::OK.as_u16(),
            headers: Vec::new(),
            created_at: now,
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            usd: stake.recorded(stake.expected()),
            run: Some(stake.run()),
            extent: Some(stake.extent()),
            task: Some(Task::begun(id, now)),
            previous: None,
            media: Vec::new(),
            passed_by: None,
        }
    }

    /// Hands over to the job what its submit holds.
    ///
    /// MONEY: a job that cannot be noted may be followed by nobody, so it is booked by its estimate: it
    /// was accepted.
    async fn follow_past(&self, record: Record, (mut admission, passage): (Admission, Passage)) {
        let path = record.path.clone();
        let Some(note) = Entry::passed_by(record) else {
            return;
        };
        let id = note.record.task.as_ref().map(|task| task.id.clone());
        let id = id.unwrap_or_default();
        admission.for_job(&id);
        fault::point("before-record");
        match self.shelf.note_job(note).await {
            Ok(true) => {
                admission.kept();
                fault::point("after-record");
                passage.job().await;
                self.watch_job(&id, &path);
            }
            // Upstream has answered with a job that another submit began.
            Ok(false) => passage.joined().await,
            Err(error) => {
                tracing::error!(task = id, %error, "a job that was passed by is not followed: it cannot be noted");
                let expected = passage.expected();
                passage.paid(expected).await;
            }
        }
    }

    /// Passes a client's poll of a job that was passed by, and notes what it shows before it is shown.
    ///
    /// # Errors
    /// When no answer's head came.
    pub(super) async fn poll_past(
        &self,
        (parts, target, body): (Parts, Uri, Body),
        task_id: String,
    ) -> Result<Response<Body>, Error> {
        let question = Question {
            key: store::place_of_job(&task_id),
            task_id,
            target: target.clone(),
            headers: HeaderMap::new(),
        };
        let passing = Passing::NO_GENERATION;
        let answer = self.forward(parts, target, body, passing).await?;
        let (head, body) = answer.into_parts();
        let (seen, body) = peek(body, LOOKED_AT, POLLING).await;
        let status = head.status;
        let said = read(&head.headers, seen, move |headers, plain| {
            PollAnswer::new(status, headers.clone(), plain.clone())
        });
        if let Some(said) = said.await {
            self.polls.overheard(&question, said).await;
        }
        Ok(Response::from_parts(head, body))
    }
}

/// Reads the plain form of a body that was seen whole; `None` when there is none.
async fn read<T: Send + 'static>(
    headers: &HeaderMap,
    seen: Option<Bytes>,
    how: impl FnOnce(&HeaderMap, &Bytes) -> T + Send + 'static,
) -> Option<T> {
    let seen = seen?;
    let headers = headers.clone();
    let is_large = seen.len() as u64 > AT_ONCE || headers.contains_key(header::CONTENT_ENCODING);
    let reading = move || coding::plain(&headers, &seen, PLAIN).map(|plain| how(&headers, &plain));
    apart(is_large, reading).await.ok().flatten()
}

/// The job that was accepted with this answer.
fn accepted(status: StatusCode, headers: &HeaderMap, plain: &Bytes, path: &str) -> Option<String> {
    let answer = Answer {
        status,
        content_type: headers::text(headers, "content-type"),
        body: BodySummary::Whole(plain),
    };
    match outcome::judge(Kind::Video, path, &answer) {
        Verdict::Success => dialect::read_submit(plain),
        Verdict::Failed(_) | Verdict::Unknown(_) => None,
    }
}
