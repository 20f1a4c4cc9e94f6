//! How a file that broke off is gone on with (RFC 9110 §13.1.5, §14); pure.

use http::header::{self, HeaderMap, HeaderValue};

use crate::message::headers;

/// What there is of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// How many of its first bytes.
    pub(super) len: u64,
    /// The size of the whole, if it was said.
    pub(super) total: Option<u64>,
    /// What its server knows it again by.
    pub(super) validator: Option<&'a HeaderValue>,
}

/// The headers of a request for the rest of a file, or for all of one of which there is nothing.
pub(super) fn asked(part: Option<&Part<'_>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(part) = part
        && let Some(validator) = part.validator
        && let Ok(range) = HeaderValue::try_from(format!("bytes={}-", part.len))
    {
        headers.insert(header::RANGE, range);
        headers.insert(header::IF_RANGE, validator.clone());
    }
    headers
}

/// What a server would know this file again by: a strong `ETag`, else its date.
pub(super) fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(header::ETAG);
    let strong = tag.filter(|tag| tag.as_bytes().starts_with(b"\""));
    strong
        .or_else(|| headers.get(header::LAST_MODIFIED))
        .cloned()
}

/// Whether a 206 goes on exactly where the part ends, to the end of the same file.
pub(super) fn continues(headers: &HeaderMap, part: &Part<'_>) -> bool {
    let range = headers::text(headers, "content-range").and_then(content_range);
    let Some((from, to, total)) = range else {
        return false;
    };
    // Whoever says it may say another one now.
    let same_tag = match (headers.get(header::ETAG), part.validator) {
        (Some(tag), Some(known)) if known.as_bytes().starts_with(b"\"") => tag == known,
        _ => true,
    };
    let rest = total.checked_sub(part.len);
    let same_length = length(headers).is_none_or(|length| Some(length) == rest);
    let same_total = part.total.is_none_or(|known| known == total);
    from == part.len && to.checked_add(1) == Some(total) && same_length && same_total && same_tag
}

/// The size that a message says it has.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers::text(headers, "content-length")?
        .trim()
        .parse()
        .ok()
}

/// First and last byte of a part, and the size of the whole.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_the_rest_of_the_same_file_goes_on() {
        let tag = HeaderValue::from_static("\"a\"");
        let date = HeaderValue::from_static("Sat, 21 Nov 2026 00:00:00 GMT");
        let part = |validator| Part {
            len: 10,
            total: Some(30),
            validator: Some(validator),
        };
        let (tagged, dated) = (part(&tag), part(&date));
        let range = "content-range";
        for (answer, expected) in [
            (&[(range, "bytes 10-29/30")][..], true),
            (&[(range, "bytes 10-29/30"), ("content-length", "20")], true),
            (
                &[(range, "bytes 10-29/30"), ("content-length", "19")],
                false,
            ),
            (&[(range, "bytes 10-29/30"), ("etag", "\"a\"")], true),
            (&[(range, "bytes 10-29/30"), ("etag", "\"b\"")], false),
            (&[(range, "bytes 9-29/30")], false),
            (&[(range, "bytes 11-29/30")], false),
            (&[(range, "bytes 10-28/30")], false),
            (&[(range, "bytes 10-30/31")], false),
            (&[(range, "bytes 10-29/*")], false),
            (&[(range, "bytes 10-18446744073709551615/30")], false),
            (&[(range, "10-29/30")], false),
            (&[], false),
        ] {
            assert_eq!(continues(&headers(answer), &tagged), expected, "{answer:?}");
        }
        assert!(continues(
            &headers(&[(range, "bytes 10-29/30"), ("etag", "\"b\"")]),
            &dated
        ));
        let sent = asked(Some(&tagged));
        assert_eq!(sent["range"], "bytes=10-");
        assert_eq!(sent["if-range"], "\"a\"");
        assert!(asked(None).is_empty());
    }

    #[test]
    fn only_what_is_sure_knows_a_file_again() {
        let date = "Sat, 21 Nov 2026 00:00:00 GMT";
        for (answer, expected) in [
            (&[("etag", "\"a\"")][..], Some("\"a\"")),
            (&[("etag", "\"a\""), ("last-modified", date)], Some("\"a\"")),
            (&[("etag", "W/\"a\""), ("last-modified", date)], Some(date)),
            (&[("etag", "W/\"a\"")], None),
            (&[], None),
        ] {
            let found = validator(&headers(answer));
            let found = found.as_ref().and_then(|value| value.to_str().ok());
            assert_eq!(found, expected, "{answer:?}");
        }
    }
}
