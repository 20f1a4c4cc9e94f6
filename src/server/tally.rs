//! What the wire and the routes of one connection tell each other.
//!
//! Requests on HTTP/1.1 are answered one at a time and in order, so a count names one: the wire
//! counts heads as they arrive, which may be ahead of the routes when requests are pipelined, and
//! the routes count the requests that hyper hands them. Over HTTP/2 only the routes count.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use futures_util::task::AtomicWaker;

use super::framing::{Doubt, Framing};
use super::pace::Paces;
use super::quiet::Quiet;

/// What is known of one connection's requests. Over HTTP/1.1 all of it happens in one task, so that
/// the order of memory does not matter.
#[derive(Default)]
pub(super) struct Tally {
    asked: AtomicU64,
    answered: AtomicU64,
    /// The count of the request with two lengths, from 1; 0 when there was none.
    two_lengths: AtomicU64,
    /// The same for the request whose target has a fragment.
    fragment: AtomicU64,
    upgraded: AtomicBool,
    waiting: AtomicWaker,
    /// A [`Rest`].
    rest: AtomicU8,
    shed: AtomicBool,
    /// The answers that wait for their client to take more of them; only over HTTP/2, where one
    /// answer may stand still beside others.
    pub(super) paces: Paces,
    /// How long nothing was said over HTTP/2.
    pub(super) quiet: Quiet,
}

/// Whether a connection could be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Rest {
    /// A request of it is being answered, or read.
    Busy = 0,
    /// It has not got to the end of a request's head.
    Unspoken = 1,
    /// It waits for its next request.
    Idle = 2,
}

impl Tally {
    /// Counts a request in: its number, and what there is against acting on it.
    pub(super) fn ask(&self) -> (u64, Option<Doubt>) {
        let count = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let doubt = if self.two_lengths.load(Ordering::Relaxed) == count {
            Some(Doubt::TwoLengths)
        } else {
            (self.fragment.load(Ordering::Relaxed) == count).then_some(Doubt::Fragment)
        };
        (count, doubt)
    }

    /// How many requests came, when each of them has its answer.
    pub(super) fn settled(&self) -> Option<u64> {
        let asked = self.asked.load(Ordering::Relaxed);
        self.has_answered(asked).then_some(asked)
    }

    /// Notes what the connection is doing, for whoever needs its place.
    pub(super) fn rest(&self, rest: Rest) {
        self.rest.store(rest as u8, Ordering::Relaxed);
    }

    /// Whether the connection is doing this, was not asked to go yet, and loses nothing by going.
    pub(super) fn could_go(&self, rest: Rest) -> bool {
        !self.is_shed()
            && self.rest.load(Ordering::Relaxed) == rest as u8
            && self.quiet.is_long_enough()
    }

    /// Asks the connection to end, if it does nothing when it hears of it.
    pub(super) fn shed(&self) {
        self.shed.store(true, Ordering::Relaxed);
        self.waiting.wake();
    }

    /// Whether the connection was asked to end.
    pub(super) fn is_shed(&self) -> bool {
        self.shed.load(Ordering::Relaxed)
    }

    /// Waits until the connection is asked to end. Only for who waits for nothing else of the tally.
    pub(super) async fn sent_away(&self) {
        poll_fn(|context| {
            self.waiting.register(context.waker());
            if self.is_shed() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Counts an answer whose last byte is with hyper.
    pub(super) fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.waiting.wake();
    }

    /// Has the connection look anew at what it waits for.
    pub(super) fn wake(&self) {
        self.waiting.wake();
    }

    /// Has a task polled once there is another answer, or the connection's place is needed.
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
        match framing.doubt() {
            Some((nth, Doubt::TwoLengths)) => self.two_lengths.store(nth + 1, Ordering::Relaxed),
            Some((nth, Doubt::Fragment)) => self.fragment.store(nth + 1, Ordering::Relaxed),
            None => {}
        }
    }

    /// Whether every one of so many requests has its answer.
    pub(super) fn has_answered(&self, heads: u64) -> bool {
        self.answered.load(Ordering::Relaxed) >= heads
    }
}
