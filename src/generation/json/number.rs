//! Numbers by their decimal value.

use std::io::Write;

use super::encoding::{Encoding, NUMBER, Open};

/// A number that follows the grammar, in its parts (RFC 8259 §6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    /// The whole token.
    pub(super) token: &'a [u8],
    pub(super) negative: bool,
    /// The digits before the point.
    pub(super) whole: &'a [u8],
    /// The digits after the point.
    pub(super) fraction: &'a [u8],
    /// The exponent, with its sign.
    pub(super) exponent: &'a [u8],
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
