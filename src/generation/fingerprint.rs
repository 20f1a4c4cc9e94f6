//! The name of a generation.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::percent::hex_value;

/// What makes two requests the same generation: 32 bytes of BLAKE3 over everything that counts
/// (see [`Request::identify`](super::request::Request::identify)).
///
/// As text, in file names and in JSON: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hexadecimal digits: how people and `Cache-Status` name a generation.
    pub fn short(&self) -> String {
        let digits = self.digits();
        text(digits.get(..16).unwrap_or_default()).to_owned()
    }

    /// Appends the whole text.
    pub fn write(&self, out: &mut String) {
        out.push_str(text(&self.digits()));
    }

    /// Its text.
    pub fn digits(&self) -> [u8; 64] {
        let mut digits = [0; 64];
        for (nth, byte) in self.0.iter().enumerate() {
            digits[2 * nth] = digit(byte >> 4);
            digits[2 * nth + 1] = digit(byte & 15);
        }
        digits
    }
}

/// The digit of a half of a byte, without a table: compilers make many of them at once.
fn digit(half: u8) -> u8 {
    half + if half < 10 { b'0' } else { b'a' - 10 }
}

/// Digits as text.
fn text(digits: &[u8]) -> &str {
    str::from_utf8(digits).unwrap_or_default()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(text(&self.digits()))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not a generation's key: 64 lower-case hexadecimal digits")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        // One spelling only: a file name must not have two.
        if text.len() != 64 || text.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(NotAFingerprint);
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = digits else {
                return Err(NotAFingerprint);
            };
            let high = hex_value(*high).ok_or(NotAFingerprint)?;
            let low = hex_value(*low).ok_or(NotAFingerprint)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8).unwrap());
        let fingerprint = Fingerprint::from_bytes(bytes);
        let text = fingerprint.to_string();
        assert!(text.starts_with("0008101820283038"), "{text}");
        assert_eq!(fingerprint.short(), "0008101820283038");
        assert_eq!(format!("{fingerprint:?}"), text);
        assert_eq!(text.parse::<Fingerprint>().unwrap(), fingerprint);
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        let back: Fingerprint = serde_json::from_str(&json).unwrap();
        assert_eq!(back.as_bytes(), &bytes);
    }

    #[test]
    fn only_one_spelling() {
        let good = "ab".repeat(32);
        assert!(good.parse::<Fingerprint>().is_ok());
        for bad in [
            String::new(),
            good.to_uppercase(),
            format!("{good}ab"),
            good[1..].to_owned(),
            format!("{}zz", &good[2..]),
            format!("+a{}", &good[2..]),
            "é".repeat(32),
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
            assert!(serde_json::from_value::<Fingerprint>(bad.into()).is_err());
        }
    }
}
