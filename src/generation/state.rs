//! How a job stands, in every vocabulary that is in use for it.

use serde::{Deserialize, Serialize};

/// How a job stands. As text, a lower-case word (see [`State::as_str`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Accepted, not begun.
    Waiting,
    /// Under way.
    Working,
    /// Done, with a result.
    Succeeded,
    /// Ended without a result; not charged.
    Failed,
    /// Called off; ended without a result.
    Cancelled,
    /// A word that no one has told us of: not an end, keep asking.
    Unknown,
}

impl State {
    /// Reads a status word, in upper or lower case: RelayDance's documented ones, the gateway's,
    /// OpenAI's and Ark's.
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "not_start" | "submitted" | "queued" | "pending" => Self::Waiting,
            "in_progress" | "running" | "processing" => Self::Working,
            "success" | "succeeded" | "completed" => Self::Succeeded,
            "failure" | "failed" | "error" | "expired" => Self::Failed,
            "cancelled" | "canceled" => Self::Cancelled,
            _ => Self::Unknown,
        }
    }

    /// The word for this state in records, listings and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Working => "working",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Will it stay like this?
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Waiting | Self::Working | Self::Unknown => false,
        }
    }

    /// Has it ended without a result?
    pub fn is_failure(self) -> bool {
        self.is_terminal() && self != Self::Succeeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vocabulary() {
        for (words, state, terminal) in [
            (
                "not_start NOT_START submitted SUBMITTED queued QUEUED pending",
                State::Waiting,
                false,
            ),
            (
                "in_progress IN_PROGRESS running Running processing",
                State::Working,
                false,
            ),
            (
                "success SUCCESS succeeded Succeeded completed",
                State::Succeeded,
                true,
            ),
            (
                "failure FAILURE failed error expired EXPIRED",
                State::Failed,
                true,
            ),
            ("cancelled canceled CANCELLED", State::Cancelled, true),
            (
                "unknown UNKNOWN moderating done ok failed_ erfolg",
                State::Unknown,
                false,
            ),
        ] {
            for word in words.split(' ') {
                assert_eq!(State::from_word(word), state, "{word}");
                assert_eq!(State::from_word(word).is_terminal(), terminal, "{word}");
            }
        }
        for word in ["", " failed", "failed "] {
            assert_eq!(State::from_word(word), State::Unknown, "{word:?}");
        }
        assert!(State::Failed.is_failure() && State::Cancelled.is_failure());
        assert!(!State::Succeeded.is_failure() && !State::Unknown.is_failure());
    }

    #[test]
    fn the_stored_word_is_the_spoken_one() {
        for state in [
            State::Waiting,
            State::Working,
            State::Succeeded,
            State::Failed,
            State::Cancelled,
            State::Unknown,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
