//! How long a client of HTTP/2 has said nothing since its last answer left.
//!
//! What has left may still lie in the socket, and a client that reads says so now and then. To one
//! that still speaks, an end of the connection is a reset: it takes away what was not read yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::linger::{LINGER, LONGEST};

/// When something was last said, in milliseconds since the connection began; 0: never.
pub(super) struct Quiet {
    since: Instant,
    heard: AtomicU64,
    answered: AtomicU64,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            heard: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
    }
}

impl Quiet {
    /// The client has said something.
    pub(super) fn heard(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    /// Something of an answer has left.
    pub(super) fn answered(&self) {
        self.answered.store(self.now(), Ordering::Relaxed);
    }

    /// Whether the connection may end without taking anything away. Always, where nothing was answered
    /// over HTTP/2.
    pub(super) fn is_long_enough(&self) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        if answered == 0 {
            return true;
        }
        let said = answered.max(self.heard.load(Ordering::Relaxed));
        let ago = |then: u64| Duration::from_millis(self.now().saturating_sub(then));
        // As at an end that is lingered at.
        ago(said) >= LINGER || ago(answered) >= LONGEST
    }

    fn now(&self) -> u64 {
        let passed = self.since.elapsed().as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_speaks_is_not_disturbed_for_ever() {
        let second = || tokio::time::advance(Duration::from_secs(1));
        let quiet = Quiet::default();
        quiet.heard();
        assert!(quiet.is_long_enough(), "nothing was answered");
        quiet.answered();
        for passed in [false, false, true] {
            assert_eq!(quiet.is_long_enough(), passed);
            second().await;
        }
        quiet.answered();
        for _ in 0..10 {
            assert!(!quiet.is_long_enough());
            second().await;
            quiet.heard();
        }
        assert!(quiet.is_long_enough());
    }
}
