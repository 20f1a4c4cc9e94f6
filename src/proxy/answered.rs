//! How a request was answered, in a word: read from the `Cache-Status` that its client is told, so
//! that the two never disagree.

use http::{HeaderMap, StatusCode};

use super::reply::CACHE_STATUS;
use super::told::How;

/// Marks an answer that leaves open whether a run was paid for, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubtful;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// `hit`, `joined`, `stored`, `not-kept`, `failed`, `unknown`, `bypass`, `refused`, `served` or `left`.
    pub(super) word: &'static str,
    /// Why the cache had nothing to do with it.
    pub(super) reason: Option<&'static str>,
}

/// Every reason to pass by the cache.
const REASONS: [&str; 6] = [
    "not-a-generation",
    "mode-off",
    "no-store",
    "not-deterministic",
    "job-running",
    "poll-not-kept",
];

impl Answered {
    /// By the proxy, with something that is no answer of upstream's.
    pub(super) const SERVED: Self = Self::by("served");
    /// By upstream, in a way that leaves it open whether a run was paid for.
    pub(super) const UNKNOWN: Self = Self::by("unknown");

    const fn by(word: &'static str) -> Self {
        Self { word, reason: None }
    }

    /// What the last of the caches says, which is this one.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let said = headers.get_all(CACHE_STATUS).iter().next_back();
        let said = said.and_then(|said| said.to_str().ok());
        let Some(words) = said.and_then(|said| said.strip_prefix("reprise; ")) else {
            return Self::SERVED;
        };
        if words.starts_with("hit") {
            return Self::by("hit");
        }
        let last = words.rsplit("; ").next().unwrap_or_default();
        if words.starts_with("fwd=bypass") {
            let reason = last.strip_prefix("detail=");
            let known = REASONS.into_iter().find(|known| Some(*known) == reason);
            Self {
                reason: Some(known.unwrap_or("other")),
                ..Self::by("bypass")
            }
        } else {
            match last {
                "collapsed" => Self::by("joined"),
                "stored" => Self::by("stored"),
                "detail=not-kept" => Self::by("not-kept"),
                _ if last.starts_with("fwd-status=") => Self::by("failed"),
                _ => Self::SERVED,
            }
        }
    }

    /// With one of the proxy's own errors.
    pub(super) fn of_code(code: &str) -> Self {
        match code {
            "upstream_outcome_unknown" => Self::UNKNOWN,
            _ if code.starts_with("upstream_") => Self::by("failed"),
            _ => Self::by("refused"),
        }
    }

    /// The same, now that its end is known: a client may leave before there is an answer, and a run
    /// whose answer was shown while it came may break off.
    pub(super) fn at_the_end(self, status: Option<StatusCode>, how: How) -> Self {
        match how {
            How::Left if status.is_none() => Self::by("left"),
            How::Broken if self.word == "stored" => Self::UNKNOWN,
            How::Whole | How::Broken | How::Left => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::generation::Fingerprint;
    use crate::once::Reason;
    use crate::proxy::reply::{self, Status};

    fn read(status: Status) -> Answered {
        let mut headers = HeaderMap::new();
        // Upstream may be such a proxy itself.
        let upstreams = HeaderValue::from_static("reprise; hit; key=\"0123456789abcdef\"");
        headers.insert(CACHE_STATUS, upstreams);
        reply::mark(&mut headers, status, None);
        Answered::read(&headers)
    }

    #[test]
    fn every_way_is_read_back() {
        let key = Fingerprint::from_bytes([1; 32]);
        for (status, word) in [
            (Status::Hit(key), "hit"),
            (Status::Stored(Reason::Miss), "stored"),
            (Status::Stored(Reason::Asked), "stored"),
            (Status::Stored(Reason::Expired), "stored"),
            (Status::Answered(Reason::Miss, StatusCode::OK), "failed"),
            (Status::NotKept(Reason::Miss), "not-kept"),
            (Status::Collapsed, "joined"),
        ] {
            assert_eq!(read(status), Answered::by(word), "{status:?}");
        }
        for reason in REASONS {
            let bypass = read(Status::Bypass(reason));
            assert_eq!((bypass.word, bypass.reason), ("bypass", Some(reason)));
        }
        assert_eq!(read(Status::Bypass("new")).reason, Some("other"));
        assert_eq!(Answered::read(&HeaderMap::new()), Answered::SERVED);
    }

    #[test]
    fn an_error_says_whether_money_may_be_gone() {
        for (code, word) in [
            ("upstream_outcome_unknown", "unknown"),
            ("upstream_unreachable", "failed"),
            ("outcome_unknown", "refused"),
            ("invalid_api_key", "refused"),
        ] {
            assert_eq!(Answered::of_code(code).word, word, "{code}");
        }
    }

    #[test]
    fn the_end_may_change_the_word() {
        let stored = read(Status::Stored(Reason::Miss));
        let ok = Some(StatusCode::OK);
        assert_eq!(stored.at_the_end(ok, How::Broken), Answered::UNKNOWN);
        assert_eq!(stored.at_the_end(ok, How::Left), stored);
        assert_eq!(Answered::SERVED.at_the_end(None, How::Left).word, "left");
    }
}
