//! From when until when a certificate is valid: the one thing about it that rustls does not tell.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
/// The version, in a tag of its own.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The two ends of a certificate's validity (RFC 5280 §4.1.2.5); `None` when it cannot be read.
pub(super) fn of(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (mut outer, _) = take(certificate, SEQUENCE)?;
    let mut body = next(&mut outer, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        next(&mut body, VERSION)?;
    }
    next(&mut body, INTEGER)?; // serial number
    next(&mut body, SEQUENCE)?; // signature algorithm
    next(&mut body, SEQUENCE)?; // issuer
    let mut validity = next(&mut body, SEQUENCE)?;
    Some((time(&mut validity)?, time(&mut validity)?))
}

/// What stands in the value with this tag at the start of `bytes`, and what stands behind it
/// (X.690 §8.1, the definite form).
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long & 0x7f)?;
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            let length = digits
                .iter()
                .fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
            (length, rest)
        }
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}

fn next<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (value, rest) = take(bytes, tag)?;
    *bytes = rest;
    Some(value)
}

fn time(bytes: &mut &[u8]) -> Option<Timestamp> {
    if bytes.first() == Some(&UTC_TIME) {
        let text = std::str::from_utf8(next(bytes, UTC_TIME)?).ok()?;
        let year: u8 = text.get(..2)?.parse().ok()?;
        // Two digits mean 1950 to 2049 (RFC 5280 §4.1.2.5.1).
        let century = if year < 50 { "20" } else { "19" };
        return moment(&format!("{century}{text}"));
    }
    moment(std::str::from_utf8(next(bytes, GENERALIZED_TIME)?).ok()?)
}

fn moment(text: &str) -> Option<Timestamp> {
    let moment = DateTime::strptime("%Y%m%d%H%M%S", text.strip_suffix('Z')?).ok()?;
    Offset::UTC.to_timestamp(moment).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, until: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 2);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_a_date_are_read() {
        for (from, until) in [(1990, 2020), (2026, 2049), (2049, 2050), (2051, 4096)] {
            let (found, end) = of(&certificate(from, until)).unwrap();
            assert_eq!(found.to_string(), format!("{from}-01-02T00:00:00Z"));
            assert_eq!(end.to_string(), format!("{until}-12-31T00:00:00Z"));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(at in 0usize..400, byte: u8, length in 0usize..400) {
            let mut bytes = certificate(2020, 2060);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(length);
            let _ = of(&bytes);
        }
    }
}
