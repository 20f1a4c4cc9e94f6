//! A client's poll of a video job.

use http::request::Parts;
use http::{Response, Uri};

use super::auth::Client;
use super::directives;
use super::reply::{self, Status};
use super::{Error, Proxy};
use crate::clock;
use crate::config::Scope;
use crate::jobs::Asked;
use crate::message::{Body, body, headers};
use crate::store::Entry;

impl Proxy {
    /// Answers a poll: a finished job's from what is kept, a running one's from upstream at most
    /// once per `jobs.min_poll_interval`; `None` when no job of ours has this id.
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
        let key = self
            .shelf
            .find_task(task_id.to_owned())
            .await
            .ok()
            .flatten();
        let Some(key) = key else { return Ok(None) };
        let Some(entry) = self.shelf.get(key).await.ok().flatten() else {
            return Ok(None);
        };
        if entry
            .record
            .task
            .as_ref()
            .is_none_or(|task| task.id != task_id)
        {
            return Ok(None);
        }
        if self.config.cache.scope == Scope::Client && entry.record.client != client.name {
            return Err(Error::TaskNotFound);
        }
        if let Some(response) = self.kept_poll(&entry, target).await? {
            return Ok(Some(response));
        }
        let mut sent = parts.headers.clone();
        headers::remove_hop_by_hop(&mut sent);
        directives::strip_for_run(&mut sent);
        let (answer, status, age) = match self.polls.ask(key, task_id, target.clone(), sent).await?
        {
            Asked::Now(answer) => (answer, Status::Bypass("job-running"), None),
            Asked::Before(answer, age) => (answer, Status::Collapsed, Some(age.as_secs())),
        };
        let mut response = Response::new(body::full(answer.body.clone()));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers.clone();
        reply::mark(response.headers_mut(), status, age);
        Ok(Some(response))
    }

    async fn kept_poll(
        &self,
        entry: &Entry,
        target: &Uri,
    ) -> Result<Option<Response<Body>>, Error> {
        let path = format!("/v1{target}");
        let Some(task) = &entry.record.task else {
            return Ok(None);
        };
        let kept = task
            .polls
            .iter()
            .zip(&entry.polls)
            .find(|(poll, _)| poll.path == path);
        let Some((poll, payload)) = kept else {
            return Ok(None);
        };
        let mut response = reply::kept(&self.shelf, (poll.status, &poll.headers), payload).await?;
        let age = clock::age_seconds(self.clock.now(), poll.at);
        reply::mark(
            response.headers_mut(),
            Status::Hit(entry.record.key),
            Some(age),
        );
        Ok(Some(response))
    }
}
