//! Names that no other run has.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use uuid::Uuid;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A source of identifiers: unlike each other, and unlike those of every other sandbox.
#[derive(Debug)]
pub(super) struct Ids {
    seed: [u8; 32],
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        let mut seed = blake3::Hasher::new();
        seed.update(Uuid::now_v7().as_bytes());
        seed.update(Uuid::now_v7().as_bytes());
        Self {
            seed: *seed.finalize().as_bytes(),
            next: AtomicU64::new(1),
        }
    }

    /// The next whole number, from 1.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new word of `length` letters and digits.
    pub(super) fn word(&self, length: usize) -> String {
        self.spell(&self.number().to_le_bytes(), length)
    }

    /// The word that belongs to `name`: the same for the same name.
    pub(super) fn word_of(&self, name: &str, length: usize) -> String {
        self.spell(name.as_bytes(), length)
    }

    /// A request id as the gateway writes them: the time to the nanosecond, then eight letters.
    pub(super) fn request(&self, now: Timestamp) -> String {
        format!("{}{}", now.strftime("%Y%m%d%H%M%S%9f"), self.word(8))
    }

    fn spell(&self, name: &[u8], length: usize) -> String {
        let mut bytes = vec![0_u8; length];
        blake3::Hasher::new_keyed(&self.seed)
            .update(name)
            .finalize_xof()
            .fill(&mut bytes);
        let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
        bytes.iter().map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_new_and_alphanumeric() {
        let ids = Ids::new();
        let words: std::collections::HashSet<String> = (0..1_000).map(|_| ids.word(32)).collect();
        assert_eq!(words.len(), 1_000);
        assert!(words.iter().all(|word| word.len() == 32));
        assert!(
            words
                .iter()
                .flat_map(|word| word.bytes())
                .all(|b| b.is_ascii_alphanumeric())
        );
    }

    #[test]
    fn two_sandboxes_share_no_word() {
        assert_ne!(Ids::new().word_of("a", 32), Ids::new().word_of("a", 32));
    }
}
