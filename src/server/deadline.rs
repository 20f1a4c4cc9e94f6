//! A time by which something has to have happened.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// Counts the time for one thing after another; `K` names the thing.
pub(super) struct Deadline<K> {
    of: Option<K>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<K: PartialEq> Deadline<K> {
    pub(super) fn new() -> Self {
        Self {
            of: None,
            sleep: None,
        }
    }

    /// Ready once `thing` has been waited for longer than `limit`; the time begins when it is
    /// first asked about, or after something else.
    pub(super) fn poll(
        &mut self,
        thing: K,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let new = self.of.as_ref() != Some(&thing);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if new {
            sleep.set(tokio::time::sleep(limit));
            self.of = Some(thing);
        }
        sleep.as_mut().poll(context)
    }

    /// Nothing is waited for.
    pub(super) fn forget(&mut self) {
        self.of = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn each_thing_has_its_own_time() {
        let limit = Duration::from_secs(5);
        let mut deadline = Deadline::new();
        let mut look = |thing| {
            let mut context = Context::from_waker(std::task::Waker::noop());
            deadline.poll(thing, limit, &mut context)
        };
        assert!(look("a").is_pending());
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(look("a").is_pending());
        assert!(look("b").is_pending());
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(look("b").is_pending(), "the time of `a` is not that of `b`");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(look("b").is_ready());
        deadline.forget();
        let before = Instant::now();
        poll_fn(|context| deadline.poll("b", limit, context)).await;
        assert_eq!(before.elapsed().as_secs(), 5);
    }
}
