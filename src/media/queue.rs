//! Which file is fetched next, and when.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fetch::Partial;
use crate::generation::Fingerprint;

/// So many unfinished files wait beside their links; those of others are forgotten, and fetched from
/// their start.
const MOST_PARTIAL: usize = 8;

/// The first pause after a file was missed, which doubles, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A link whose file is to be fetched.
pub(super) struct Due {
    /// Where its record was when it was last seen.
    pub(super) key: Fingerprint,
    /// The job that it is a result of: where that is kept may change.
    pub(super) task: Option<String>,
    pub(super) link: Arc<str>,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// What has come of it.
    pub(super) partial: Option<Box<Partial>>,
}

/// What is to be fetched, in the order of its time.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<(Instant, u64), Due>,
    /// Everything that waits or is being fetched.
    known: HashSet<(Fingerprint, Arc<str>)>,
    added: u64,
    partial: usize,
}

impl Queue {
    /// Adds a link, unless it is there already.
    pub(super) fn add(&mut self, due: Due) {
        if self.known.insert((due.key, due.link.clone())) {
            self.wait(due, Instant::now());
        }
    }

    /// How many wait or are being fetched.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Puts back one that was taken, for later.
    pub(super) fn put_back(&mut self, mut due: Due, pause: Duration) {
        if self.partial >= MOST_PARTIAL {
            due.partial = None;
        }
        self.wait(due, Instant::now() + pause);
    }

    /// The next one whose time has come.
    pub(super) fn take(&mut self) -> Option<Due> {
        let (at, _) = *self.waiting.first_key_value()?.0;
        if at > Instant::now() {
            return None;
        }
        let (_, due) = self.waiting.pop_first()?;
        self.partial -= usize::from(due.partial.is_some());
        Some(due)
    }

    /// When the next one's time comes.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// One that was taken is settled.
    pub(super) fn forget(&mut self, key: Fingerprint, link: &Arc<str>) {
        self.known.remove(&(key, link.clone()));
    }

    fn wait(&mut self, due: Due, at: Instant) {
        self.added += 1;
        self.partial += usize::from(due.partial.is_some());
        self.waiting.insert((at, self.added), due);
    }
}

/// How long to wait after so many attempts, unless the server asks for more: 1 s doubling, at most
/// five minutes, and a fifth more or less, so that many files of one host do not come back at once.
pub(super) fn pause(due: &Due, asked: Option<Duration>) -> Duration {
    let doubled = 2_u32.saturating_pow(due.attempts.saturating_sub(1));
    let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    let mut dice = blake3::Hasher::new();
    dice.update(due.key.as_bytes()).update(due.link.as_bytes());
    dice.update(&due.attempts.to_le_bytes());
    let [roll, ..] = *dice.finalize().as_bytes();
    let pause = pause.mul_f64(0.8 + 0.4 * f64::from(roll) / 255.0);
    pause.max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(link: &str, attempts: u32) -> Due {
        Due {
            key: Fingerprint::from_bytes([1; 32]),
            task: None,
            link: link.into(),
            attempts,
            partial: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_link_waits_once_and_in_order() {
        let mut queue = Queue::default();
        queue.add(due("a", 0));
        queue.add(due("b", 0));
        queue.add(due("a", 0));
        let first = queue.take().unwrap();
        assert_eq!(&*first.link, "a");
        queue.add(due("a", 0));
        assert_eq!(&*queue.take().unwrap().link, "b");
        assert!(queue.take().is_none(), "it is being fetched");
        queue.put_back(first, Duration::from_secs(1));
        assert!(queue.take().is_none() && queue.next_at().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        let first = queue.take().unwrap();
        queue.forget(first.key, &first.link);
        queue.add(due("a", 0));
        assert!(queue.take().is_some());
    }

    #[test]
    fn pauses_double_and_end_at_five_minutes() {
        for (attempts, seconds) in [
            (1, 1.0),
            (2, 2.0),
            (5, 16.0),
            (9, 256.0),
            (10, 300.0),
            (4_000_000, 300.0),
        ] {
            let pause = pause(&due("a", attempts), None).as_secs_f64();
            assert!(
                pause >= 0.79 * seconds && pause <= 1.21 * seconds,
                "{attempts}: {pause}"
            );
        }
        let asked = Duration::from_hours(1);
        assert_eq!(pause(&due("a", 1), Some(asked)), asked);
    }
}
