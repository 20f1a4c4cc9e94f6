//! One question to upstream about one job.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Uri};

use super::answer::{PollAnswer, PollError};
use super::route::Route;
use crate::generation::Fingerprint;
use crate::message::coding::{self, Coding};
use crate::message::{body, headers};
use crate::upstream::{Reuse, SendError, Upstream};

/// A job's description is a few kilobytes; 8 MiB is a different thing altogether.
const LARGEST: usize = 8 * 1024 * 1024;

/// What is read where it arrives, up to so many bytes; more of it on a thread that may take its time.
const READ_AT_ONCE: usize = 64 * 1024;

/// A poll that is not answered by then holds up everybody who waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One question to upstream.
#[derive(Debug)]
pub struct Question {
    /// The generation that the job belongs to.
    pub key: Fingerprint,
    /// Upstream's id of the job.
    pub task_id: String,
    /// Path and query below `/v1`.
    pub target: Uri,
    /// The headers that go with it, without credentials.
    pub headers: HeaderMap,
}

impl Question {
    /// A question of our own; `None` when the id cannot stand in a path.
    pub(super) fn ours(key: Fingerprint, task_id: &str, route: Route) -> Option<Self> {
        let target = route.path(task_id).parse().ok()?;
        Some(Self {
            key,
            task_id: task_id.to_owned(),
            target,
            headers: our_headers(),
        })
    }

    /// The path that is polled, as clients see it: beginning with `/v1/`, without query.
    pub(super) fn poll_path(&self) -> String {
        format!("/v1{}", self.target.path())
    }

    /// Asks, and takes the whole answer in.
    ///
    /// # Errors
    /// When no whole answer came within [`PATIENCE`].
    ///
    /// # Cancel safety
    /// Dropping it cancels the request upstream, which costs nothing.
    pub(super) async fn ask(&self, upstream: &Upstream) -> Result<Arc<PollAnswer>, PollError> {
        let asking = async {
            let mut request = Request::new(body::empty());
            *request.uri_mut() = self.target.clone();
            *request.headers_mut() = self.headers.clone();
            let response = upstream.send(request, Reuse::Pooled).await?;
            let (mut head, body) = response.into_parts();
            headers::remove_hop_by_hop(&mut head.headers);
            let body = body::collect(body::boxed(body), LARGEST).await;
            let body = body.map_err(|error| PollError::Body(error.to_string()))?;
            if body.len() <= READ_AT_ONCE && !head.headers.contains_key(CONTENT_ENCODING) {
                return Ok(Arc::new(PollAnswer::new(head.status, head.headers, body)));
            }
            let reading = tokio::task::spawn_blocking(move || {
                let body = undo_coding(&mut head.headers, body);
                PollAnswer::new(head.status, head.headers, body)
            });
            let read = reading.await;
            read.map(Arc::new)
                .map_err(|error| PollError::Body(error.to_string()))
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(PollError::Send(SendError::TimedOut(PATIENCE))),
        }
    }
}

/// MONEY: a poll is asked for plain. One that comes coded all the same has to be read, or its job
/// never ends; and it is shown plain to everybody. What cannot be undone stays as it came.
fn undo_coding(headers: &mut HeaderMap, body: Bytes) -> Bytes {
    if Coding::of(headers).is_none() {
        return body;
    }
    match coding::plain(headers, &body, LARGEST as u64) {
        Some(plain) => {
            coding::forget_coding(headers);
            plain
        }
        None => body,
    }
}

/// What a poll of ours says about itself.
fn our_headers() -> HeaderMap {
    let agent = concat!("reprise/", env!("CARGO_PKG_VERSION"));
    HeaderMap::from_iter([
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        (
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        ),
        (header::USER_AGENT, HeaderValue::from_static(agent)),
    ])
}
