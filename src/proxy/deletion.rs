//! A job that its client deletes.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::request::Parts;
use http::{Response, Uri};

use super::forward::Passing;
use super::owners::ask_plain;
use super::{Error, Proxy};
use crate::jobs::{LastWord, dialect};
use crate::message::{Body, body, coding};
use crate::store::TaskState;
use crate::upstream::SendError;

/// The largest answer to a job's deletion, in bytes.
const LARGEST_DELETION: usize = 1024 * 1024;

impl Proxy {
    /// Passes a job's deletion on. What upstream deletes is forgotten here too, also when the client
    /// does not wait for the answer. It is asked for plain, since it is read.
    ///
    /// MONEY: a job that counts as running here is asked for first. It may have succeeded unseen, and was
    /// paid for then.
    pub(super) async fn delete(
        self: &Arc<Self>,
        (mut parts, target, body): (Parts, Uri, Body),
        task: String,
    ) -> Result<Response<Body>, Error> {
        ask_plain(&mut parts.headers);
        let proxy = self.clone();
        let deleting = self.tasks.spawn(async move {
            let last = proxy.last_word(&task).await;
            let passing = Passing::NO_GENERATION;
            let (head, body) = proxy
                .forward(parts, target, body, passing)
                .await?
                .into_parts();
            let answer = body::collect(body, LARGEST_DELETION).await;
            let answer =
                answer.map_err(|error| Error::PassedThrough(SendError::Cut(error.to_string())))?;
            if head.status.is_success() && is_deleted(&head.headers, &answer) {
                proxy.forget_deleted(task, last).await;
            }
            Ok(Response::from_parts(head, body::full(answer)))
        });
        deleting.await.unwrap_or(Err(Error::ShuttingDown))
    }
}

impl Proxy {
    async fn last_word(&self, task: &str) -> LastWord {
        let Ok(Some(entry)) = self.job(task).await else {
            return LastWord::Unsure;
        };
        let state = entry.record.task.as_ref().map(|task| task.state);
        if state != Some(TaskState::Running) {
            return LastWord::Unsure;
        }
        let submit = (entry.record.key, entry.record.path.as_str());
        self.polls.last_word(submit, task).await
    }

    /// Upstream has deleted this job, so nobody may be joined to it.
    async fn forget_deleted(&self, task: String, last: LastWord) {
        let Ok(Some(entry)) = self.job(&task).await else {
            return;
        };
        let job = (entry.record.key, task.as_str());
        if let Err(error) = self.polls.deleted(job, last).await {
            tracing::warn!(%error, "a deleted job could not be forgotten");
        }
    }
}

/// MONEY: an answer whose coding cannot be undone is no deletion.
fn is_deleted(headers: &HeaderMap, answer: &Bytes) -> bool {
    let limit = LARGEST_DELETION as u64;
    answer.is_empty()
        || coding::plain(headers, answer, limit).is_some_and(|plain| dialect::is_deleted(&plain))
}
