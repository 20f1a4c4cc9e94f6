//! What a request asks of the proxy itself: its `Cache-Control` and `Reprise-*` headers.

use http::header::{self, HeaderMap, HeaderName};

use super::Error;
use crate::once::Freshness;

const REPRISE_TAKE: HeaderName = HeaderName::from_static("reprise-take");

/// A request's wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directives {
    /// How fresh the answer has to be.
    pub(super) freshness: Freshness,
    /// Neither look nor keep.
    pub(super) no_store: bool,
    /// Which take of the same request; 1 unless the client says otherwise.
    pub(super) take: u32,
}

impl Directives {
    /// Reads them. Unknown directives mean nothing (RFC 9111 §5.2.3).
    ///
    /// # Errors
    /// When a take is not a number, or names a take that cannot be: a run that the client did not
    /// mean costs money.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Error> {
        let mut freshness = Freshness::default();
        let mut no_store = false;
        for directive in cache_control(headers) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => freshness.no_cache = true,
                "no-store" => no_store = true,
                "only-if-cached" => freshness.only_if_cached = true,
                "max-age" => freshness.max_age = Some(seconds(value)?),
                _ => {}
            }
        }
        Ok(Self {
            freshness,
            no_store,
            take: take(headers)?,
        })
    }
}

fn cache_control(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn seconds(value: &str) -> Result<u64, Error> {
    let digits = value.trim().trim_matches('"');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = "Cache-Control: max-age takes a whole number of seconds, as in max-age=60.";
        return Err(Error::BadRequest(message.to_owned()));
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn take(headers: &HeaderMap) -> Result<u32, Error> {
    let mut sent = headers.get_all(REPRISE_TAKE).iter();
    let Some(first) = sent.next() else {
        return Ok(1);
    };
    let text = first.to_str().unwrap_or_default().trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (digits, text.parse::<u32>(), sent.next()) {
        (true, Ok(take), None) if take > 0 => Ok(take),
        _ => {
            let message =
                "Reprise-Take names a take by one whole number from 1 on, as in Reprise-Take: 2.";
            Err(Error::BadRequest(message.to_owned()))
        }
    }
}

/// Takes out the headers that are meant for the proxy alone.
pub(super) fn strip(headers: &mut HeaderMap) {
    let ours: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("reprise-"))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

/// Takes out what would make upstream's answer fit this client alone: a kept answer suits all.
pub(super) fn strip_for_run(headers: &mut HeaderMap) {
    for name in [
        header::CACHE_CONTROL,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
        header::PRAGMA,
        header::RANGE,
    ] {
        headers.remove(name);
    }
    headers.insert(
        header::ACCEPT_ENCODING,
        header::HeaderValue::from_static("identity"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    fn read(sent: &[(&'static str, &'static str)]) -> Result<Directives, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        Directives::read(&headers)
    }

    #[test]
    fn directives_as_they_are_written() {
        let plain = Directives {
            freshness: Freshness::default(),
            no_store: false,
            take: 1,
        };
        let fresh = |freshness| Directives { freshness, ..plain };
        let no_cache = Freshness {
            no_cache: true,
            ..Freshness::default()
        };
        let cached = Freshness {
            only_if_cached: true,
            max_age: Some(60),
            ..Freshness::default()
        };
        let table: [(&[(&'static str, &'static str)], Directives); 8] = [
            (&[], plain),
            (&[("cache-control", "no-cache")], fresh(no_cache)),
            (&[("cache-control", "No-Cache, x=1")], fresh(no_cache)),
            (
                &[("cache-control", "no-store")],
                Directives {
                    no_store: true,
                    ..plain
                },
            ),
            (
                &[
                    ("cache-control", "only-if-cached"),
                    ("cache-control", "max-age=60"),
                ],
                fresh(cached),
            ),
            (&[("cache-control", "max-stale=5")], plain),
            (&[("reprise-take", "2")], Directives { take: 2, ..plain }),
            (&[("reprise-take", "1")], plain),
        ];
        for (sent, expected) in table {
            assert_eq!(read(sent).unwrap(), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_wish_that_cannot_be_understood_is_refused() {
        for sent in [
            ("reprise-take", "0"),
            ("reprise-take", "-1"),
            ("reprise-take", "+2"),
            ("reprise-take", "two"),
            ("reprise-take", "4294967296"),
            ("cache-control", "max-age=soon"),
            ("cache-control", "max-age"),
        ] {
            assert!(read(&[sent]).is_err(), "{sent:?}");
        }
        assert!(read(&[("reprise-take", "1"), ("reprise-take", "2")]).is_err());
    }
}
