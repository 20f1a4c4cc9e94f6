//! Numbers by their decimal value.

use std::io::Write;

use super::NotCanonical;
use super::encoding::{Encoding, NUMBER, Open};

/// A number that follows the grammar, in its parts (RFC 8259 §6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    /// All of it.
    token: &'a [u8],
    negative: bool,
    /// The digits before the point.
    whole: &'a [u8],
    /// The digits after the point.
    fraction: &'a [u8],
    /// The exponent, with its sign.
    exponent: &'a [u8],
}

impl<'a> Number<'a> {
    /// The number that these digits show; the first is not a zero.
    pub(super) fn whole(digits: &'a [u8]) -> Self {
        Self {
            token: digits,
            negative: false,
            whole: digits,
            fraction: &[],
            exponent: &[],
        }
    }
}

/// Reads the number that starts at `start`, and gives where it ends.
pub(super) fn read(body: &[u8], start: usize) -> Result<(Number<'_>, usize), NotCanonical> {
    let next = |at: usize| body.get(at).copied();
    let negative = next(start) == Some(b'-');
    let whole = digits(body, start + usize::from(negative))?;
    let mut end = start + usize::from(negative) + whole.len();
    if whole.len() > 1 && whole.first() == Some(&b'0') {
        return Err(NotCanonical);
    }
    let mut fraction: &[u8] = &[];
    if next(end) == Some(b'.') {
        fraction = digits(body, end + 1)?;
        end += 1 + fraction.len();
    }
    let mut exponent: &[u8] = &[];
    if let Some(b'e' | b'E') = next(end) {
        let sign = usize::from(matches!(next(end + 1), Some(b'+' | b'-')));
        let len = sign + digits(body, end + 1 + sign)?.len();
        exponent = body.get(end + 1..end + 1 + len).unwrap_or_default();
        end += 1 + len;
    }
    let number = Number {
        token: body.get(start..end).unwrap_or_default(),
        negative,
        whole,
        fraction,
        exponent,
    };
    Ok((number, end))
}

/// The digits that start at `at`: one or more.
fn digits(body: &[u8], at: usize) -> Result<&[u8], NotCanonical> {
    let rest = body.get(at..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = rest.get(..count).filter(|digits| !digits.is_empty());
    digits.ok_or(NotCanonical)
}

/// Exponents with more digits than this are not calculated with.
const LONGEST_EXPONENT: usize = 17;

/// Writes `number` so that equal values read the same, with every digit that matters: an optional
/// `-`, the digits without zeros at either end, and the power of ten when it is not 0. So 5, 5.0
/// and 0.5e1 are `5`, 500 is `5e2`, and -0 is `0`.
pub(super) fn write(number: &Number<'_>, out: &mut Encoding) {
    let mut open = out.open(NUMBER);
    write_content(number, out, &mut open);
    out.close(open);
}

fn write_content(number: &Number<'_>, out: &mut Encoding, open: &mut Open) {
    let (whole, fraction, shift) = significant(number);
    if whole.is_empty() && fraction.is_empty() {
        out.put(open, b"0");
        return;
    }
    let Some(exponent) = exponent(number.exponent).and_then(|own| own.checked_add(shift)) else {
        // Beyond all use: such numbers are equal only when they are written equal. The `=` keeps
        // the token apart from every calculated form.
        out.put(open, b"=");
        out.put(open, number.token);
        return;
    };
    if number.negative {
        out.put(open, b"-");
    }
    out.put(open, whole);
    out.put(open, fraction);
    if exponent != 0 {
        put_exponent(exponent, out, open);
    }
}

fn put_exponent(exponent: i64, out: &mut Encoding, open: &mut Open) {
    // The shortest way to print on the stack: numbers come by the million.
    let mut text = [0; 24];
    let mut space = &mut text[..];
    let written = write!(space, "e{exponent}").is_ok();
    let unused = space.len();
    debug_assert!(written, "24 bytes hold every i64");
    out.put(open, text.get(..text.len() - unused).unwrap_or_default());
}

/// The digits without zeros at either end, and the power of ten that they are to be taken with.
fn significant<'a>(number: &Number<'a>) -> (&'a [u8], &'a [u8], i64) {
    let fraction = without_end_zeros(number.fraction);
    if !fraction.is_empty() {
        let whole = without_leading_zeros(number.whole);
        let shown = if whole.is_empty() {
            without_leading_zeros(fraction)
        } else {
            fraction
        };
        return (whole, shown, -length(fraction));
    }
    let whole = without_end_zeros(number.whole);
    let shift = length(number.whole) - length(whole);
    (without_leading_zeros(whole), fraction, shift)
}

fn exponent(text: &[u8]) -> Option<i64> {
    let negative = text.first() == Some(&b'-');
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+"));
    let digits = digits.unwrap_or(text);
    let digits = without_leading_zeros(digits);
    if digits.len() > LONGEST_EXPONENT {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, digit| {
        value * 10 + i64::from(digit.wrapping_sub(b'0'))
    });
    Some(if negative { -value } else { value })
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

fn without_end_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0');
    digits
        .get(..digits.len() - zeros.count())
        .unwrap_or_default()
}

fn length(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}
