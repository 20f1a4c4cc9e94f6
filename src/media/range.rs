//! Which part of a file is asked for, and under which condition (RFC 9110 §13 and §14).

use std::iter;

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method};
use http_range_header::{
    EndPosition, RangeUnsatisfiableError, StartPosition, SyntacticallyCorrectRange,
    parse_range_header,
};

/// What a request for a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: 200.
    Whole,
    /// The bytes from the first to the last, both included: 206.
    Part(u64, u64),
    /// Nothing: the client has it. 304.
    NotModified,
    /// Nothing: the client insists on another one. 412.
    PreconditionFailed,
    /// Nothing: the file has no such part. 416.
    Unsatisfiable,
}

/// What a GET or HEAD gets of a file with the strong entity tag `tag` (quotes included) and `len`
/// bytes.
///
/// The order is that of RFC 9110 §13.2.2. There is no date of modification, so conditions about one
/// never hold. Several ranges get the whole file, as §14.2 allows: players and resuming downloads
/// ask for one. A range that is malformed is none, and HEAD has none.
pub fn wanted(method: &Method, headers: &HeaderMap, tag: &str, len: u64) -> Wanted {
    let strong = |given: &Tag<'_>| !given.weak && given.opaque == tag;
    let weak = |given: &Tag<'_>| given.opaque == tag;
    if headers.contains_key(header::IF_MATCH) && !matches(headers, &header::IF_MATCH, strong) {
        return Wanted::PreconditionFailed;
    }
    if matches(headers, &header::IF_NONE_MATCH, weak) {
        return Wanted::NotModified;
    }
    if *method != Method::GET || !is_same_as_before(headers, strong) {
        return Wanted::Whole;
    }
    match only(headers, &header::RANGE).map(parse_range_header) {
        Some(Ok(ranges)) => match ranges.ranges.as_slice() {
            [one] => part(*one, len),
            _ => Wanted::Whole,
        },
        // `bytes=-0` is well formed, and asks for nothing.
        Some(Err(RangeUnsatisfiableError::ZeroSuffix)) => Wanted::Unsatisfiable,
        Some(Err(_)) | None => Wanted::Whole,
    }
}

fn part(range: SyntacticallyCorrectRange, len: u64) -> Wanted {
    let Some(last) = len.checked_sub(1) else {
        return match range.start {
            // The last bytes of nothing are all of it, and no `Content-Range` can say so.
            StartPosition::FromLast(_) => Wanted::Whole,
            StartPosition::Index(_) => Wanted::Unsatisfiable,
        };
    };
    let to = match range.end {
        EndPosition::Index(to) => to,
        EndPosition::LastByte => last,
    };
    match range.start {
        StartPosition::FromLast(count) => Wanted::Part(len.saturating_sub(count), last),
        StartPosition::Index(from) if from > last => match range.end {
            EndPosition::Index(to) if to < from => Wanted::Whole,
            EndPosition::Index(_) | EndPosition::LastByte => Wanted::Unsatisfiable,
        },
        // Backwards: malformed, so there is no range.
        StartPosition::Index(from) if to < from => Wanted::Whole,
        StartPosition::Index(from) => Wanted::Part(from, to.min(last)),
    }
}

/// Whether a range may be given: without `If-Range`, or when it names just this file.
fn is_same_as_before(headers: &HeaderMap, strong: impl Fn(&Tag<'_>) -> bool) -> bool {
    if !headers.contains_key(header::IF_RANGE) {
        return true;
    }
    let text = only(headers, &header::IF_RANGE).unwrap_or_default();
    let mut tags = Tags(text);
    tags.next().is_some_and(|tag| strong(&tag)) && tags.0.is_empty()
}

/// Whether one of a header's tags, or `*`, is meant for this file.
fn matches(headers: &HeaderMap, name: &HeaderName, same: impl Fn(&Tag<'_>) -> bool) -> bool {
    let lines = headers.get_all(name).iter().filter_map(text);
    let mut any = lines.map(|line| line.trim() == "*" || Tags(line).any(|tag| same(&tag)));
    any.any(|matches| matches)
}

/// The value of a header that stands once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().and_then(text)?;
    lines.next().is_none().then_some(line)
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// An entity tag (RFC 9110 §8.8.3).
struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a str,
}

/// The tags of a list, up to the first that is none. A tag may hold a comma.
struct Tags<'a>(&'a str);

impl<'a> iter::Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let (weak, rest) = match rest.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let end = rest.strip_prefix('"')?.find('"')? + 2;
        let (opaque, rest) = rest.split_at_checked(end)?;
        let rest = rest.trim_start_matches([' ', '\t']);
        if !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
        self.0 = rest;
        Some(Tag { weak, opaque })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAG: &str = "\"abc\"";

    fn asked(method: &Method, sent: &[(&'static str, &str)], len: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        wanted(method, &headers, TAG, len)
    }

    #[test]
    fn ranges() {
        use Wanted::{Part, Unsatisfiable, Whole};
        let table = [
            ("bytes=0-0", 10, Part(0, 0)),
            ("bytes=2-5", 10, Part(2, 5)),
            ("bytes=2-", 10, Part(2, 9)),
            ("bytes=0-", 10, Part(0, 9)),
            ("bytes=9-9", 10, Part(9, 9)),
            ("bytes=2-99", 10, Part(2, 9)),
            ("bytes=2-18446744073709551615", 10, Part(2, 9)),
            ("bytes=-3", 10, Part(7, 9)),
            ("bytes=-10", 10, Part(0, 9)),
            ("bytes=-99", 10, Part(0, 9)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=10-12", 10, Unsatisfiable),
            ("bytes=18446744073709551615-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-1", 0, Whole),
            ("bytes=5-2", 10, Whole),
            ("bytes=15-12", 10, Whole),
            ("bytes=0-1,4-5", 10, Whole),
            ("bytes=0-1,99-", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=1-2-3", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes = 1-2", 10, Whole),
            ("bytes 1-2", 10, Whole),
            ("items=1-2", 10, Whole),
            ("", 10, Whole),
        ];
        for (range, len, expected) in table {
            let sent = [("range", range)];
            assert_eq!(
                asked(&Method::GET, &sent, len),
                expected,
                "{range} of {len}"
            );
            assert_eq!(asked(&Method::HEAD, &sent, len), Whole, "HEAD {range}");
        }
        let twice = [("range", "bytes=0-1"), ("range", "bytes=0-1")];
        assert_eq!(asked(&Method::GET, &twice, 10), Whole);
    }

    #[test]
    fn conditions() {
        use Wanted::{NotModified, Part, PreconditionFailed, Whole};
        type Sent = &'static [(&'static str, &'static str)];
        let table: [(Sent, Wanted); 25] = [
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "\"x\", W/\"abc\"")], NotModified),
            (&[("if-none-match", "\"x,y\" ,\"abc\"")], NotModified),
            (
                &[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")],
                NotModified,
            ),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "abc")], Whole),
            (&[("if-none-match", "\"x\"\"abc\"")], Whole),
            (&[("if-none-match", "\"x,\"abc\"")], Whole),
            (&[("if-none-match", "\"abc")], Whole),
            (&[("if-none-match", "")], Whole),
            (
                &[("if-none-match", "\"abc\""), ("range", "bytes=1-2")],
                NotModified,
            ),
            (&[("if-match", "\"abc\"")], Whole),
            (&[("if-match", "*"), ("range", "bytes=1-2")], Part(1, 2)),
            (&[("if-match", "\"x\"")], PreconditionFailed),
            (&[("if-match", "W/\"abc\"")], PreconditionFailed),
            (&[("if-match", "")], PreconditionFailed),
            (
                &[("if-match", "\"x\""), ("if-none-match", "*")],
                PreconditionFailed,
            ),
            (
                &[("if-range", "\"abc\""), ("range", "bytes=1-2")],
                Part(1, 2),
            ),
            (&[("if-range", "W/\"abc\""), ("range", "bytes=1-2")], Whole),
            (&[("if-range", "\"x\""), ("range", "bytes=1-2")], Whole),
            (
                &[("if-range", "\"abc\", \"x\""), ("range", "bytes=1-2")],
                Whole,
            ),
            (
                &[
                    ("if-range", "Sat, 21 Nov 2026 10:00:00 GMT"),
                    ("range", "bytes=1-2"),
                ],
                Whole,
            ),
            (&[("if-range", "\"x\""), ("range", "bytes=99-")], Whole),
            (
                &[("if-modified-since", "Sat, 21 Nov 2026 10:00:00 GMT")],
                Whole,
            ),
        ];
        for (sent, expected) in table {
            assert_eq!(asked(&Method::GET, sent, 10), expected, "{sent:?}");
        }
        let head = [("if-none-match", "*")];
        assert_eq!(asked(&Method::HEAD, &head, 10), NotModified);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(from: u64, to: u64, len: u64, suffix: bool, open: bool) {
            let range = match (suffix, open) {
                (true, _) => format!("bytes=-{to}"),
                (false, true) => format!("bytes={from}-"),
                (false, false) => format!("bytes={from}-{to}"),
            };
            let found = asked(&Method::GET, &[("range", &range)], len);
            if let Wanted::Part(first, last) = found {
                prop_assert!(first <= last && last < len, "{} of {}", range, len);
                prop_assert!(suffix || (first == from && (open || last <= to)));
            }
            prop_assert!(!matches!(found, Wanted::NotModified | Wanted::PreconditionFailed));
        }

        #[test]
        fn anything_can_be_asked(values in proptest::collection::vec("[ -~]{0,24}", 4), len: u64) {
            let names = ["range", "if-range", "if-match", "if-none-match"];
            let sent: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
            if let Wanted::Part(first, last) = asked(&Method::GET, &sent, len) {
                prop_assert!(first <= last && last < len);
            }
        }
    }
}
