//! Percent encoding (RFC 3986 §2.1), read but never written.

use std::borrow::Cow;

/// `text` with every `%XX` replaced by its byte, once. A `%` that is none stays.
pub(crate) fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let (b'%', Some(byte)) = (first, escaped(after)) {
            out.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(first);
            rest = after;
        }
    }
    Cow::Owned(out)
}

/// `text` decoded again and again until nothing is left to decode, in one pass.
///
/// Going over the text as often as it is encoded would take quadratic time on `%252525…`. An
/// escape holds no other escape, so the order of decoding does not matter and it is enough to
/// look at the end of what has been written so far.
pub(super) fn decode_fully(text: &[u8]) -> Cow<'_, [u8]> {
    folded(text, escape_at_end)
}

/// [`decode_fully`] for servers that also read what RFC 3629 §3 forbids, `%c0%ae` for a dot, and what
/// was never a standard, `%u002e`.
pub(super) fn decode_loosely(text: &[u8]) -> Cow<'_, [u8]> {
    folded(text, |end| {
        escape_at_end(end).or_else(|| oddity_at_end(end))
    })
}

/// `text` with everything replaced that `undo` finds at the end of what has been read so far: how
/// long it is, and the byte that it stands for.
fn folded(text: &[u8], undo: impl Fn(&[u8]) -> Option<(usize, u8)>) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for &byte in text {
        out.push(byte);
        while let Some((length, byte)) = undo(&out) {
            out.truncate(out.len().saturating_sub(length));
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

fn escape_at_end(text: &[u8]) -> Option<(usize, u8)> {
    let [.., b'%', high, low] = text else {
        return None;
    };
    Some((3, escaped(&[*high, *low])?))
}

/// An ASCII character in more bytes of UTF-8 than it needs, or in an escape of UTF-16.
fn oddity_at_end(text: &[u8]) -> Option<(usize, u8)> {
    let (length, high, low) = match text {
        [.., b'%', b'u' | b'U', b'0', b'0', high, low] => {
            let byte = escaped(&[*high, *low])?;
            return byte.is_ascii().then_some((6, byte));
        }
        [.., 0xf0, 0x80, high @ 0x80..=0x81, low] => (4, high, low),
        [.., 0xe0, high @ 0x80..=0x81, low] => (3, high, low),
        [.., high @ 0xc0..=0xc1, low] => (2, high, low),
        _ => return None,
    };
    matches!(low, 0x80..=0xbf).then_some((length, (high & 1) << 6 | low & 0x3f))
}

/// The byte that the two hexadecimal digits at the start of `digits` stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let &[high, low, ..] = digits else {
        return None;
    };
    Some(hex_value(high)? << 4 | hex_value(low)?)
}

/// The value of one hexadecimal digit of either case.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn once_and_to_the_end() {
        for (text, once, fully) in [
            ("plain", "plain", "plain"),
            ("%2e%2E", "..", ".."),
            ("%252e", "%2e", "."),
            ("%2%35", "%25", "%"),
            ("%25252525", "%252525", "%"),
            ("100%", "100%", "100%"),
            ("%zz%4", "%zz%4", "%zz%4"),
            ("%%32%65", "%2e", "."),
        ] {
            assert_eq!(decode(text.as_bytes()), once.as_bytes(), "{text} once");
            assert_eq!(decode_fully(text.as_bytes()), fully.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_no_standard_allows() {
        for (text, fully, loosely) in [
            ("%c0%ae", &b"\xc0\xae"[..], &b"."[..]),
            ("%C0%AF%c1%9c", b"\xc0\xaf\xc1\x9c", b"/\\"),
            ("%e0%80%ae", b"\xe0\x80\xae", b"."),
            ("%f0%80%80%ae", b"\xf0\x80\x80\xae", b"."),
            ("%25c0%25ae", b"\xc0\xae", b"."),
            ("%u002e%U002E", b"%u002e%U002E", b".."),
            ("%25u002e", b"%u002e", b"."),
            ("%c0%a52e", b"\xc0\xa52e", b"."),
            ("%c3%a9%e2%82%ac", "é€".as_bytes(), "é€".as_bytes()),
            ("%u00e9%u012e", b"%u00e9%u012e", b"%u00e9%u012e"),
            ("%c0.", b"\xc0.", b"\xc0."),
        ] {
            assert_eq!(decode_fully(text.as_bytes()), fully, "{text}");
            assert_eq!(decode_loosely(text.as_bytes()), loosely, "{text}");
        }
    }

    proptest! {
        #[test]
        fn one_pass_is_as_good_as_many(text in "[%0-9a-f./]{0,40}") {
            let mut slow = text.clone().into_bytes();
            loop {
                let next = decode(&slow).into_owned();
                if next == slow {
                    break;
                }
                slow = next;
            }
            prop_assert_eq!(decode_fully(text.as_bytes()).into_owned(), slow);
        }
    }
}
