//! A line as it is read: borrowed from the file, and only what sums are made of.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::Outcome;
use super::error::LedgerError;
use super::folder::Page;
use super::lines;
use crate::generation::Kind;
use crate::price::Usd;

/// One line; see [`Line`](super::Line).
#[derive(Debug, Deserialize)]
pub(super) struct Seen<'a> {
    pub(super) time: Timestamp,
    #[serde(borrow)]
    pub(super) client: Cow<'a, str>,
    pub(super) kind: Kind,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    pub(super) outcome: Outcome,
    pub(super) usd_spent: Usd,
    pub(super) usd_saved: Usd,
    #[serde(default)]
    pub(super) usd_held: Usd,
    #[serde(default)]
    pub(super) run: Option<Uuid>,
    #[serde(default)]
    pub(super) unpriced: bool,
    #[serde(default)]
    pub(super) possible_double_payment: bool,
}

/// In a type of its own: within an option a text would be copied.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Seen<'a> {
    /// Reads one line; `None` when it is torn, damaged, or of a kind that this version does not know.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.0.as_ref())
    }

    /// The run that it is the word about. Whoever joined or hit ran nothing.
    pub(super) fn ran(&self) -> Option<Uuid> {
        match self.outcome {
            Outcome::Paid | Outcome::Failed | Outcome::Unknown => self.run,
            Outcome::Hit | Outcome::Joined => None,
        }
    }
}

/// Shows each line of a month that counts to `visit`, the last first, and says how many could not be
/// read. Of each run some 20 bytes are held meanwhile.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn each(page: &Page, visit: &mut dyn FnMut(&Seen<'_>)) -> Result<u64, LedgerError> {
    let failed = |error| LedgerError::io("read", &page.path)(error);
    let file = File::open(&page.path).map_err(failed)?;
    let mut unreadable = 0;
    let mut runs = HashSet::new();
    lines::each(&file, page.len, &mut |line| {
        let Some(seen) = line.and_then(Seen::read) else {
            unreadable += 1;
            return;
        };
        let counts = seen.ran().is_none_or(|run| runs.insert(run));
        if counts {
            visit(&seen);
        }
    })
    .map_err(failed)?;
    Ok(unreadable)
}
