//! The name of a blob.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The blake3 hash of a blob's bytes, which is its name: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash([u8; 32]);

impl BlobHash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not 64 lower-case hex digits.
#[derive(Debug, thiserror::Error)]
#[error("a blob is named by 64 lower-case hex digits")]
pub struct NotABlobHash;

impl FromStr for BlobHash {
    type Err = NotABlobHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| NotABlobHash)?;
        // `from_hex` takes capitals too; a name has one spelling.
        if hash.to_hex().as_str() == text {
            Ok(Self(*hash.as_bytes()))
        } else {
            Err(NotABlobHash)
        }
    }
}

impl Serialize for BlobHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let name = BlobHash::from_bytes([0xab; 32]).to_string();
        assert_eq!(
            name.parse::<BlobHash>().unwrap(),
            BlobHash::from_bytes([0xab; 32])
        );
        for wrong in [
            name.to_uppercase(),
            name[1..].to_owned(),
            format!("{name}a"),
            "../x".into(),
        ] {
            assert!(wrong.parse::<BlobHash>().is_err(), "{wrong}");
        }
    }
}
