//! One question to upstream about one job.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Uri};

use super::answer::{PollAnswer, PollError};
use crate::generation::Fingerprint;
use crate::message::{body, headers};
use crate::upstream::{Reuse, SendError, Upstream};

/// A job's description is a few kilobytes; 8 MiB is a different thing altogether.
const LARGEST: usize = 8 * 1024 * 1024;

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
            Ok(Arc::new(PollAnswer::new(head.status, head.headers, body)))
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(PollError::Send(SendError::TimedOut(PATIENCE))),
        }
    }
}
