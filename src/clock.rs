//! What time it is: handed down as a value, so that a test can make it jump; and as text ([`utc`]).

pub mod utc;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// The wall clock.
///
/// Wall time is only for what is written down (`created_at`, ages, deadlines over a restart);
/// waiting and measuring use `tokio::time::Instant`, which no one can set.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds that this clock runs ahead of the machine's. Zero outside tests.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// The time now, in UTC.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        match self.ahead.load(Ordering::Relaxed) {
            0 => now,
            ahead => {
                let ahead = SignedDuration::from_millis(ahead);
                now.checked_add(ahead).unwrap_or(now)
            }
        }
    }

    /// Moves this clock, and every clone of it, by `by`; backwards when negative. For tests.
    pub fn jump(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.ahead.fetch_add(by, Ordering::Relaxed);
    }
}

/// How long ago `then` was, in whole seconds; 0 when it lies in the future.
///
/// A clock that was set back must not make an age negative: `Age` is a count (RFC 9111 §5.1).
pub fn age_seconds(now: Timestamp, then: Timestamp) -> u64 {
    u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0)
}
