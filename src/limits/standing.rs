//! How a client stands with its request limit, as OpenAI's headers say it.

use std::fmt;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");

/// How a client stands with a limit by the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    most: u32,
    remaining: u32,
    reset: Duration,
}

impl Standing {
    pub(super) fn new(most: u32, remaining: u32, reset: Duration) -> Self {
        Self {
            most,
            remaining,
            reset,
        }
    }

    /// How many there may be in a minute.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Adds the three headers of the request limit, unless upstream has said how it stands itself:
    /// numbers of two limits make no sense together.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let ours = [LIMIT, REMAINING, RESET];
        if ours.iter().any(|name| headers.contains_key(name)) {
            return;
        }
        headers.insert(LIMIT, HeaderValue::from(self.most));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        if let Ok(reset) = HeaderValue::try_from(GoDuration(self.reset).to_string()) {
            headers.insert(RESET, reset);
        }
    }
}

/// A time as Go writes it, in whole milliseconds rounded up: `0s`, `120ms`, `1.5s`, `6m0s`, `1h0m0s`.
struct GoDuration(Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.as_nanos().div_ceil(1_000_000);
        let (minutes, rest) = (all / 60_000, all % 60_000);
        if all == 0 {
            return write!(f, "0s");
        }
        if all < 1000 {
            return write!(f, "{all}ms");
        }
        if minutes >= 60 {
            write!(f, "{}h{}m", minutes / 60, minutes % 60)?;
        } else if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        let fraction = format!("{:03}", rest % 1000);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{}s", rest / 1000),
            fraction => write!(f, "{}.{fraction}s", rest / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_does() {
        for (micros, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (120_000, "120ms"),
            (999_001, "1s"),
            (1_000_000, "1s"),
            (1_500_000, "1.5s"),
            (1_050_000, "1.05s"),
            (59_999_000, "59.999s"),
            (60_000_000, "1m0s"),
            (90_250_000, "1m30.25s"),
            (360_000_000, "6m0s"),
            (3_600_000_000, "1h0m0s"),
            (90_061_001_000, "25h1m1.001s"),
        ] {
            let text = GoDuration(Duration::from_micros(micros)).to_string();
            assert_eq!(text, expected, "{micros}");
        }
    }

    #[test]
    fn upstreams_own_word_stands() {
        let standing = Standing::new(60, 59, Duration::from_secs(1));
        let mut headers = HeaderMap::new();
        standing.tell(&mut headers);
        assert_eq!(headers[LIMIT], "60");
        assert_eq!(headers[REMAINING], "59");
        assert_eq!(headers[RESET], "1s");
        let mut upstreams = HeaderMap::from_iter([(REMAINING, HeaderValue::from(7))]);
        let before = upstreams.clone();
        standing.tell(&mut upstreams);
        assert_eq!(upstreams, before);
    }
}
