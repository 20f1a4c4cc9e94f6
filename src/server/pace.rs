//! How long the answers of a connection have stood still.
//!
//! Over HTTP/2 each answer has a window of its own, and a client that never opens it again holds
//! its answer for ever, while nothing on the socket stands still.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The answers of which a piece was handed out, and no further one was asked for since.
#[derive(Default)]
pub(super) struct Paces(Mutex<HashMap<u64, Instant>>);

impl Paces {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client has been given a piece of the answer `nth`.
    pub(super) fn gave(&self, nth: u64) {
        self.open().insert(nth, Instant::now());
    }

    /// It has room for more, or is gone.
    pub(super) fn moved(&self, nth: u64) {
        self.open().remove(&nth);
    }

    /// Whether one of them has stood still for longer than `limit`.
    pub(super) fn stalled(&self, limit: Duration) -> bool {
        self.open().values().any(|since| since.elapsed() > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_moves_does_not_stall() {
        let paces = Paces::default();
        let limit = Duration::from_secs(5);
        paces.gave(1);
        tokio::time::advance(limit).await;
        assert!(!paces.stalled(limit));
        paces.moved(1);
        paces.gave(2);
        tokio::time::advance(limit).await;
        paces.gave(2);
        tokio::time::advance(limit).await;
        assert!(!paces.stalled(limit), "the second one got another piece");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(paces.stalled(limit));
    }
}
