//! What was spent so far: what budgets begin with, and which outcomes stayed unknown.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use memchr::memmem;
use uuid::Uuid;

use super::Outcome;
use super::doubts::Doubts;
use super::error::LedgerError;
use super::folder::{Page, pages};
use super::month::Month;
use super::{lines, seen};
use crate::generation::Fingerprint;
use crate::price::Usd;

/// What was spent in the periods of budgets that are now, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// By client; who has spent nothing this month may be missing.
    pub clients: HashMap<String, Sums>,
    /// What is held this month for runs of unknown outcome that nobody can resolve.
    pub held: Vec<Held>,
    /// The generations with a run of unknown outcome that no later line has answered, however old.
    pub unknown: HashSet<Fingerprint>,
}

/// Money that stays held for a run until the periods of its budget are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The run.
    pub run: Uuid,
    /// Whose money it is.
    pub client: String,
    /// How much.
    pub usd: Usd,
    /// When the run was asked for.
    pub at: Timestamp,
}

/// Dollars spent in this day and in this month, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// For what was asked for today.
    pub day: Usd,
    /// For what was asked for this month, today included.
    pub month: Usd,
}

/// Reads what was spent, as of `now`.
pub(super) fn read(data_dir: &Path, now: Timestamp) -> Result<(Spent, Doubts), LedgerError> {
    let (month, today) = (Month::of(now), day(now));
    let (mut spent, mut history) = (Spent::default(), History::default());
    for page in pages(data_dir)? {
        if page.month != month && !has_doubts(&page)? {
            continue;
        }
        let (unknown, doubled) = (history.unknown.len(), history.doubled.len());
        let unreadable = seen::each(&page, &mut |line| {
            if let Ok(key) = line.key.parse() {
                history.note(key, line);
            }
            if page.month == month && line.usd_spent != Usd::ZERO {
                spent.add(&line.client, line.usd_spent, day(line.time) == today);
            }
            if page.month == month {
                spent.held.extend(held(line));
            }
        })?;
        // A file is read from its end.
        history.turn((unknown, doubled));
        if unreadable > 0 {
            let path = page.path.display();
            tracing::warn!(%path, unreadable, "lines of the ledger cannot be read; no sum has them");
        }
    }
    let doubts = history.doubts();
    spent.unknown = doubts.keys().collect();
    Ok((spent, doubts))
}

impl Spent {
    fn add(&mut self, client: &str, spent: Usd, today: bool) {
        let spent = Sums {
            day: if today { spent } else { Usd::ZERO },
            month: spent,
        };
        // Most lines are of a client that is known already, whose name need not be copied.
        if let Some(sums) = self.clients.get_mut(client) {
            sums.day += spent.day;
            sums.month += spent.month;
        } else {
            self.clients.insert(client.to_owned(), spent);
        }
    }
}

/// What a line says is held.
fn held(line: &seen::Seen<'_>) -> Option<Held> {
    let stays = line.outcome == Outcome::Unknown && line.usd_held != Usd::ZERO;
    let run = line.run.filter(|_| stays)?;
    Some(Held {
        run,
        client: line.client.to_string(),
        usd: line.usd_held,
        at: line.time,
    })
}

/// Unknown outcomes, the oldest first, and the doubtful payments that followed.
#[derive(Default)]
struct History {
    unknown: Vec<(Fingerprint, Option<Uuid>)>,
    /// Each with its run, where nobody knows the outcome of that one either.
    doubled: Vec<(Fingerprint, Option<Uuid>)>,
}

impl History {
    fn note(&mut self, key: Fingerprint, line: &seen::Seen<'_>) {
        if line.outcome == Outcome::Unknown {
            self.unknown.push((key, line.run));
        }
        if line.possible_double_payment {
            let run = line.run.filter(|_| line.outcome == Outcome::Unknown);
            self.doubled.push((key, run));
        }
    }

    /// Puts what was noted after so many in its order.
    fn turn(&mut self, (unknown, doubled): (usize, usize)) {
        let unknown = self.unknown.get_mut(unknown..);
        unknown.unwrap_or_default().reverse();
        let doubled = self.doubled.get_mut(doubled..);
        doubled.unwrap_or_default().reverse();
    }

    fn doubts(mut self) -> Doubts {
        let mut doubts = Doubts::default();
        for (key, run) in self.unknown {
            doubts.begin(key, run);
        }
        // A payment takes what nobody else has doubled, so it comes last.
        self.doubled.sort_by_key(|(_, run)| run.is_none());
        for (key, run) in self.doubled {
            doubts.double(&key, run);
        }
        doubts
    }
}

/// Whether a month has lines about unknown outcomes: most have none, and need not be understood.
fn has_doubts(page: &Page) -> Result<bool, LedgerError> {
    let failed = |error| LedgerError::io("read", &page.path)(error);
    let file = File::open(&page.path).map_err(failed)?;
    let unknown = memmem::Finder::new(b"\"unknown\"");
    let doubled = memmem::Finder::new(b"\"possible_double_payment\"");
    let mut found = false;
    lines::each(&file, page.len, &mut |line| {
        found = found
            || line
                .is_some_and(|line| unknown.find(line).is_some() || doubled.find(line).is_some());
    })
    .map_err(failed)?;
    Ok(found)
}

/// How the runs of these months ended that were asked for at `since` or later.
pub(super) fn booked(
    pages: &[Page],
    since: Timestamp,
) -> Result<HashMap<Uuid, Outcome>, LedgerError> {
    let mut booked = HashMap::new();
    for page in pages {
        if page.month < Month::of(since) {
            continue;
        }
        seen::each(page, &mut |line| {
            if let Some(run) = line.ran().filter(|_| line.time >= since) {
                booked.insert(run, line.outcome);
            }
        })?;
    }
    Ok(booked)
}

/// The day in UTC that a budget counts it in.
fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}
