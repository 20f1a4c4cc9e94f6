//! Why a client has to wait.

use std::time::Duration;

use super::{OverBudget, Period, Standing};

/// The longest time that a client is told to wait: the stock SDKs go by longer ones in different
/// ways, and one of them sleeps them out whatever they are.
const LONGEST: Duration = Duration::from_mins(1);

/// When to come back where nobody can know: a slot is free when a call or a job ends.
const FOR_A_SLOT: Duration = Duration::from_secs(5);

/// What is limited. The words are those of the configuration, of the log and of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// `requests_per_minute`.
    Requests,
    /// `generations_per_minute`.
    Generations,
    /// `concurrent_generations`.
    Concurrent,
    /// `usd_per_day`.
    UsdPerDay,
    /// `usd_per_month`.
    UsdPerMonth,
}

impl Limit {
    /// Its key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Generations => "generations_per_minute",
            Self::Concurrent => "concurrent_generations",
            Self::UsdPerDay => "usd_per_day",
            Self::UsdPerMonth => "usd_per_month",
        }
    }
}

/// Why a client is refused. The message says which limit it is and when to come back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many requests in a minute.
    #[error(
        "Your limit of {} requests a minute (requests_per_minute) is reached; nothing was sent \
         upstream. Try again in {}.",
        standing.most(),
        shown(*wait)
    )]
    Requests {
        /// How the client stands.
        standing: Standing,
        /// How long it takes until there is room.
        wait: Duration,
    },
    /// Too many generations in a minute that would have been paid.
    #[error(
        "Your limit of {most} paid generations a minute (generations_per_minute) is reached; nothing \
         was sent upstream and nothing paid. What is kept is answered meanwhile. Try again in {}.",
        shown(*wait)
    )]
    Generations {
        /// How many there may be.
        most: u32,
        /// How long it takes until there is room.
        wait: Duration,
    },
    /// Too many paid calls and running jobs at once.
    #[error(
        "Your limit of {most} paid generations at once (concurrent_generations) is reached: calls \
         and video jobs count until they end. Nothing was sent upstream and nothing paid. What is \
         kept is answered meanwhile. Try again when one of them has ended, not before {}.",
        shown(FOR_A_SLOT)
    )]
    Concurrent {
        /// How many there may be.
        most: u32,
    },
    /// Less is left of a budget than the run is estimated at.
    #[error("{0}")]
    Budget(Box<OverBudget>),
}

impl Refusal {
    /// Which limit was reached.
    pub fn limit(&self) -> Limit {
        match self {
            Self::Requests { .. } => Limit::Requests,
            Self::Generations { .. } => Limit::Generations,
            Self::Concurrent { .. } => Limit::Concurrent,
            Self::Budget(over) => match over.period {
                Period::Day => Limit::UsdPerDay,
                Period::Month => Limit::UsdPerMonth,
            },
        }
    }

    /// How the client stands with its request limit, where that is the one.
    pub fn standing(&self) -> Option<Standing> {
        match self {
            Self::Requests { standing, .. } => Some(*standing),
            Self::Generations { .. } | Self::Concurrent { .. } | Self::Budget(_) => None,
        }
    }

    /// When it makes sense to try again: 1 ms to 1 min.
    pub fn retry_after(&self) -> Duration {
        let wait = match self {
            Self::Requests { wait, .. } | Self::Generations { wait, .. } => *wait,
            Self::Concurrent { .. } => FOR_A_SLOT,
            // No answer names it: a budget lasts longer than anybody waits.
            Self::Budget(_) => LONGEST,
        };
        wait.clamp(Duration::from_millis(1), LONGEST)
    }
}

/// A wait for people: whole seconds, or what is less than one in milliseconds, rounded up.
fn shown(wait: Duration) -> String {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    if millis < 1000 {
        format!("{} ms", millis.max(1))
    } else {
        format!("{} s", millis.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_it_is_about() {
        let wait = Duration::from_micros(1_000_001);
        let standing = Standing::new(60, 0, wait);
        for (refusal, words, retry_after) in [
            (
                Refusal::Requests { standing, wait },
                ["60 requests a minute", "requests_per_minute", "in 2 s."],
                wait,
            ),
            (
                Refusal::Generations {
                    most: 3,
                    wait: Duration::ZERO,
                },
                [
                    "3 paid generations a minute",
                    "generations_per_minute",
                    "in 1 ms.",
                ],
                Duration::from_millis(1),
            ),
            (
                Refusal::Generations {
                    most: 1,
                    wait: Duration::from_secs(61),
                },
                ["1 paid generations", "generations_per_minute", "in 61 s."],
                LONGEST,
            ),
            (
                Refusal::Concurrent { most: 2 },
                [
                    "2 paid generations at once",
                    "concurrent_generations",
                    "before 5 s.",
                ],
                FOR_A_SLOT,
            ),
        ] {
            let message = refusal.to_string();
            for word in words {
                assert!(message.contains(word), "{message}");
            }
            assert_eq!(refusal.retry_after(), retry_after);
            assert!(message.contains(refusal.limit().as_str()));
        }
    }
}
