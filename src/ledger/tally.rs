//! Counts and sums of lines.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Outcome;
use super::question::By;
use super::seen::Seen;
use crate::price::Usd;

/// The name of the group without a name: requests that named no model.
const NAMELESS: &str = "(none)";
/// The name of all groups beyond the first [`MOST`].
const OTHERS: &str = "(others)";
/// How many groups there are at most: a client may name as many models as it likes.
const MOST: usize = 10_000;

/// What became of so many generations, and what that cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Runs that were paid for.
    pub paid: u64,
    /// Answers from what is kept.
    pub hit: u64,
    /// Answers from a run, or a job, that somebody else had begun.
    pub joined: u64,
    /// Runs that failed, and cost nothing.
    pub failed: u64,
    /// Runs of which nobody knows whether they were paid for.
    pub unknown: u64,
    /// Runs of generations that may have been paid for before, by a run of unknown outcome; they were paid
    /// for, or nobody knows it of them either.
    pub possible_double_payments: u64,
    /// Paid runs of models without a price, counted as if they cost nothing.
    pub unpriced: u64,
    /// What was paid.
    pub usd_spent: Usd,
    /// What hits and joins would have cost.
    pub usd_saved: Usd,
}

impl Tally {
    /// Runs that were not needed.
    pub const fn avoided(&self) -> u64 {
        self.hit + self.joined
    }

    pub(super) fn count(&mut self, line: &Seen<'_>) {
        let one = match line.outcome {
            Outcome::Paid => &mut self.paid,
            Outcome::Hit => &mut self.hit,
            Outcome::Joined => &mut self.joined,
            Outcome::Failed => &mut self.failed,
            Outcome::Unknown => &mut self.unknown,
        };
        *one += 1;
        let paid = line.outcome == Outcome::Paid;
        self.possible_double_payments += u64::from(line.possible_double_payment);
        self.unpriced += u64::from(paid && line.unpriced);
        self.usd_spent += line.usd_spent;
        self.usd_saved += line.usd_saved;
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.paid += more.paid;
        self.hit += more.hit;
        self.joined += more.joined;
        self.failed += more.failed;
        self.unknown += more.unknown;
        self.possible_double_payments += more.possible_double_payments;
        self.unpriced += more.unpriced;
        self.usd_spent += more.usd_spent;
        self.usd_saved += more.usd_saved;
    }
}

/// One group: a client, a model, a kind or a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name; `(none)` where no model was named, a day as `2026-11-21`.
    pub name: String,
    /// What became of its generations.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Groups that grow line by line.
#[derive(Debug)]
pub(super) struct Groups {
    by: By,
    found: Vec<Group>,
    places: HashMap<String, usize>,
    /// The day of the line before, in days since 1970, and its place: the next is mostly the same.
    day: Option<(i64, usize)>,
}

impl Groups {
    pub(super) fn new(by: By) -> Self {
        Self {
            by,
            found: Vec::new(),
            places: HashMap::new(),
            day: None,
        }
    }

    pub(super) fn count(&mut self, line: &Seen<'_>) {
        let place = match self.by {
            By::Client => self.place(&line.client),
            By::Model => self.place(line.model().unwrap_or(NAMELESS)),
            By::Kind => self.place(line.kind.as_str()),
            By::Day => self.place_of_day(line),
        };
        if let Some(group) = self.found.get_mut(place) {
            group.tally.count(line);
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        for group in more.found {
            let place = self.place(&group.name);
            if let Some(own) = self.found.get_mut(place) {
                own.tally.add(&group.tally);
            }
        }
    }

    /// What was dearest first; days in their order.
    pub(super) fn in_order(self) -> Vec<Group> {
        let mut groups = self.found;
        groups.sort_by(|one, other| {
            let dear = |group: &Group| (group.tally.usd_spent, group.tally.usd_saved);
            let names = one.name.cmp(&other.name);
            match self.by {
                By::Day => names,
                By::Client | By::Model | By::Kind => dear(other).cmp(&dear(one)).then(names),
            }
        });
        groups
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        if self.found.len() >= MOST && name != OTHERS {
            return self.place(OTHERS);
        }
        let place = self.found.len();
        self.places.insert(name.to_owned(), place);
        self.found.push(Group {
            name: name.to_owned(),
            tally: Tally::default(),
        });
        place
    }

    fn place_of_day(&mut self, line: &Seen<'_>) -> usize {
        let day = line.time.as_second().div_euclid(24 * 60 * 60);
        match self.day {
            Some((same, place)) if same == day => place,
            Some(_) | None => {
                let place = self.place(&line.time.strftime("%Y-%m-%d").to_string());
                self.day = Some((day, place));
                place
            }
        }
    }
}
