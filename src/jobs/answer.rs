//! One answer of upstream's to a poll, and why there may be none.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::dialect::{self, Poll};
use crate::upstream::SendError;

/// What upstream said when it was asked about a job.
#[derive(Debug)]
pub struct PollAnswer {
    /// The HTTP status, which says nothing about the job.
    pub status: StatusCode,
    /// End-to-end headers, as they came.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    said: Option<Poll>,
    at: Instant,
}

impl PollAnswer {
    /// An answer that has just arrived.
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self {
            said: dialect::read_poll(status, &body),
            status,
            headers,
            body,
            at: Instant::now(),
        }
    }

    /// What it says about the job `task_id`; `None` when it is an error, or about another job.
    pub fn about(&self, task_id: &str) -> Option<&Poll> {
        let said = self.said.as_ref()?;
        let fits = said.task_id.as_ref().is_none_or(|id| id == task_id);
        fits.then_some(said)
    }

    /// How long ago it came.
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
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
