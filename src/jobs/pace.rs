//! How long to wait before a job is asked for again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use http::{HeaderMap, header};

/// Errors double the wait up to this, or to the interval where that is longer.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// The longest `Retry-After` that is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(15);

/// The times between polls of one job.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    dice: RandomState,
}

impl Pace {
    /// A poll every `interval`, while all is well.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            dice: RandomState::new(),
        }
    }

    /// The wait after so many failures in a row, a fifth more or less, so that jobs that were
    /// submitted together are not asked for together for ever.
    pub(super) fn wait(&self, failures: u32, seed: impl std::hash::Hash) -> Duration {
        let longest = LONGEST_WAIT.max(self.interval);
        let doubled = self.interval.checked_mul(1 << failures.min(20));
        let wait = doubled.unwrap_or(longest).min(longest);
        // 0 to 400, for 0.8 to 1.2.
        let thousandths = 800 + u32::try_from(self.dice.hash_one(seed) % 401).unwrap_or(200);
        wait.saturating_mul(thousandths) / 1000
    }

    /// When the `nth` of `all` jobs that are taken up together is asked for: evenly over one
    /// interval.
    pub(super) fn place(&self, nth: usize, all: usize) -> Duration {
        let share = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let slot = self.interval / share(all).max(1);
        slot.saturating_mul(share(nth)).min(self.interval) + slot / 2
    }

    /// The least time between the polls of two jobs, of so many: half of what spreads them evenly.
    /// So a burst of submits, or a pause of the machine, makes no burst of polls.
    pub(super) fn gap(&self, jobs: usize) -> Duration {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX).max(1);
        self.interval / jobs.saturating_mul(2)
    }
}

/// How long upstream asks to be left alone (RFC 9110 §10.2.3), as far as it is believed. A date is
/// taken by upstream's own clock, which `Date` shows.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let until = text(header::RETRY_AFTER)?;
    let wait = if let Ok(seconds) = until.parse() {
        Duration::from_secs(seconds)
    } else {
        let until = httpdate::parse_http_date(until).ok()?;
        let now = httpdate::parse_http_date(text(header::DATE)?).ok()?;
        until.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_to_five_minutes_and_scatter() {
        let pace = Pace::new(10 * SECOND);
        for (failures, seconds) in [(0, 10), (1, 20), (2, 40), (4, 160), (5, 300), (4_000, 300)] {
            let waits: Vec<_> = (0..200).map(|seed| pace.wait(failures, seed)).collect();
            let middle = seconds * SECOND;
            let (least, most) = (middle * 4 / 5, middle * 6 / 5);
            assert!(
                waits.iter().all(|wait| (least..=most).contains(wait)),
                "{failures}"
            );
            let (soonest, latest) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(
                latest.abs_diff(*soonest) > middle / 4,
                "{failures}: they stand together"
            );
        }
        let slow = Pace::new(600 * SECOND);
        assert!(
            slow.wait(3, 0) >= 480 * SECOND,
            "never faster than the interval"
        );
        assert!(Pace::new(Duration::MAX).wait(9, 0) > SECOND);
    }

    #[test]
    fn jobs_taken_up_together_stand_apart() {
        let pace = Pace::new(10 * SECOND);
        let places: Vec<_> = (0..1000).map(|nth| pace.place(nth, 1000)).collect();
        assert!(
            places
                .windows(2)
                .all(|two| two[1].abs_diff(two[0]) == SECOND / 100)
        );
        assert!(places[999] < 10 * SECOND && places[0] > Duration::ZERO);
        assert_eq!(pace.place(0, 1), 5 * SECOND);
        assert!(pace.place(usize::MAX, 0) <= 15 * SECOND);
        assert_eq!(pace.gap(1000), SECOND / 200);
        assert_eq!(pace.gap(0), 5 * SECOND);
    }

    #[test]
    fn retry_after_is_believed_within_bounds() {
        let now = "Sat, 21 Nov 2026 12:00:00 GMT";
        let table = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("99999", Some(900)),
            ("Sat, 21 Nov 2026 12:01:00 GMT", Some(60)),
            ("Sun, 22 Nov 2026 12:00:00 GMT", Some(900)),
            ("Fri, 20 Nov 2026 12:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            headers.insert(header::DATE, now.parse().unwrap());
            let expected = expected.map(Duration::from_secs);
            assert_eq!(retry_after(&headers), expected, "{text}");
            headers.remove(header::DATE);
            let undated = expected.filter(|_| !text.contains("GMT"));
            assert_eq!(retry_after(&headers), undated, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
