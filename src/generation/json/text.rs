//! Strings by their decoded text.

use super::NotCanonical;
use super::encoding::{Encoding, Open, TEXT};

/// Reads the string whose opening quote stands at `at`, writes its text, and gives where it ends.
/// `body` is known to be UTF-8.
pub(super) fn read(body: &[u8], at: usize, out: &mut Encoding) -> Result<usize, NotCanonical> {
    let mut at = at + 1;
    let rest = body.get(at..).unwrap_or_default();
    let (literal, behind) = rest.split_at(plain_len(rest));
    if behind.first() == Some(&b'"') {
        out.text(literal);
        return Ok(at + literal.len() + 1);
    }
    let mut open = out.open(TEXT);
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let plain = plain_len(rest);
        let (literal, rest) = rest.split_at(plain);
        out.put(&mut open, literal);
        at += plain;
        match rest {
            [b'"', ..] => {
                out.close(open);
                return Ok(at + 1);
            }
            [b'\\', escape @ ..] => at += 1 + unescape(escape, out, &mut open)?,
            // The end of the body, or a control character.
            _ => return Err(NotCanonical),
        }
    }
}

/// How many bytes from the start stand for themselves.
fn plain_len(text: &[u8]) -> usize {
    let end = memchr::memchr2(b'"', b'\\', text).unwrap_or(text.len());
    let clear = text.get(..end).unwrap_or_default();
    // Without a branch for each, which compilers turn into wide instructions; there is hardly ever one.
    if clear
        .iter()
        .fold(false, |found, byte| found | is_control(*byte))
    {
        return clear.iter().take_while(|byte| !is_control(**byte)).count();
    }
    end
}

fn is_control(byte: u8) -> bool {
    byte < 0x20
}

/// Writes what `escape` (without its backslash) stands for, and gives its length.
fn unescape(escape: &[u8], out: &mut Encoding, open: &mut Open) -> Result<usize, NotCanonical> {
    let plain = match escape {
        [byte @ (b'"' | b'\\' | b'/'), ..] => *byte,
        [b'b', ..] => 0x08,
        [b'f', ..] => 0x0c,
        [b'n', ..] => b'\n',
        [b'r', ..] => b'\r',
        [b't', ..] => b'\t',
        [b'u', digits @ ..] => {
            let (character, len) = unicode(digits)?;
            out.put(open, character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(1 + len);
        }
        _ => return Err(NotCanonical),
    };
    out.put(open, &[plain]);
    Ok(1)
}

/// The character of a `\uXXXX`, or of a pair of them, and the length without the first `\u`.
fn unicode(digits: &[u8]) -> Result<(char, usize), NotCanonical> {
    let first = four_digits(digits)?;
    if !(0xd800..0xdc00).contains(&first) {
        let character = char::from_u32(first).ok_or(NotCanonical)?;
        return Ok((character, 4));
    }
    let Some([b'\\', b'u', low @ ..]) = digits.get(4..) else {
        return Err(NotCanonical);
    };
    let low = four_digits(low)?;
    if !(0xdc00..0xe000).contains(&low) {
        return Err(NotCanonical);
    }
    let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
    Ok((char::from_u32(code).ok_or(NotCanonical)?, 10))
}

fn four_digits(text: &[u8]) -> Result<u32, NotCanonical> {
    let digits = text.get(..4).ok_or(NotCanonical)?;
    digits.iter().try_fold(0, |value, digit| {
        let digit = crate::generation::percent::hex_value(*digit).ok_or(NotCanonical)?;
        Ok(value << 4 | u32::from(digit))
    })
}
