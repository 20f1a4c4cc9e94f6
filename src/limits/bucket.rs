//! A limit by the minute.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::Standing;

/// A bucket that holds a minute's worth and refills evenly: 60 a minute are 60 at once, and one more
/// each second.
pub(super) struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks, StateInformationMiddleware>,
    most: NonZeroU32,
}

/// The monotonic clock that waiting goes by everywhere, since a moment of its own.
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Bucket {
    /// A full bucket for so many a minute.
    fn new(most: NonZeroU32) -> Self {
        let ticks = Ticks(Instant::now());
        let limiter = RateLimiter::direct_with_clock(Quota::per_minute(most), ticks);
        Self {
            limiter: limiter.with_middleware(),
            most,
        }
    }

    /// The bucket for so many a minute, 0 being no limit: `before`, if it is such a one.
    pub(super) fn like(before: Option<&Arc<Self>>, per_minute: u32) -> Option<Arc<Self>> {
        let most = NonZeroU32::new(per_minute)?;
        match before {
            Some(before) if before.most == most => Some(before.clone()),
            Some(_) | None => Some(Arc::new(Self::new(most))),
        }
    }

    /// Takes one, and says what is left; or how long it takes until there is one.
    pub(super) fn take(&self) -> Result<Standing, (Standing, Duration)> {
        let most = self.most.get();
        let interval = Duration::from_mins(1) / most;
        match self.limiter.check() {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity().min(most);
                let reset = interval.saturating_mul(most - remaining);
                Ok(Standing::new(most, remaining, reset))
            }
            Err(not_yet) => {
                let wait = not_yet.wait_time_from(self.limiter.clock().now());
                // One comes after the wait, and the others at their pace behind it.
                let reset = wait.saturating_add(interval.saturating_mul(most - 1));
                Err((Standing::new(most, 0, reset), wait))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(per_minute: u32) -> Arc<Bucket> {
        Bucket::like(None, per_minute).expect("a limit")
    }

    /// How many can be taken now.
    fn drain(bucket: &Bucket) -> usize {
        (0..10_000).take_while(|_| bucket.take().is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_minutes_worth_at_once_and_then_evenly() {
        for most in [1_u32, 7, 60, 600] {
            let bucket = bucket(most);
            assert_eq!(drain(&bucket), most as usize);
            let interval = Duration::from_mins(1) / most;
            let short = interval.saturating_sub(Duration::from_millis(1));
            tokio::time::advance(short).await;
            assert_eq!(drain(&bucket), 0, "{most}");
            tokio::time::advance(Duration::from_millis(2)).await;
            assert_eq!(drain(&bucket), 1, "{most}");
            tokio::time::advance(10 * interval).await;
            assert_eq!(drain(&bucket), 10.min(most as usize), "{most}");
            tokio::time::advance(Duration::from_hours(1)).await;
            assert_eq!(drain(&bucket), most as usize, "no more than it holds");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_how_it_stands() {
        let bucket = bucket(60);
        let second = Duration::from_secs(1);
        for taken in 1..=60 {
            let left = Standing::new(60, 60 - taken, taken * second);
            assert_eq!(bucket.take(), Ok(left));
        }
        let (standing, wait) = bucket.take().expect_err("it is empty");
        assert_eq!(wait, second);
        assert_eq!(standing, Standing::new(60, 0, 60 * second));
        tokio::time::advance(Duration::from_millis(400)).await;
        let (standing, wait) = bucket.take().expect_err("it is empty");
        assert_eq!(wait, Duration::from_millis(600), "refusals cost nothing");
        assert_eq!(
            standing,
            Standing::new(60, 0, Duration::from_millis(59_600))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_even_number_keeps_its_state() {
        let first = bucket(2);
        assert_eq!(drain(&first), 2);
        let same = Bucket::like(Some(&first), 2).expect("a limit");
        assert_eq!(drain(&same), 0);
        let other = Bucket::like(Some(&first), 3).expect("a limit");
        assert_eq!(drain(&other), 3);
        assert!(Bucket::like(Some(&first), 0).is_none());
        assert!(Bucket::like(None, u32::MAX).is_some_and(|bucket| bucket.take().is_ok()));
    }
}
