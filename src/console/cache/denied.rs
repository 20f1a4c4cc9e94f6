//! Which kept generation is meant, and why it cannot be had or forgotten.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::generation::Fingerprint;
use crate::store::{Forgotten, Store, StoreError, remove};

/// The fewest hexadecimal digits that stand for a key.
const FEWEST: usize = 8;
/// As many keys are named when several are meant.
const NAMED: usize = 10;

/// Why something cannot be shown or forgotten.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Nothing that is kept has this key.
    #[error(
        "Nothing that is kept is called {0:?}. Give its key, or at least {FEWEST} digits of it; \
         `reprise cache list` shows them, and `reprise jobs list` what runs or is unknown."
    )]
    None(String),
    /// Several keys begin with it.
    #[error("{} keys begin with {prefix}; give more digits of one of them:{}", keys.len(), listed(keys))]
    Several {
        /// What was given.
        prefix: String,
        /// The keys, in their order.
        keys: Vec<Fingerprint>,
    },
    /// It is kept, and cannot be read as what was written.
    #[error("{0} is kept, but damaged; `reprise cache verify` says which file it is.")]
    Damaged(Fingerprint),
    /// It is not done yet.
    #[error(
        "{0} stays: its job runs, a file of it is still to be fetched, or a job that took its place \
         runs. Remove it when that has ended; `reprise jobs list` shows how far it is."
    )]
    Running(Fingerprint),
    /// There is a note about it.
    #[error(
        "{key} stays: an identical call is under way, or its outcome is unknown. Wait for its end, or \
         decide about it with `reprise jobs resolve {short}`.",
        key = .0,
        short = .0.short()
    )]
    Unknown(Fingerprint),
    /// The store cannot say, or cannot do it.
    #[error("The store cannot do that: {0}")]
    Store(#[from] StoreError),
}

fn listed(keys: &[Fingerprint]) -> String {
    let mut list = String::new();
    for key in keys.iter().take(NAMED) {
        // Writing to a string cannot fail.
        let _ = write!(list, "\n  {key}");
    }
    if keys.len() > NAMED {
        let _ = write!(list, "\n  and {} more", keys.len() - NAMED);
    }
    list
}

/// The kept generation whose key begins with these digits, in capitals or not. Blocks.
///
/// # Errors
/// When none is meant, or several.
pub fn find(store: &dyn Store, digits: &str) -> Result<Fingerprint, Denied> {
    let none = || Denied::None(digits.chars().take(100).collect());
    if digits.len() < FEWEST || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(none());
    }
    let prefix = digits.to_ascii_lowercase();
    let mut keys = store.find_key(&prefix)?;
    keys.sort_unstable();
    match keys.as_slice() {
        [] => Err(none()),
        [key] => Ok(*key),
        [..] => Err(Denied::Several { prefix, keys }),
    }
}

/// A generation that was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Its key.
    pub key: Fingerprint,
    /// What that freed, in bytes: what others need of it stays.
    pub bytes: u64,
}

/// Forgets one generation, which nobody else may be changing. Blocks.
///
/// # Errors
/// When it is not there, or not done yet.
pub fn removed(store: &dyn Store, key: Fingerprint) -> Result<Removed, Denied> {
    match remove(store, &key)? {
        Forgotten::Gone(bytes) => Ok(Removed { key, bytes }),
        Forgotten::Open => Err(Denied::Running(key)),
        Forgotten::Pending => Err(Denied::Unknown(key)),
        Forgotten::Absent => Err(Denied::None(key.to_string())),
    }
}
