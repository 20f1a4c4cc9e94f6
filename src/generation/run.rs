//! The name of one run: of one request that may cost money.
//!
//! It is a UUID of version 7 (RFC 9562 §5.7), so it says by itself when the run was asked for, to the
//! millisecond. Whatever is written about a run is booked by that time.

use jiff::Timestamp;
use uuid::{NoContext, Uuid};

/// A name for a run that is asked for at `now`.
pub fn new_run(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds))
}

/// When the run was asked for; `None` for a name that does not say.
pub fn asked_at(run: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = run.get_timestamp()?.to_unix();
    let seconds = i64::try_from(seconds).ok()?;
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-30T23:59:59.999Z",
            "2026-12-01T00:00:00Z",
        ] {
            let at: Timestamp = text.parse().unwrap();
            let (one, other) = (new_run(at), new_run(at));
            assert_ne!(one, other);
            assert_eq!((asked_at(one), asked_at(other)), (Some(at), Some(at)));
        }
        assert_eq!(asked_at(Uuid::from_u128(7)), None);
    }
}
