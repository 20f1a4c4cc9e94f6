//! When a call that went wrong is made again.

use std::time::Duration;

use crate::store::DeliveryId;

/// Nothing is put off for longer, whatever a receiver asks for.
const LONGEST: Duration = Duration::from_hours(1);

/// How often and how fast a call is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The pause behind the first attempt; each later one is twice as long.
    pub first_pause: Duration,
    /// How many attempts there are in all.
    pub attempts: u32,
    /// How long to wait when a state could not be read or written down.
    pub bad_disk_pause: Duration,
}

impl Schedule {
    /// RelayDance's own callbacks have no documented rhythm; this is the one proxy.toml tells.
    pub fn new(attempts: u32) -> Self {
        Self {
            first_pause: Duration::from_secs(2),
            attempts,
            bad_disk_pause: Duration::from_mins(1),
        }
    }

    /// How long to wait behind so many attempts; `None` when that was the last one. `asked` is what
    /// the receiver asked for.
    pub(super) fn pause(
        &self,
        id: &DeliveryId,
        attempts: u32,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        if attempts >= self.attempts {
            return None;
        }
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let pause = self.first_pause.saturating_mul(doubled).min(LONGEST);
        let asked = asked.unwrap_or_default().min(LONGEST);
        Some(jittered(pause, id, attempts).max(asked))
    }
}

/// Between four fifths and six fifths of it: many callers of one job do not come back all at once.
fn jittered(pause: Duration, id: &DeliveryId, attempts: u32) -> Duration {
    let mut dice = blake3::Hasher::new();
    dice.update(id.own_bytes());
    dice.update(&attempts.to_le_bytes());
    let [roll, ..] = *dice.finalize().as_bytes();
    pause.mul_f64(0.8 + 0.4 * f64::from(roll) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Fingerprint;

    #[test]
    fn pauses_double_and_end() {
        let key = Fingerprint::from_bytes([1; 32]);
        let schedule = Schedule::new(20);
        for address in ["a", "b", "c"] {
            let id = DeliveryId::new(&key, "task_1", address);
            for attempts in 1..20 {
                let expected = 2_u64.pow(attempts).min(3600);
                let pause = schedule.pause(&id, attempts, None).unwrap().as_secs_f64();
                let expected = Duration::from_secs(expected).as_secs_f64();
                assert!(
                    (0.79..1.21).contains(&(pause / expected)),
                    "{attempts}: {pause}"
                );
            }
            assert_eq!(schedule.pause(&id, 20, None), None);
            assert_eq!(Schedule::new(1).pause(&id, 1, None), None);
        }
    }

    #[test]
    fn a_receiver_may_ask_for_more_up_to_an_hour() {
        let id = DeliveryId::new(&Fingerprint::from_bytes([1; 32]), "task_1", "a");
        let schedule = Schedule::new(3);
        let pause = |asked| schedule.pause(&id, 1, Some(Duration::from_secs(asked)));
        assert_eq!(pause(60), Some(Duration::from_mins(1)));
        assert_eq!(pause(1_000_000), Some(LONGEST));
        assert_eq!(pause(0), schedule.pause(&id, 1, None));
    }
}
