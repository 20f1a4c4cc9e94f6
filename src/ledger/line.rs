//! One line of the ledger.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::generation::{Fingerprint, Kind};
use crate::price::Usd;

/// What became of a generation that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It ran, and was paid for.
    Paid,
    /// It was answered from what is kept.
    Hit,
    /// It was answered by a run, or a job, that somebody else had begun.
    Joined,
    /// It ran, failed, and cost nothing.
    Failed,
    /// Nobody knows whether it ran.
    Unknown,
}

impl Outcome {
    /// Every one, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::Paid,
        Self::Hit,
        Self::Joined,
        Self::Failed,
        Self::Unknown,
    ];

    /// The word for it in the ledger, in statistics and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_nothing(usd: &Usd) -> bool {
    *usd == Usd::ZERO
}

/// One generation that a client asked for. Holds no prompt and no key of anybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it was asked for. Its month is the file's, and its day the one that a budget counts it in.
    pub time: Timestamp,
    /// Who asked.
    pub client: String,
    /// What kind of generation it is.
    pub kind: Kind,
    /// The model that the request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Which generation.
    pub key: Fingerprint,
    /// What became of it.
    pub outcome: Outcome,
    /// What was paid for it.
    pub usd_spent: Usd,
    /// What another run would have cost, where none was needed.
    pub usd_saved: Usd,
    /// What stays held of its client's budget until the day and the month of `time` are over: of an
    /// unknown outcome that nobody can resolve, since no note stands for it.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub usd_held: Usd,
    /// The run that it is about, where there was one: the same in every line of that run, of which
    /// the last counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Uuid>,
    /// Upstream's id of its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// No price is known for its model, so it counts as if it cost nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpriced: bool,
    /// It was paid for, or may have been, and an earlier run of the same generation has an unknown outcome:
    /// it may be paid for twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub possible_double_payment: bool,
}
