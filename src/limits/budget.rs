//! Money: what each client may spend in a UTC day and month, and how much of it is gone.
//!
//! A run is **held** by its estimate before it is sent, and **settled** by its cost, or given back. Held
//! and spent count in the day and month in which the run was asked for, whenever it ends. So nothing has
//! to happen at midnight, and a clock that jumps finds the sums of the day it jumps to.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::sums::Sums;
use crate::config::Config;
use crate::price::Usd;

/// One of the two budgets of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// `usd_per_day`
    Day,
    /// `usd_per_month`
    Month,
}

impl Period {
    /// Its key in the configuration.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Day => "usd_per_day",
            Self::Month => "usd_per_month",
        }
    }

    /// The first day of the one that holds `date`.
    fn first(self, date: Date) -> Date {
        match self {
            Self::Day => date,
            Self::Month => date.first_of_month(),
        }
    }

    /// When the one that holds `at` is over, in UTC; the end of time when that is never.
    fn end(self, at: Timestamp) -> Timestamp {
        let date = date_of(at);
        let last = match self {
            Self::Day => date,
            Self::Month => date.last_of_month(),
        };
        let next = last
            .tomorrow()
            .and_then(|next| next.to_zoned(TimeZone::UTC));
        next.map_or(Timestamp::MAX, |next| next.timestamp())
    }
}

/// Why a run may not be paid for. Its words are the ones for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Which budget.
    pub period: Period,
    /// How large it is.
    pub limit: Usd,
    /// What was paid in it.
    pub spent: Usd,
    /// What is held for runs that have not ended.
    pub held: Usd,
    /// What this run would be held by.
    pub estimate: Usd,
    /// When a new one begins.
    pub resets_at: Timestamp,
}

impl OverBudget {
    /// What is left of it.
    pub fn left(&self) -> Usd {
        self.limit.saturating_sub(self.spent + self.held)
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resets_at = self.resets_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        write!(
            f,
            "This generation is estimated at {}, and your budget {} has {} left of {} ({} spent, {} \
             held for runs under way). Nothing was sent. It resets at {resets_at}.",
            self.estimate,
            self.period.key(),
            self.left(),
            self.limit,
            self.spent,
            self.held,
        )
    }
}

/// The budgets of all clients; cheap to clone.
#[derive(Clone, Debug)]
pub struct Budgets(Arc<Mutex<Accounts>>);

#[derive(Debug, Default)]
struct Accounts {
    common: Allowance,
    own: BTreeMap<String, Allowance>,
    clients: HashMap<String, Account>,
    holds: HashMap<Uuid, Held>,
    /// The first day of the month in which holds of long ago were last let go.
    swept: Date,
}

/// What a client may spend; `None`: whatever it likes.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    day: Option<Usd>,
    month: Option<Usd>,
}

#[derive(Debug, Default)]
struct Account {
    spent: Sums,
    held: Sums,
}

#[derive(Debug)]
struct Held {
    client: String,
    usd: Usd,
    date: Date,
}

/// Money that is held for a run. Dropped, it is given back.
#[derive(Debug)]
#[must_use = "what is not settled or kept is given back at once"]
pub struct Hold {
    budgets: Budgets,
    run: Uuid,
    kept: bool,
}

impl Budgets {
    /// The budgets that `config` sets; nothing is spent or held.
    pub fn new(config: &Config) -> Self {
        let budgets = Self(Arc::default());
        budgets.reload(config);
        budgets
    }

    /// From now on the budgets that `config` sets. What is spent and held stays.
    pub fn reload(&self, config: &Config) {
        let own = config.clients.iter().map(|(name, client)| {
            let limits = client.limits.over(&config.limits);
            (name.clone(), Allowance::of(&limits))
        });
        let own = own.collect();
        let mut accounts = self.lock();
        accounts.common = Allowance::of(&config.limits);
        accounts.own = own;
    }

    /// Whether `client` has a budget at all.
    pub fn is_bounded(&self, client: &str) -> bool {
        let allowance = self.lock().allowance(client);
        allowance.day.is_some() || allowance.month.is_some()
    }

    /// Holds `usd` for a run that was asked for at `at`.
    ///
    /// MONEY: looking and holding are one step under one lock, so that any number of submits at once
    /// hold no more than there is. What costs nothing is never refused.
    ///
    /// # Errors
    /// When less than that is left of a budget; of both, the one that lasts longer.
    pub fn hold(
        &self,
        client: &str,
        (run, usd): (Uuid, Usd),
        at: Timestamp,
    ) -> Result<Hold, OverBudget> {
        let mut accounts = self.lock();
        if usd > Usd::ZERO {
            accounts.check(client, usd, at)?;
        }
        accounts.hold(client, (run, usd), at);
        drop(accounts);
        Ok(Hold {
            budgets: self.clone(),
            run,
            kept: false,
        })
    }

    /// Whether anything is held for a run.
    pub fn holds(&self, run: Uuid) -> bool {
        self.lock().holds.contains_key(&run)
    }

    /// Holds what an earlier process held, whatever the budget is now.
    pub fn take_up(&self, client: &str, (run, usd): (Uuid, Usd), at: Timestamp) {
        self.lock().hold(client, (run, usd), at);
    }

    /// A run has ended, and cost `usd`, which is spent in the day it was asked for. Says whether
    /// anything was held for it; if not, nothing is changed.
    pub fn settle(&self, run: Uuid, usd: Usd) -> bool {
        let mut accounts = self.lock();
        let Some(held) = accounts.release(run) else {
            return false;
        };
        accounts.spend(&held.client, usd, held.date);
        true
    }

    /// What is held for a run is free again; without effect when nothing is.
    pub fn give_back(&self, run: Uuid) {
        self.lock().release(run);
    }

    /// Money that was spent without having been held.
    pub fn book(&self, client: &str, usd: Usd, at: Timestamp) {
        self.lock().spend(client, usd, date_of(at));
    }

    /// What an earlier process spent: in the day of `at`, and in its month (that day among it).
    pub fn opened(&self, client: &str, (day, month): (Usd, Usd), at: Timestamp) {
        let date = date_of(at);
        let mut accounts = self.lock();
        let spent = &mut accounts.clients.entry(client.to_owned()).or_default().spent;
        spent.add_to_day(date, day);
        spent.add_to_month(date, month);
    }

    /// Whether anything is left of the budgets of a client that asks for what has a price nobody can
    /// tell beforehand: it is held by nothing, and refused when nothing is left.
    ///
    /// # Errors
    /// When a budget is used up; of both, the one that lasts longer.
    pub fn check_left(&self, client: &str, at: Timestamp) -> Result<(), OverBudget> {
        // The least that there is: a budget of which it is not left is used up.
        let least = Usd::from_billionths(1);
        let checked = self.lock().check(client, least, at);
        checked.map_err(|over| OverBudget {
            estimate: Usd::ZERO,
            ..over
        })
    }

    /// What is spent and what is held, in the day or month of `at`.
    pub fn standing(&self, client: &str, period: Period, at: Timestamp) -> (Usd, Usd) {
        self.lock().standing(client, period, at)
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn allowance(&self, client: &str) -> Allowance {
        self.own.get(client).copied().unwrap_or(self.common)
    }

    fn standing(&self, client: &str, period: Period, at: Timestamp) -> (Usd, Usd) {
        let Some(account) = self.clients.get(client) else {
            return (Usd::ZERO, Usd::ZERO);
        };
        let first = period.first(date_of(at));
        (
            account.spent.of(period, first),
            account.held.of(period, first),
        )
    }

    fn check(&self, client: &str, estimate: Usd, at: Timestamp) -> Result<(), OverBudget> {
        let allowance = self.allowance(client);
        for (period, limit) in [
            (Period::Month, allowance.month),
            (Period::Day, allowance.day),
        ] {
            let (spent, held) = self.standing(client, period, at);
            if let Some(limit) = limit.filter(|limit| spent + held + estimate > *limit) {
                return Err(OverBudget {
                    period,
                    limit,
                    spent,
                    held,
                    estimate,
                    resets_at: period.end(at),
                });
            }
        }
        Ok(())
    }

    fn hold(&mut self, client: &str, (run, usd): (Uuid, Usd), at: Timestamp) {
        // A run is held once: what comes last is what it is.
        self.release(run);
        let date = date_of(at);
        self.sweep(date);
        let account = self.clients.entry(client.to_owned()).or_default();
        account.held.add(date, usd);
        let client = client.to_owned();
        self.holds.insert(run, Held { client, usd, date });
    }

    /// Lets go what is held for runs from before the last month: it counts in no budget any more, and
    /// a doubt that no note stands for is never resolved.
    fn sweep(&mut self, today: Date) {
        let month = today.first_of_month();
        if month <= self.swept {
            return;
        }
        self.swept = month;
        let last = month.yesterday().map_or(month, Date::first_of_month);
        let old = self.holds.iter().filter(|(_, held)| held.date < last);
        let old: Vec<Uuid> = old.map(|(run, _)| *run).collect();
        for run in old {
            self.release(run);
        }
    }

    fn release(&mut self, run: Uuid) -> Option<Held> {
        let held = self.holds.remove(&run)?;
        if let Some(account) = self.clients.get_mut(&held.client) {
            account.held.take(held.date, held.usd);
        }
        Some(held)
    }

    fn spend(&mut self, client: &str, usd: Usd, date: Date) {
        let account = self.clients.entry(client.to_owned()).or_default();
        account.spent.add(date, usd);
        account.spent.forget_old();
    }
}

impl Allowance {
    fn of(limits: &crate::config::Limits) -> Self {
        let limit = |dollars: f64| (dollars > 0.0).then(|| Usd::from_dollars(dollars));
        Self {
            day: limit(limits.usd_per_day),
            month: limit(limits.usd_per_month),
        }
    }
}

impl Hold {
    /// The run that it is for.
    pub fn run(&self) -> Uuid {
        self.run
    }

    /// The run has ended, and cost `usd`.
    pub fn settle(self, usd: Usd) {
        self.budgets.settle(self.run, usd);
        // What is settled is no longer held, so the drop gives nothing back.
    }

    /// It stays held, by the run's name alone: until that is settled or given back.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.kept {
            self.budgets.give_back(self.run);
        }
    }
}

fn date_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
