//! What the wire and the routes of one connection tell each other.
//!
//! Requests on HTTP/1.1 are answered one at a time and in order, so a count names one: the wire
//! counts heads as they arrive, which may be ahead of the routes when requests are pipelined, and
//! the routes count the requests that hyper hands them. HTTP/2 has no use for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use super::framing::Framing;

/// What is known of one connection's requests. Over HTTP/1.1 all of it happens in one task, so that
/// the order of memory does not matter.
#[derive(Default)]
pub(super) struct Tally {
    asked: AtomicU64,
    answered: AtomicU64,
    /// The count of the ambiguous request, from 1; 0 when there was none.
    ambiguous: AtomicU64,
    upgraded: AtomicBool,
    waiting: AtomicWaker,
    /// The connection's place among all: it outlives HTTP on it.
    #[expect(dead_code, reason = "its drop is what it is for")]
    place: Option<OwnedSemaphorePermit>,
}

impl Tally {
    /// For a connection that has this place.
    pub(super) fn holding(place: OwnedSemaphorePermit) -> Self {
        Self {
            place: Some(place),
            ..Self::default()
        }
    }

    /// Counts a request in; `true` when its head was ambiguous about the length of its body.
    pub(super) fn ask(&self) -> bool {
        let count = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.ambiguous.load(Ordering::Relaxed) == count
    }

    /// Counts an answer whose last byte is with hyper.
    pub(super) fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.waiting.wake();
    }

    /// Has a task polled once there is another answer.
    pub(super) fn wake_when_answered(&self, waker: &Waker) {
        self.waiting.register(waker);
    }

    /// What follows is another protocol.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Whether another protocol has begun.
    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Notes what the wire has seen.
    pub(super) fn note(&self, framing: &Framing) {
        if let Some(nth) = framing.ambiguous() {
            self.ambiguous.store(nth + 1, Ordering::Relaxed);
        }
    }

    /// Whether every one of so many requests has its answer.
    pub(super) fn has_answered(&self, heads: u64) -> bool {
        self.answered.load(Ordering::Relaxed) >= heads
    }
}
