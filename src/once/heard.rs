//! When upstream last said that a job still runs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::generation::Fingerprint;

/// How many jobs are remembered before those that are silent are swept.
const SWEEP_AT: usize = 4096;

/// Signs of life of running jobs, by a clock that nobody can set.
///
/// MONEY: a job that is given up may be run again. The wall clock alone must not decide that: set
/// forward by a day, it would give up every job. So silence is only what this process has heard.
pub(super) struct Heard {
    since: Instant,
    last: Mutex<HashMap<Fingerprint, Instant>>,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            last: Mutex::default(),
        }
    }

    /// Upstream has said that the job of `key` runs. One that was silent for `deadline` needs no
    /// remembering: it counts as silent anyway.
    pub(super) fn note(&self, key: Fingerprint, deadline: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= SWEEP_AT {
            last.retain(|_, at| at.elapsed() < deadline);
        }
        last.insert(key, Instant::now());
    }

    /// For how long nothing was heard of the job of `key`, in this process.
    pub(super) fn silence(&self, key: &Fingerprint) -> Duration {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(key).unwrap_or(&self.since).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_begins_with_the_last_word_or_with_the_process() {
        let (spoke, silent) = (
            Fingerprint::from_bytes([1; 32]),
            Fingerprint::from_bytes([2; 32]),
        );
        let heard = Heard::new();
        tokio::time::advance(Duration::from_secs(5)).await;
        heard.note(spoke, Duration::from_hours(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(heard.silence(&spoke), Duration::from_secs(2));
        assert_eq!(heard.silence(&silent), Duration::from_secs(7));
    }
}
