//! Why no answer came, and whether anything was sent.

use std::error::Error;
use std::time::Duration;

use crate::config::Problem;
use crate::message::causes;
use crate::tls::TrustError;

/// The upstream cannot even be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The roots cannot be had.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] Problem),
    /// The key has characters that no header can carry.
    #[error("the upstream key has characters that an HTTP header cannot carry; copy it again")]
    Key,
}

/// Why there is no connection, in words that may follow "upstream cannot be reached: ".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Obstacle(pub(super) String);

/// A request went out, or did not, and no answer's head came back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// No connection came about: not one byte of the request was written.
    #[error("upstream cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke after the request, or a part of it, may have been written.
    #[error("upstream broke off: {0}")]
    Cut(String),
    /// No head within `response_timeout` of the request's last byte.
    #[error("upstream sent no answer within {}", seconds(.0))]
    TimedOut(Duration),
    /// Upstream took nothing of the request's body for `idle_timeout`.
    #[error("upstream took nothing of the request for {}", seconds(.0))]
    Stalled(Duration),
    /// The client's body did not come whole: how. The request was aborted, not ended.
    #[error("the request's body did not arrive whole ({0})")]
    Client(String),
}

impl SendError {
    pub(super) fn of_address(error: impl Error) -> Self {
        Self::Unreachable(causes(&error))
    }

    /// Whether the request may have reached upstream, and a run may have begun.
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::Cut(_) | Self::TimedOut(_) | Self::Stalled(_) | Self::Client(_) => true,
        }
    }
}

fn seconds(duration: &Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
