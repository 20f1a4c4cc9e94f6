//! Amounts by UTC day and by UTC month.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::budget::Period;
use crate::price::Usd;

/// How many days and how many months are remembered of what was spent.
const MOST_DAYS: usize = 64;
const MOST_MONTHS: usize = 24;

/// What came together in each day, and in each month by its first day.
#[derive(Debug, Default)]
pub(super) struct Sums {
    days: BTreeMap<Date, Usd>,
    months: BTreeMap<Date, Usd>,
}

impl Sums {
    /// The sum of the day, or of the month, that begins with `first`.
    pub(super) fn of(&self, period: Period, first: Date) -> Usd {
        let sums = match period {
            Period::Day => &self.days,
            Period::Month => &self.months,
        };
        sums.get(&first).copied().unwrap_or_default()
    }

    /// More in a day, and in its month.
    pub(super) fn add(&mut self, date: Date, usd: Usd) {
        self.add_to_day(date, usd);
        self.add_to_month(date, usd);
    }

    /// More in a day alone.
    pub(super) fn add_to_day(&mut self, date: Date, usd: Usd) {
        *self.days.entry(date).or_default() += usd;
    }

    /// More in the month of `date` alone.
    pub(super) fn add_to_month(&mut self, date: Date, usd: Usd) {
        *self.months.entry(date.first_of_month()).or_default() += usd;
    }

    /// Less in a day and in its month.
    pub(super) fn take(&mut self, date: Date, usd: Usd) {
        less(&mut self.days, date, usd);
        less(&mut self.months, date.first_of_month(), usd);
    }

    /// The oldest go, so that it stays small.
    pub(super) fn forget_old(&mut self) {
        while self.days.len() > MOST_DAYS {
            self.days.pop_first();
        }
        while self.months.len() > MOST_MONTHS {
            self.months.pop_first();
        }
    }
}

fn less(sums: &mut BTreeMap<Date, Usd>, first: Date, usd: Usd) {
    if let Some(sum) = sums.get_mut(&first) {
        *sum = sum.saturating_sub(usd);
        if *sum == Usd::ZERO {
            sums.remove(&first);
        }
    }
}
