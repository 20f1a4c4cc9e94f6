//! A generation that is under way: one lead brings the answer, any number follow.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use super::Recording;
use crate::limits::Refusal;
use crate::store::{Entry, Intent};

/// A generation under way, as everyone who waits for it sees it.
pub struct Flight {
    stage: watch::Sender<Stage>,
}

/// How far a flight has come.
#[derive(Clone)]
pub enum Stage {
    /// No answer yet that could be shown.
    Waiting,
    /// The head is here and the body may be shown while it arrives.
    Live(Arc<Live>),
    /// Nothing more will happen.
    Ended(Ending),
}

/// An answer as upstream gave it: its head, and its body as far as it has arrived.
pub struct Live {
    /// The status line's code.
    pub status: StatusCode,
    /// End-to-end headers, as they came.
    pub headers: HeaderMap,
    /// The body; it ends when the recording ends.
    pub recording: Arc<Recording>,
}

/// Every way in which a lead can end.
#[derive(Clone)]
pub enum Ending {
    /// The run succeeded and its answer is durable: everyone is answered from this record.
    Kept {
        /// What the store holds.
        entry: Arc<Entry>,
        /// The same as it came, with the headers that are meant for the one who asked first.
        answer: Arc<Live>,
    },
    /// Upstream answered, and the answer is passed on but not kept.
    Passed {
        /// The whole answer.
        answer: Arc<Live>,
        /// Why it is not kept.
        why: NotKept,
    },
    /// There is no answer to pass on.
    Failed(Failure),
    /// The lead went away before anything was sent: whoever follows may lead.
    Released,
    /// The lead was refused to its client: whoever follows for another one may lead.
    Declined {
        /// Whose limit it is.
        client: Arc<str>,
        /// Which, and when to come back.
        refusal: Refusal,
    },
}

/// Why an answer that arrived whole is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Upstream refused or failed: no run was paid for.
    Refused,
    /// The status says that a run may have begun all the same.
    Unknown,
    /// The store could not take it; the caller has it, and the intent stays.
    StoreFailed,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// Nothing was sent: the reason in words.
    Unreachable(String),
    /// The connection broke after sending.
    Cut(String),
    /// Upstream took longer than it may, after sending.
    TimedOut(String),
    /// The store could not remember the run, so it was not started.
    Store(String),
    /// An identical generation has an unknown outcome, and the policy is to ask.
    Unknown(Box<Intent>),
    /// The lead ended in a way it should not have, after sending.
    Abandoned,
}

impl Flight {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            stage: watch::Sender::new(Stage::Waiting),
        })
    }

    pub(super) fn reach(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Waits until there is something to answer with: never [`Stage::Waiting`].
    ///
    /// # Cancel safety
    /// A follower that leaves changes nothing for anybody.
    pub async fn answer(&self) -> Stage {
        let mut stage = self.stage.subscribe();
        let reached = stage
            .wait_for(|stage| !matches!(stage, Stage::Waiting))
            .await;
        match reached {
            Ok(stage) => stage.clone(),
            // The sender is `self`, so it outlives the wait.
            Err(_) => Stage::Ended(Ending::Released),
        }
    }
}
