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
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for &byte in text {
        out.push(byte);
        while let [.., b'%', high, low] = out[..] {
            let Some(byte) = escaped(&[high, low]) else {
                break;
            };
            out.truncate(out.len() - 3);
            out.push(byte);
        }
    }
    Cow::Owned(out)
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
