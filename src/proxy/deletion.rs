//! A job that its client deletes.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::request::Parts;
use http::{Response, Uri};

use super::forward::Passing;
use super::owners::ask_plain;
use super::{Error, Proxy};
use crate::jobs::dialect;
use crate::message::{Body, body, coding};
use crate::upstream::SendError;

/// The largest answer to a job's deletion, in bytes.
const LARGEST_DELETION: usize = 1024 * 1024;

impl Proxy {
    /// Passes a job's deletion on. What upstream deletes is forgotten here too, also when the client
    /// does not wait for the answer. It is asked for plain, since it is read.
    pub(super) async fn delete(
        self: &Arc<Self>,
        (mut parts, target, body): (Parts, Uri, Body),
        task: String,
    ) -> Result<Response<Body>, Error> {
        ask_plain(&mut parts.headers);
        let proxy = self.clone();
        let deleting = self.tasks.spawn(async move {
            let passing = Passing::NO_GENERATION;
            let (head, body) = proxy
                .forward(parts, target, body, passing)
                .await?
                .into_parts();
            let answer = body::collect(body, LARGEST_DELETION).await;
            let answer =
                answer.map_err(|error| Error::PassedThrough(SendError::Cut(error.to_string())))?;
            if head.status.is_success() && is_deleted(&head.headers, &answer) {
                proxy.forget_deleted(task).await;
            }
            Ok(Response::from_parts(head, body::full(answer)))
        });
        deleting.await.unwrap_or(Err(Error::ShuttingDown))
    }
}

/// MONEY: an answer whose coding cannot be undone is no deletion.
fn is_deleted(headers: &HeaderMap, answer: &Bytes) -> bool {
    let limit = LARGEST_DELETION as u64;
    answer.is_empty()
        || coding::plain(headers, answer, limit).is_some_and(|plain| dialect::is_deleted(&plain))
}
