//! Times as text, without the general machinery of formatting: every line that is written has one.

use jiff::Timestamp;
use jiff::tz::Offset;

/// The length of a time to the second, without its `Z`.
const SECONDS: usize = "2026-11-22T00:04:31".len();

/// How much of a second is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fraction {
    /// Always six digits.
    Micros,
    /// As many digits as it takes, and none for a whole second.
    Shortest,
}

/// Appends a time as RFC 3339 has it, in UTC: `2026-11-22T00:04:31.435684Z`.
pub fn write_utc(time: Timestamp, fraction: Fraction, out: &mut String) {
    let utc = Offset::UTC.to_datetime(time);
    let Ok(year @ 0..=9999) = u32::try_from(utc.year()) else {
        // Nobody is there to read it.
        out.push_str(&time.to_string());
        return;
    };
    let of = |part: i8| u32::from(part.unsigned_abs());
    let nanos = utc.subsec_nanosecond().unsigned_abs();
    let mut text = *b"0000-00-00T00:00:00.000000000";
    for (at, number) in [
        (0, year / 100),
        (2, year),
        (5, of(utc.month())),
        (8, of(utc.day())),
        (11, of(utc.hour())),
        (14, of(utc.minute())),
        (17, of(utc.second())),
        (20, nanos / 10_000_000),
        (22, nanos / 100_000),
        (24, nanos / 1_000),
        // There are nine: the last two pairs share one.
        (26, nanos / 10),
        (27, nanos),
    ] {
        put(&mut text, at, number);
    }
    let len = match fraction {
        Fraction::Micros => SECONDS + 1 + 6,
        Fraction::Shortest if nanos == 0 => SECONDS,
        Fraction::Shortest => {
            let zeros = text.iter().rev().take_while(|digit| **digit == b'0');
            text.len() - zeros.count()
        }
    };
    let text = text.get(..len).unwrap_or_default();
    out.push_str(str::from_utf8(text).unwrap_or_default());
    out.push('Z');
}

/// Puts the last two digits of a number at a place.
fn put(text: &mut [u8], at: usize, number: u32) {
    let digit = |number| b'0' | u8::try_from(number % 10).unwrap_or_default();
    if let Some(place) = text.get_mut(at..at + 2) {
        place.copy_from_slice(&[digit(number / 10), digit(number)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(time: Timestamp, fraction: Fraction) -> String {
        let mut text = "> ".to_owned();
        write_utc(time, fraction, &mut text);
        text
    }

    #[test]
    fn a_second_a_year_and_an_age_turn_over() {
        for (time, micros) in [
            (
                "2026-12-31T23:59:59.999999999Z",
                "2026-12-31T23:59:59.999999Z",
            ),
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00.000000Z"),
            ("2028-02-29T10:20:30.000001Z", "2028-02-29T10:20:30.000001Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z"),
            ("0000-01-01T00:00:00.1Z", "0000-01-01T00:00:00.100000Z"),
        ] {
            let parsed: Timestamp = time.parse().unwrap();
            assert_eq!(written(parsed, Fraction::Micros), format!("> {micros}"));
            assert_eq!(written(parsed, Fraction::Shortest), format!("> {parsed}"));
        }
        let before: Timestamp = "-000044-03-15T12:00:00Z".parse().unwrap();
        assert_eq!(written(before, Fraction::Shortest), format!("> {before}"));
    }

    proptest! {
        #[test]
        fn it_is_what_the_general_machinery_writes(
            second in -62_135_596_800_i64..253_402_207_200,
            nanos in prop_oneof![Just(0), 0..1_000_000_000_i32, (0..1_000).prop_map(|ms| ms * 1_000_000)],
        ) {
            let time = Timestamp::new(second, nanos).unwrap();
            prop_assert_eq!(written(time, Fraction::Shortest), format!("> {time}"));
        }
    }
}
