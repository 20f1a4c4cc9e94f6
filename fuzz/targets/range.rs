//! Ranges and conditions: a part lies within the file, and a simple range is what it says.
#![no_main]

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use reprise::media::range::{Wanted, wanted};

const TAG: &str = "\"abc\"";

fuzz_target!(|input: &[u8]| {
    let [high, low, rest @ ..] = input else {
        return;
    };
    let len = u64::from(*high) << 8 | u64::from(*low);
    let mut headers = HeaderMap::new();
    for line in rest.split(|byte| *byte == b'\n') {
        let Some((first, value)) = line.split_first() else {
            continue;
        };
        let name = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH][usize::from(first % 4)].clone();
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let got = wanted(&Method::GET, &headers, TAG, len);
    if let Wanted::Part(from, to) = got {
        assert!(from <= to && to < len, "{from}-{to}/{len}");
    }
    let head = wanted(&Method::HEAD, &headers, TAG, len);
    assert!(!matches!(head, Wanted::Part(..) | Wanted::Unsatisfiable));
    if headers.contains_key(RANGE) {
        let range = headers.remove(RANGE);
        let whole = wanted(&Method::GET, &headers, TAG, len);
        assert_eq!(whole, head, "a HEAD is a GET of all of it");
        // A condition that decides, decides before the range.
        if whole != Wanted::Whole {
            assert_eq!(got, whole);
        }
        headers.clear();
        headers.extend(range.map(|range| (RANGE, range)));
    } else {
        assert_eq!(got, head);
        headers.clear();
    }
    // Alone, in its simplest form, it is plain what a range says.
    if let Some(said) = headers.get(RANGE).and_then(|range| simple(range, len)) {
        assert_eq!(wanted(&Method::GET, &headers, TAG, len), said);
        headers.insert(IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(wanted(&Method::GET, &headers, TAG, len), Wanted::Whole);
        headers.insert(IF_RANGE, HeaderValue::from_static(TAG));
        assert_eq!(wanted(&Method::GET, &headers, TAG, len), said);
    }
});

/// `bytes=3-5`, `bytes=3-` or `bytes=-5`, of a file that is not empty.
fn simple(range: &HeaderValue, len: u64) -> Option<Wanted> {
    let (from, to) = range
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let number = |text: &str| {
        let digits = text.bytes().all(|digit| digit.is_ascii_digit());
        // With a zero before it, it may be ignored; the whole file is no wrong answer.
        let odd = text.is_empty() || text.len() > 15 || (text.len() > 1 && text.starts_with('0'));
        (digits && !odd).then(|| text.parse::<u64>().ok())?
    };
    let last = len.checked_sub(1)?;
    Some(match (from, to) {
        ("", count) => match number(count)? {
            0 => Wanted::Unsatisfiable,
            count => Wanted::Part(len.saturating_sub(count), last),
        },
        (from, "") if number(from)? > last => Wanted::Unsatisfiable,
        (from, "") => Wanted::Part(number(from)?, last),
        (from, to) => match (number(from)?, number(to)?) {
            (from, to) if from > to => Wanted::Whole,
            (from, _) if from > last => Wanted::Unsatisfiable,
            (from, to) => Wanted::Part(from, to.min(last)),
        },
    })
}
