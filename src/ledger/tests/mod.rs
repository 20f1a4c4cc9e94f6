//! The ledger under parallel writers, torn lines, failing disks and restarts.

mod counting;
mod failing;
mod tearing;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::generation::{Fingerprint, Kind};
use crate::price::Usd;

pub(super) const NOON: &str = "2026-11-21T12:00:00Z";

/// A home with a clock that stands near noon of one day.
pub(super) struct Home {
    dir: TempDir,
    clock: Clock,
}

impl Home {
    pub(super) fn new() -> Self {
        let clock = Clock::system();
        clock.jump(time(NOON).duration_since(Timestamp::now()));
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn open(&self) -> (Arc<Ledger>, Spent) {
        Ledger::open(self.path(), &self.clock).unwrap()
    }

    pub(super) fn page(&self, name: &str) -> PathBuf {
        self.path().join("ledger").join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.page(name)).unwrap()
    }

    pub(super) fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path().join("ledger")).unwrap();
        std::fs::write(self.page(name), text).unwrap();
    }

    pub(super) fn statistics(&self, by: By) -> Statistics {
        let question = Question { by, since: None };
        Statistics::of_files(self.path(), &question).unwrap()
    }
}

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn key(n: u8) -> Fingerprint {
    Fingerprint::from_bytes([n; 32])
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a line holds")]
pub(super) fn run(n: u128) -> Option<Uuid> {
    Some(Uuid::from_u128(n))
}

/// A line of alice's, at noon.
pub(super) fn line(outcome: Outcome, cents: u64) -> Line {
    let usd = Usd::from_billionths(cents * 10_000_000);
    let cost = |wanted: bool| if wanted { usd } else { Usd::ZERO };
    Line {
        time: time(NOON),
        client: "alice".to_owned(),
        kind: Kind::Images,
        model: Some("grok-imagine-image".to_owned()),
        key: key(1),
        outcome,
        usd_spent: cost(outcome == Outcome::Paid),
        usd_saved: cost(matches!(outcome, Outcome::Hit | Outcome::Joined)),
        run: None,
        task: None,
        unpriced: false,
        usd_held: Usd::ZERO,
        possible_double_payment: false,
    }
}

pub(super) fn text(line: &Line) -> String {
    serde_json::to_string(line).unwrap() + "\n"
}
