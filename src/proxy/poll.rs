//! A client's poll of a video job.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};
use tokio::time::Instant;

use super::auth::Client;
use super::directives;
use super::reply::{self, Status};
use super::shown;
use super::standing::Standing;
use super::{Error, Proxy, Told};
use crate::clock;
use crate::jobs::{PollAnswer, Polled, Prospect, Question, Watcher};
use crate::message::{Body, body, headers};
use crate::metrics::Sort;
use crate::store::{Entry, StoreError, TaskState};

/// Read by the pollers of OpenAI's SDKs.
const POLL_AFTER: HeaderName = HeaderName::from_static("openai-poll-after-ms");

impl Proxy {
    /// Answers a poll: a finished job's from what is kept, a running one's from upstream at most
    /// once per `jobs.min_poll_interval`; `None` when no job that we keep has this id.
    ///
    /// # Errors
    /// When the job is another client's, or upstream gives no answer.
    pub(super) async fn poll(
        &self,
        parts: &Parts,
        target: &Uri,
        task_id: &str,
        client: &Client,
    ) -> Result<Option<Response<Body>>, Error> {
        // A store that cannot say whose job it is must not hold up a poll, which costs nothing.
        let Ok(Some(entry)) = self.job(task_id).await else {
            return Ok(None);
        };
        if !self.may_see(&entry, client) {
            return Err(Error::TaskNotFound);
        }
        if entry.record.passed_by.is_some() {
            return Ok(None);
        }
        let base = self.base(parts);
        let entry = match self.standing(entry).await {
            Ok(Standing::Good(entry)) => {
                if let Some(response) = self.kept_poll(&entry, target, &base).await {
                    return Ok(Some(response));
                }
                entry
            }
            // Its links are dead, so upstream's own word is shown, or that it has none.
            Ok(Standing::Unsure(entry)) => entry,
            Ok(Standing::Gone) | Err(_) => return Ok(None),
        };
        let polled = self.ask_about(&entry, parts, (target, task_id)).await?;
        let (answer, status, age) = match polled {
            Polled::Now(answer) => (answer, Status::Bypass(asked_because(&entry)), None),
            Polled::Before(answer, age) => (answer, Status::Collapsed, Some(age.as_secs())),
        };
        let mut response = self.fresh_poll(&entry, &base, (&answer, age.is_none()));
        if answer
            .about(task_id)
            .is_some_and(|poll| !poll.state.is_terminal())
        {
            self.name_pace(target, response.headers_mut());
        }
        reply::mark(response.headers_mut(), status, age);
        Ok(Some(response))
    }

    /// Upstream's word on a job, of now or of a moment ago.
    async fn ask_about(
        &self,
        entry: &Entry,
        parts: &Parts,
        (target, task_id): (&Uri, &str),
    ) -> Result<Polled, Error> {
        let mut sent = parts.headers.clone();
        headers::remove_hop_by_hop(&mut sent);
        directives::strip(&mut sent);
        directives::strip_for_run(&mut sent);
        let question = Question {
            key: entry.record.key,
            task_id: task_id.to_owned(),
            target: target.clone(),
            headers: sent,
        };
        let asked = Instant::now();
        let polled = self.polls.ask(question).await;
        if !matches!(polled, Ok(Polled::Before(..))) {
            let took = asked.elapsed();
            Told::of(&parts.extensions).upstream(took);
            if polled.is_ok() {
                self.metrics.upstream_answer(Sort::Poll, took);
            }
        }
        Ok(polled?)
    }

    /// Upstream's word, with links to what is kept; `is_own`: whoever it is for has asked for it.
    fn fresh_poll(
        &self,
        entry: &Entry,
        base: &str,
        (answer, is_own): (&PollAnswer, bool),
    ) -> Response<Body> {
        let body = self.localize(&entry.record, base, &answer.body);
        let localized = body != answer.body;
        let length = body.len();
        let mut response = Response::new(body::full(body));
        *response.status_mut() = answer.status;
        // Those who did not ask get nothing that speaks of that exchange.
        *response.headers_mut() = if is_own {
            answer.headers.clone()
        } else {
            reply::shared(&answer.headers)
        };
        if localized {
            shown::drop_digests(response.headers_mut());
            let length = HeaderValue::from(length);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        response
    }

    /// How long OpenAI's clients shall wait before they ask again, on the path that is theirs:
    /// sooner, and they would get the same answer. Upstream's own word goes before.
    fn name_pace(&self, target: &Uri, headers: &mut HeaderMap) {
        if target.path().starts_with("/videos/") {
            let pause = self.config.jobs.min_poll_interval.as_millis();
            let pause = u64::try_from(pause).unwrap_or(u64::MAX);
            headers
                .entry(POLL_AFTER)
                .or_insert_with(|| HeaderValue::from(pause));
        }
    }

    /// The generation whose job this is, as long as it is kept.
    pub(super) async fn job(&self, task_id: &str) -> Result<Option<Arc<Entry>>, StoreError> {
        self.shelf.job(task_id.to_owned()).await
    }

    /// Follows a job to its end from now on; `path` is the one of its submit.
    pub(crate) fn watch_job(&self, task_id: &str, path: &str) {
        self.polls.follow(task_id, path);
    }

    /// How many jobs are known to run.
    pub(crate) fn jobs_running(&self) -> usize {
        self.polls.followed()
    }

    /// What is known of a running job without asking upstream.
    pub(crate) fn prospect(&self, task_id: &str) -> Option<Prospect> {
        self.polls.prospect(task_id)
    }

    /// Who follows the jobs of this proxy, as long as it is let run.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher::new(self.polls.clone(), self.shelf.clone())
    }

    async fn kept_poll(&self, entry: &Entry, target: &Uri, base: &str) -> Option<Response<Body>> {
        let path = format!("/v1{}", target.path());
        let task = entry.record.task.as_ref()?;
        let (poll, payload) = task
            .polls
            .iter()
            .zip(&entry.polls)
            .find(|(poll, _)| poll.path == path)?;
        let file = match self.shelf.open(payload).await {
            Ok(file) => file,
            // Damaged or gone: a poll costs nothing, so upstream is asked again.
            Err(error) => {
                tracing::error!(%error, "a kept poll is not served");
                return None;
            }
        };
        let body = (payload.clone(), file);
        let (local, file) = self.localized(&entry.record, base, body).await;
        let mut response = reply::of_parts((poll.status, &poll.headers), &local, file);
        if local != *payload {
            shown::drop_digests(response.headers_mut());
        }
        let now = self.clock.now();
        self.shelf.used(&entry.record.key, now);
        let age = clock::age_seconds(now, poll.at);
        reply::mark(
            response.headers_mut(),
            Status::Hit(entry.record.key),
            Some(age),
        );
        Some(response)
    }
}

/// Why upstream was asked about a job.
fn asked_because(entry: &Entry) -> &'static str {
    match &entry.record.task {
        Some(task) if task.state == TaskState::Succeeded => "poll-not-kept",
        Some(_) | None => "job-running",
    }
}
