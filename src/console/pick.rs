//! Which job a person means: by its task id, its key, or the beginning of its key.

use std::fmt::Write;

use super::jobs::{Census, JobDetail};
use crate::generation::Fingerprint;
use crate::once::Unresolved;

/// The fewest hexadecimal digits that stand for a key.
const FEWEST: usize = 4;
/// As many keys are named when several are meant.
const NAMED: usize = 10;

/// Why no single job is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOne {
    /// No job is.
    #[error(
        "No job is called {0:?}. Give its task id, its key, or at least {FEWEST} digits of its key; \
         `reprise jobs list --all` shows them."
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

/// The job that `id` means. Of a generation that is noted and kept at once, the note.
///
/// # Errors
/// When none is meant, or several.
pub fn pick<'j>(jobs: &'j [JobDetail], id: &str) -> Result<&'j JobDetail, NotOne> {
    let named = |detail: &&JobDetail| detail.job.task_id.as_deref() == Some(id);
    if let Some(found) = jobs.iter().find(named) {
        return Ok(found);
    }
    let key = one_of(jobs.iter().map(|detail| detail.job.key), id)?;
    let mut of_key = jobs.iter().filter(|detail| detail.job.key == key);
    let first = of_key.clone().next();
    let note = of_key.find(|detail| detail.job.task_id.is_none());
    note.or(first).ok_or_else(|| NotOne::None(id.to_owned()))
}

/// The key of the note that `prefix` means, whether or not it can be resolved.
///
/// # Errors
/// When none is meant, or several, or one that is kept and has no note.
pub fn note_of(census: &Census, prefix: &str) -> Result<Result<Fingerprint, Unresolved>, NotOne> {
    match one_of(census.notes(), prefix) {
        Err(NotOne::None(_)) => {
            one_of(census.kept(), prefix).map(|key| Err(Unresolved::NotUnknown(key)))
        }
        found => found.map(Ok),
    }
}

/// The one of `keys` that begins with `prefix`; the same key may stand there twice.
fn one_of(keys: impl Iterator<Item = Fingerprint>, prefix: &str) -> Result<Fingerprint, NotOne> {
    let none = || NotOne::None(prefix.chars().take(100).collect());
    if prefix.len() < FEWEST || !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(none());
    }
    let digits = prefix.to_ascii_lowercase();
    let mut found: Vec<_> = keys
        .filter(|key| key.to_string().starts_with(&digits))
        .collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [] => Err(none()),
        [key] => Ok(*key),
        [..] => Err(NotOne::Several {
            prefix: digits,
            keys: found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Fingerprint {
        format!("{text:0<64}").parse().unwrap()
    }

    #[test]
    fn a_key_is_known_by_its_beginning() {
        let keys = [key("abcd1"), key("abcd2"), key("12345"), key("12345")];
        let several = NotOne::Several {
            prefix: "abcd".into(),
            keys: vec![key("abcd1"), key("abcd2")],
        };
        let none = |text: &str| Err(NotOne::None(text.into()));
        let whole = key("abcd2").to_string();
        let longer = format!("{whole}0");
        let table = [
            ("abcd1", Ok(key("abcd1"))),
            ("ABCD2", Ok(key("abcd2"))),
            ("1234", Ok(key("12345"))),
            (whole.as_str(), Ok(key("abcd2"))),
            (longer.as_str(), none(&longer)),
            ("abcd", Err(several)),
            ("123", none("123")),
            ("", none("")),
            ("abcd1z", none("abcd1z")),
            ("ffff", none("ffff")),
            ("äää", none("äää")),
        ];
        for (prefix, expected) in table {
            assert_eq!(one_of(keys.into_iter(), prefix), expected, "{prefix}");
        }
    }

    #[test]
    fn several_are_listed_and_not_without_end() {
        let keys: Vec<_> = (0..12).map(|n| key(&format!("abcd{n:02}"))).collect();
        let message = one_of(keys.iter().copied(), "abcd")
            .expect_err("it is not one")
            .to_string();
        assert!(message.starts_with("12 keys begin with abcd"), "{message}");
        assert!(message.contains(&keys[9].to_string()), "{message}");
        assert!(!message.contains(&keys[10].to_string()), "{message}");
        assert!(message.ends_with("and 2 more"), "{message}");
    }
}
