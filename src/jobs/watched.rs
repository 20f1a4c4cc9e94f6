//! One running job, as far as watching it needs.

use std::time::Duration;

use tokio::time::Instant;

use super::pace::Pace;
use super::route::Route;
use super::word::{Sign, Word};

/// So many refusals in a row, and the other poll path is tried; twice as many, and the clip.
const REFUSALS: u32 = 3;

/// A running job. Small: there may be tens of thousands.
#[derive(Debug)]
pub(super) struct Watched {
    route: Route,
    /// When it is asked for next; `None` while that is going on.
    pub(super) due: Option<Instant>,
    /// How it stood when it was last heard of.
    pub(super) sign: Option<Sign>,
    /// Since when it has been standing like that, or has been watched; later by the time in which
    /// upstream did not speak of it.
    since: Instant,
    /// Since when upstream has not spoken of it, if it does not.
    mute_since: Option<Instant>,
    /// Polls in a row that told nothing, 403 apart.
    misses: u32,
    /// 403 in a row.
    refusals: u32,
    /// Whether upstream spoke of it last time, whatever it said.
    spoken_of: bool,
    /// How long upstream asked to be left alone last time.
    retry_after: Duration,
}

impl Watched {
    pub(super) fn new(route: Route, now: Instant) -> Self {
        Self {
            route,
            due: None,
            sign: None,
            since: now,
            mute_since: None,
            misses: 0,
            refusals: 0,
            spoken_of: false,
            retry_after: Duration::ZERO,
        }
    }

    /// Takes in what a poll on `route` told, whoever asked.
    pub(super) fn hear(&mut self, word: Word, route: Route, now: Instant) {
        self.count_silence(word, now);
        match word {
            Word::Sign(sign) => {
                // The one that is answered, where the other is not.
                if self.refusals > 0 {
                    self.route = route;
                }
                (self.misses, self.refusals) = (0, 0);
                if self.sign != Some(sign) {
                    (self.sign, self.since) = (Some(sign), now);
                }
            }
            Word::Forbidden if route == self.route => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals.is_multiple_of(REFUSALS) {
                    self.route = self.route.other();
                }
            }
            Word::Forbidden => {}
            Word::Senseless | Word::Missed { .. } => self.misses = self.misses.saturating_add(1),
        }
        self.retry_after = match word {
            Word::Missed { retry_after } => retry_after.unwrap_or_default(),
            Word::Sign(_) | Word::Forbidden | Word::Senseless => Duration::ZERO,
        };
    }

    /// MONEY: an outage is no silence of the job's. Without this, one senseless answer behind a long
    /// outage would give up all jobs at once.
    fn count_silence(&mut self, word: Word, now: Instant) {
        self.spoken_of = !matches!(word, Word::Missed { .. });
        if !self.spoken_of {
            self.mute_since.get_or_insert(now);
        } else if let Some(mute_since) = self.mute_since.take() {
            let since = self.since.checked_add(now.duration_since(mute_since));
            self.since = since.unwrap_or(now).min(now);
        }
    }

    /// The path on which it is asked for next.
    pub(super) fn route(&self) -> Route {
        self.route
    }

    /// Whether both poll paths are refused, so that only the clip itself may tell.
    pub(super) fn is_shut_out(&self) -> bool {
        self.refusals >= 2 * REFUSALS
    }

    /// How long to wait until it is asked for again. When it will have been silent for `deadline`,
    /// it is asked for a last time.
    pub(super) fn wait(
        &self,
        pace: &Pace,
        deadline: Duration,
        (now, seed): (Instant, impl std::hash::Hash),
    ) -> Duration {
        if !self.retry_after.is_zero() {
            return self.retry_after.max(pace.wait(self.misses, seed));
        }
        let refused = self.refusals.saturating_sub(2 * REFUSALS);
        let wait = pace.wait(self.misses.max(refused), seed);
        let left = deadline.saturating_sub(now.duration_since(self.since));
        if left.is_zero() { wait } else { wait.min(left) }
    }

    /// Whether it is to be given up.
    ///
    /// MONEY: a job that is given up may be run again, and one that still runs is then paid for
    /// twice; one that is never given up is joined for ever by everybody who asks for the same.
    /// Upstream shows jobs that have expired as running for long, so "it runs" said again and again
    /// is no sign of life: only a new state or progress is. And silence counts only when upstream
    /// was asked and spoke of this job; while it cannot be reached, a job may have succeeded unseen, and
    /// that time does not count.
    /// Silence is measured by a clock that nobody can set, and begins anew with the process.
    pub(super) fn is_given_up(&self, deadline: Duration, now: Instant) -> bool {
        self.spoken_of && now.duration_since(self.since) >= deadline
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::State;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);

    fn sign(progress: u8) -> Word {
        Word::Sign(Sign {
            state: State::Working,
            progress: Some(progress),
        })
    }

    #[test]
    fn only_news_is_a_sign_of_life() {
        let start = Instant::now();
        let at = |hours: u32| start + hours * HOUR;
        let mut job = Watched::new(Route::Videos, start);
        assert!(!job.is_given_up(24 * HOUR, at(30)), "nobody has asked yet");
        for (hour, word, given_up) in [
            (1, sign(30), false),
            (20, sign(30), false),
            (24, sign(30), false),
            (25, sign(30), true),
            (26, sign(31), false),
            (49, Word::Missed { retry_after: None }, false),
            (51, Word::Missed { retry_after: None }, false),
            // Three hours of outage do not count.
            (52, Word::Senseless, false),
            (53, Word::Forbidden, true),
            (54, sign(32), false),
        ] {
            job.hear(word, Route::Videos, at(hour));
            assert_eq!(
                job.is_given_up(24 * HOUR, at(hour)),
                given_up,
                "{hour} {word:?}"
            );
        }
        let pace = Pace::new(30 * HOUR);
        let wait = |job: &Watched, hour| job.wait(&pace, 24 * HOUR, (at(hour), 1));
        assert_eq!(
            wait(&job, 64),
            14 * HOUR,
            "just when it has been silent for long"
        );
        assert!(wait(&job, 78) >= 24 * HOUR);
        let retry_after = Some(HOUR / 4);
        job.hear(Word::Missed { retry_after }, Route::Videos, at(60));
        assert!(
            wait(&job, 64) >= 24 * HOUR,
            "what upstream asks for comes on top"
        );
    }

    #[test]
    fn an_outage_is_no_silence_of_the_job() {
        let start = Instant::now();
        let at = |hours: u32| start + hours * HOUR;
        let missed = Word::Missed { retry_after: None };
        let mut job = Watched::new(Route::Videos, start);
        job.hear(sign(30), Route::Videos, at(1));
        for hour in [2, 20, 47] {
            job.hear(missed, Route::Videos, at(hour));
        }
        for (hour, word, given_up) in [
            (48, Word::Senseless, false),
            (60, sign(30), false),
            (61, missed, false),
            (70, Word::Senseless, false),
            (79, Word::Senseless, false),
            (80, Word::Senseless, true),
        ] {
            job.hear(word, Route::Videos, at(hour));
            assert_eq!(job.is_given_up(24 * HOUR, at(hour)), given_up, "{hour}");
        }
        let mut quiet = Watched::new(Route::Videos, start);
        quiet.hear(missed, Route::Videos, at(30));
        quiet.hear(sign(1), Route::Videos, at(60));
        assert!(!quiet.is_given_up(24 * HOUR, at(83)));
        assert!(quiet.is_given_up(24 * HOUR, at(84)), "news count from now");
    }

    #[test]
    fn a_refusal_tries_the_other_path_and_then_the_clip() {
        let now = Instant::now();
        let mut job = Watched::new(Route::Generations, now);
        let mut routes = Vec::new();
        for _ in 0..7 {
            routes.push(job.route());
            job.hear(Word::Forbidden, job.route(), now);
        }
        let (ours, other) = (Route::Generations, Route::Videos);
        assert_eq!(routes, [ours, ours, ours, other, other, other, ours]);
        assert!(job.is_shut_out());
        // Somebody else is answered where we were not.
        job.hear(Word::Forbidden, other, now);
        job.hear(sign(1), other, now);
        assert!(!job.is_shut_out());
        assert_eq!(job.route(), other);
        // A client's own path is its own business while ours is answered.
        job.hear(sign(2), ours, now);
        job.hear(Word::Forbidden, ours, now);
        assert_eq!((job.route(), job.refusals), (other, 0));
    }

    #[test]
    fn failures_slow_it_down_and_an_answer_speeds_it_up() {
        let now = Instant::now();
        let pace = Pace::new(10 * SECOND);
        let mut job = Watched::new(Route::Videos, now);
        let wait = |job: &Watched| job.wait(&pace, 24 * HOUR, (now, 1));
        assert!(wait(&job) <= 12 * SECOND);
        for _ in 0..10 {
            job.hear(Word::Senseless, Route::Videos, now);
        }
        assert!(wait(&job) >= 240 * SECOND);
        job.hear(sign(1), Route::Videos, now);
        assert!(wait(&job) <= 12 * SECOND);
        for _ in 0..6 {
            job.hear(Word::Forbidden, job.route(), now);
            assert!(wait(&job) <= 12 * SECOND);
        }
        for _ in 0..5 {
            job.hear(Word::Forbidden, job.route(), now);
        }
        assert!(wait(&job) >= 240 * SECOND);
    }
}
