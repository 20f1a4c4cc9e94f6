//! The money of every run, from the question whether it may be paid to the line in the ledger.
//!
//! 1. [`Books::open`] estimates what a [`Claim`] will cost and holds that much of its client's budget. It
//!    gives a [`Stake`], which goes with the run.
//! 2. The run ends, and the stake is [`paid`](Stake::paid), [`failed`](Stake::failed) or of
//!    [`unknown`](Stake::unknown) outcome: one line, and what is held is spent, free again, or in doubt. A
//!    run that has submitted a [`job`](Stake::job) has no line yet.
//! 3. A job ends (`ending`): its line is durable before its end is.
//! 4. A new process finds what an earlier one left (`start`): notes of runs and running jobs say what is
//!    held, the ledger what of it is booked.
//!
//! Two facts are told by one place each: what is *booked*, by the ledger; what is *held*, by the notes of
//! runs and the records of running jobs. So a crash between any two steps leaves nothing that counts
//! twice, and nothing that does not count.

mod claim;
mod ending;
mod recent;
mod stake;
mod start;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::config::Config;
use crate::generation::new_run;
use crate::ledger::{Ledger, LedgerError, Line, Outcome};
use crate::limits::{Limits, Refusal};
use crate::price::{Price, Prices, Usd, estimate, form};
use crate::store;

pub use claim::Claim;
use recent::Recent;
pub use stake::Stake;
pub use start::StartError;

/// What everybody's runs cost, and what is left.
pub struct Books {
    ledger: Arc<Ledger>,
    limits: Arc<Limits>,
    prices: ArcSwap<Prices>,
    clock: Clock,
    /// Runs of jobs whose line is written, or is about to be: their end may be told again.
    booked: Mutex<Recent>,
}

impl Books {
    /// Books every run in `ledger`, within `limits`, by the prices that `config` and the built-in table
    /// give.
    pub fn new(
        config: &Config,
        (ledger, limits): (Arc<Ledger>, Arc<Limits>),
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            limits,
            prices: ArcSwap::from_pointee(Prices::new(&config.prices)),
            clock,
            booked: Mutex::default(),
        })
    }

    /// Takes the prices of a new configuration: for runs that are asked for from now on, and for jobs
    /// that end.
    pub fn reload(&self, config: &Config) {
        self.prices.store(Arc::new(Prices::new(&config.prices)));
    }

    /// Where lines are written.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Holds what a run is estimated at. Nothing may be sent without it.
    ///
    /// # Errors
    /// When less is left of a budget of its client.
    pub fn open(self: &Arc<Self>, claim: Claim) -> Result<Stake, Refusal> {
        let now = self.clock.now();
        let run = new_run(now);
        let price = self.prices.load().of(claim.model.as_deref());
        let expected = price.map_or(Usd::ZERO, |price| {
            estimate(&price, claim.kind, &claim.extent)
        });
        if expected == Usd::ZERO && price.is_some_and(|price| !is_free(&price)) {
            self.limits.check_left(&claim.client, now)?;
        }
        let hold = self.limits.hold(&claim.client, (run, expected), now)?;
        Ok(Stake::new(self.clone(), claim, (price, expected), hold))
    }

    /// Somebody was answered from what is kept, which once cost `usd`; else by what it would cost now.
    pub fn hit(&self, claim: &Claim, usd: Option<f64>) {
        self.spare(claim, Outcome::Hit, usd);
    }

    /// Somebody joined a run or a job of somebody else's that is under way, and costs `usd`; else what it
    /// is estimated at.
    pub fn joined(&self, claim: &Claim, usd: Option<f64>) {
        self.spare(claim, Outcome::Joined, usd);
    }

    fn spare(&self, claim: &Claim, outcome: Outcome, usd: Option<f64>) {
        let price = self.prices.load().of(claim.model.as_deref());
        let saved = match (usd, price) {
            (Some(dollars), _) => Usd::from_dollars(dollars),
            (None, Some(price)) => estimate(&price, claim.kind, &claim.extent),
            (None, None) => Usd::ZERO,
        };
        let unpriced = usd.is_none() && price.is_none();
        self.ledger.note(&Line {
            usd_saved: saved,
            unpriced,
            ..claim.line(self.clock.now(), outcome)
        });
    }

    /// Makes sure that a line could be written: after a write has failed, one must succeed before anything
    /// is paid for again. Costs nothing while all is well.
    ///
    /// # Errors
    /// When the disk still does not take anything.
    pub async fn check_writable(&self) -> Result<(), LedgerError> {
        if self.ledger.is_behind() {
            self.ledger.flush().await?;
        }
        Ok(())
    }

    /// Whether a client has a budget: then whatever it runs is noted before it is sent.
    pub fn is_bounded(&self, client: &str) -> bool {
        self.limits.budgets().is_bounded(client)
    }

    /// How much of `usd` stays held for a run whose outcome nobody will ever tell: only what counts for
    /// a budget, since of that there is no more than the budget has.
    fn in_doubt(&self, client: &str, usd: Usd) -> Usd {
        if self.is_bounded(client) {
            usd
        } else {
            Usd::ZERO
        }
    }

    /// Nobody waits any longer for the outcome of these runs: what is held for them is free.
    pub fn give_back(&self, stakes: &[store::Stake]) {
        for stake in stakes {
            self.limits.budgets().give_back(stake.run);
        }
    }

    fn booked(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.booked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a price says that nothing is to be paid.
fn is_free(price: &Price) -> bool {
    form::same(price, &Price::default())
}

/// When a run was asked for: by its name, else `otherwise`.
fn asked_at(run: uuid::Uuid, otherwise: Timestamp) -> Timestamp {
    crate::generation::asked_at(run).unwrap_or(otherwise)
}
