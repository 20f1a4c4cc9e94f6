//! The line of a job, at its end.

use std::io;

use uuid::Uuid;

use super::{Books, Claim, asked_at};
use crate::jobs::{self, End, Ends};
use crate::ledger::{LedgerError, Line, Outcome};
use crate::price::{Usage, Usd, cost};
use crate::store::{Record, StoreError};

impl Ends for Books {
    /// MONEY: the line is durable before the end is. A crash in between finds the job running, asks for
    /// it again, and knows by its run that it is booked.
    fn before(&self, end: &End, record: &mut Record) -> Result<(), StoreError> {
        let outcome = match end.outcome {
            jobs::Outcome::Succeeded => Outcome::Paid,
            jobs::Outcome::Failed | jobs::Outcome::Cancelled => Outcome::Failed,
            // Nobody will ever hear of it: it may have been paid for.
            jobs::Outcome::GivenUp => Outcome::Unknown,
        };
        let held = match outcome {
            Outcome::Unknown => record.usd.map(Usd::from_dollars),
            Outcome::Paid | Outcome::Failed | Outcome::Hit | Outcome::Joined => None,
        };
        let run = run_of(record, &end.task_id);
        let usd = match outcome {
            Outcome::Paid => self.price_of(end, record),
            Outcome::Failed | Outcome::Unknown | Outcome::Hit | Outcome::Joined => None,
        };
        let claim = Claim::of_record(record);
        let started_at = record.task.as_ref().map(|task| task.started_at);
        let time = asked_at(run, started_at.unwrap_or(record.created_at));
        let line = Line {
            usd_spent: usd.unwrap_or_default(),
            usd_held: self.in_doubt(&claim.client, held.unwrap_or_default()),
            run: Some(run),
            task: Some(end.task_id.clone()),
            unpriced: outcome == Outcome::Paid && usd.is_none(),
            ..claim.line(time, outcome)
        };
        self.book(run, line)?;
        if outcome == Outcome::Paid {
            record.usd = usd.map(Usd::dollars);
        }
        Ok(())
    }

    fn ended(&self, _end: &End) -> Result<(), StoreError> {
        Ok(())
    }

    /// MONEY: what was not known of at the start is held from now on, as it would have been then.
    fn found(&self, running: &[Record]) {
        self.take_up_found(running);
    }
}

impl Books {
    /// What a job that has succeeded has cost; `None` where no price is known.
    fn price_of(&self, end: &End, record: &Record) -> Option<Usd> {
        let price = self.prices.load().of(record.model.as_deref())?;
        let answer = end.answer.as_ref();
        let mut usage = answer.map_or_else(Usage::default, |answer| {
            Usage::read(record.kind, &answer.body)
        });
        // The poll that brought this said success, whatever else stands in it.
        usage.failed = false;
        let kept = record.task.as_ref().and_then(|task| task.total_tokens);
        usage.total = usage.total.or(kept);
        let by_usage = |extent| cost(&price, record.kind, extent, &usage);
        match (&record.extent, record.usd) {
            (Some(extent), _) => Some(by_usage(extent)),
            // A job that an older version submitted, or a person found upstream.
            (None, Some(expected)) if usage == Usage::default() => {
                Some(Usd::from_dollars(expected))
            }
            (None, _) => Some(by_usage(&Claim::of_record(record).extent)),
        }
    }

    /// Writes the line of a job's run once, however often its end is told, and settles what is held. Of
    /// two ends that differ, the one that says more counts.
    fn book(&self, run: Uuid, line: Line) -> Result<(), StoreError> {
        let (client, spent, time) = (line.client.clone(), line.usd_spent, line.time);
        let (outcome, held) = (line.outcome, line.usd_held);
        let paid = outcome == Outcome::Paid;
        {
            let mut booked = self.booked();
            if booked.of(run).is_some_and(|was| !says_more(outcome, was)) {
                drop(booked);
                // It may still wait for a disk that failed.
                return self.ledger.flush_blocking().map_err(in_the_store);
            }
            booked.insert(run, outcome);
        }
        let committed = self.ledger.commit_blocking(line);
        if matches!(committed, Err(LedgerError::Full)) {
            self.booked().remove(run);
            return committed.map_err(in_the_store);
        }
        let budgets = self.limits.budgets();
        if !paid {
            // MONEY: what may have been paid for counts until the periods of its budget are over.
            if held == Usd::ZERO {
                budgets.give_back(run);
            }
        } else if !budgets.settle(run, spent) {
            budgets.book(&client, spent, time);
        }
        committed.map_err(in_the_store)
    }
}

/// Whether a job that was booked in one way may still be booked in another: what was paid stays paid,
/// and what was given up or has failed may turn out to be paid after all.
fn says_more(outcome: Outcome, was: Outcome) -> bool {
    let rank = |outcome| match outcome {
        Outcome::Paid => 2,
        Outcome::Failed => 1,
        Outcome::Unknown | Outcome::Hit | Outcome::Joined => 0,
    };
    rank(outcome) > rank(was)
}

/// The run of a job. One that an older version submitted has a name that its job alone gives.
pub(super) fn run_of(record: &Record, task_id: &str) -> Uuid {
    record.run.unwrap_or_else(|| {
        let name = blake3::derive_key("reprise 2026-11 run of a job", task_id.as_bytes());
        let name = name.first_chunk().copied().unwrap_or_default();
        uuid::Builder::from_custom_bytes(name).into_uuid()
    })
}

/// An end that cannot be booked is not noted: its poll is free, and it is noted by the next one.
fn in_the_store(error: LedgerError) -> StoreError {
    match error {
        LedgerError::Io {
            operation,
            path,
            source,
        } => StoreError::Io {
            operation,
            path,
            source: io::Error::new(source.kind(), source.to_string()),
        },
        LedgerError::Full => StoreError::Refused("no further line of the ledger can wait"),
        LedgerError::Panicked(reason) => StoreError::Panicked(reason),
    }
}
