//! A key for a client: random, with a checksum, known to us by its hash alone.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// What every key of ours begins with.
const PREFIX: &str = "sk-reprise-";
/// Digits of base 62 that are random: 178 bits.
const RANDOM: usize = 30;
/// Digits of base 62 that a CRC-32 takes.
const CHECKSUM: usize = 6;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A client's key: `sk-reprise-`, 30 random digits of base 62 (`0-9A-Za-z`), and 6 more with the CRC-32
/// (ISO 3309, as in gzip) of those 30, the highest digit first.
///
/// Secret scanners find it by `sk-reprise-[0-9A-Za-z]{36}`, and the checksum tells a key from what only
/// looks like one, without asking anybody.
pub struct ClientKey(SecretString);

impl ClientKey {
    /// A new one, from the system's random numbers.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut digits = String::with_capacity(RANDOM);
        let mut random = [0; 64];
        while digits.len() < RANDOM {
            // By the way that TLS has to them already.
            rustls::crypto::ring::default_provider()
                .secure_random
                .fill(&mut random)
                .map_err(|_| NoRandomness)?;
            // SECURITY: 248 is 4 × 62. A remainder of all 256 would make some digits likelier.
            let fair = random.iter().filter(|byte| **byte < 248);
            let fair = fair.map(|byte| digit(u32::from(*byte)));
            digits.extend(fair.take(RANDOM - digits.len()));
        }
        let text = format!("{PREFIX}{digits}{}", checksum(&digits));
        Ok(Self(SecretString::from(text)))
    }

    /// The key itself, to be shown to whoever it is for, once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is kept of it: `blake3:` and 64 hexadecimal digits. No slow hash is needed: nobody guesses
    /// 178 bits.
    pub fn hash(&self) -> String {
        format!("blake3:{}", blake3::hash(self.expose().as_bytes()).to_hex())
    }

    /// Whether `text` has the form of a key of ours, checksum and all. It says nothing about whether it
    /// lets anybody in.
    pub fn is_well_formed(text: &str) -> bool {
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return false;
        };
        rest.len() == RANDOM + CHECKSUM
            && rest.bytes().all(|byte| DIGITS.contains(&byte))
            && rest.split_at(RANDOM).1 == checksum(rest.split_at(RANDOM).0)
    }
}

/// SECURITY: the key stays out.
impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(***)")
    }
}

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers to make a key of")]
pub struct NoRandomness;

fn checksum(digits: &str) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(digits.as_bytes());
    let places = (0..u32::try_from(CHECKSUM).unwrap_or_default()).rev();
    places
        .map(|place| digit(crc.sum() / 62_u32.pow(place)))
        .collect()
}

/// The last digit of a number in base 62.
fn digit(number: u32) -> char {
    let at = usize::try_from(number % 62).unwrap_or_default();
    DIGITS.get(at).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_are_new_and_fit_their_form() {
        let keys: Vec<_> = (0..100).map(|_| ClientKey::generate().unwrap()).collect();
        let texts: BTreeSet<&str> = keys.iter().map(ClientKey::expose).collect();
        assert_eq!(texts.len(), keys.len());
        let mut seen = BTreeSet::new();
        for key in &keys {
            let text = key.expose();
            assert_eq!(text.len(), 47);
            assert!(ClientKey::is_well_formed(text), "{text}");
            seen.extend(text[PREFIX.len()..].bytes());
            let hash = blake3::Hash::from_hex(&key.hash()["blake3:".len()..]).unwrap();
            assert_eq!(hash, blake3::hash(text.as_bytes()));
            assert!(!format!("{key:?}").contains(text));
        }
        assert_eq!(seen.len(), 62, "every digit comes up");
    }

    /// The CRC-32 of "123456789" is 0xCBF43926 (the check value of its catalogues).
    #[test]
    fn the_checksum_is_the_known_one() {
        let mut number = 0_u32;
        for letter in checksum("123456789").bytes() {
            let at = DIGITS.iter().position(|digit| *digit == letter).unwrap();
            number = number * 62 + u32::try_from(at).unwrap();
        }
        assert_eq!(number, 0xCBF4_3926);
    }

    #[test]
    fn one_wrong_digit_is_found() {
        let key = ClientKey::generate().unwrap();
        let text = key.expose();
        for at in PREFIX.len()..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            assert!(!ClientKey::is_well_formed(
                std::str::from_utf8(&wrong).unwrap()
            ));
        }
        for other in [
            "",
            "sk-reprise-",
            "sk-a",
            &text[1..],
            &text[..46],
            &format!("{text}0"),
        ] {
            assert!(!ClientKey::is_well_formed(other), "{other}");
        }
    }
}
