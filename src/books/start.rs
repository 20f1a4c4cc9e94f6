//! What an earlier process left: what of it is booked, what is still held, and what nobody knows.

use std::collections::HashMap;
use std::ops::ControlFlow;

use jiff::Timestamp;
use uuid::Uuid;

use super::ending::run_of;
use super::{Books, Claim, asked_at};
use crate::generation::Extent;
use crate::ledger::{LedgerError, Line, Outcome, Spent};
use crate::once::is_settled;
use crate::price::Usd;
use crate::store::{Intent, Record, Stake, Store, StoreError, TaskState};

/// Why the money of an earlier process cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot say what is kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What stands in the store about runs.
struct Left {
    intents: Vec<Intent>,
    /// The records of running jobs.
    jobs: Vec<Record>,
}

impl Books {
    /// Takes up the money of an earlier process: what it `spent`, what it held for runs whose outcome is
    /// unknown and for jobs that run, and the lines that it did not come to write. To be called before
    /// anything else touches the notes. Blocks.
    ///
    /// Says whether every answer that is kept is booked: until then its note has to stay, for the next
    /// start to find.
    ///
    /// # Errors
    /// When the store or the ledger cannot be read. Lines that the disk does not take wait for it.
    pub fn take_up(&self, store: &dyn Store, spent: &Spent) -> Result<bool, StartError> {
        let now = self.clock.now();
        for (client, sums) in &spent.clients {
            let sums = (sums.day, sums.month);
            self.limits.budgets().opened(client, sums, now);
        }
        // First: what a note or a running job says about the same run is newer.
        for held in &spent.held {
            let stake = (held.run, held.usd);
            self.limits.budgets().take_up(&held.client, stake, held.at);
        }
        let left = Left::find(store)?;
        let booked = match left.earliest() {
            Some(since) => self.ledger.booked_blocking(since)?,
            None => HashMap::new(),
        };
        let mut all = true;
        for intent in &left.intents {
            all &= match intent.passed_by {
                Some(_) => self.take_up_passed_by(store, intent, &(&left, &booked))?,
                None => self.take_up_note(store, intent, &(&left, &booked))?,
            };
        }
        for job in &left.jobs {
            self.take_up_job(job, &booked);
        }
        Ok(all)
    }

    fn take_up_note(
        &self,
        store: &dyn Store,
        intent: &Intent,
        (left, booked): &(&Left, &HashMap<Uuid, Outcome>),
    ) -> Result<bool, StartError> {
        let mut all = true;
        let kept = store.get(&intent.key)?.map(|entry| entry.record);
        let settled = kept.as_ref().is_some_and(|kept| is_settled(intent, kept));
        for stake in intent.stakes() {
            // It was run again, and that went well: nobody waits any longer for an earlier run of it.
            if settled && Some(stake.run) != intent.run {
                continue;
            }
            let known = booked.get(&stake.run);
            let own = kept.as_ref().filter(|kept| kept.run == Some(stake.run));
            match (own, known) {
                (_, Some(Outcome::Paid | Outcome::Failed)) => {}
                // A job's line is written at its end, and what it holds is taken up with it. It may
                // stand aside for the run that the note is about.
                _ if left.runs_as_job(stake.run) => {}
                (Some(record), _) if record.task.is_some() => {}
                (Some(record), _) => all &= self.book_kept(record, &stake)?,
                (None, Some(_)) => self.hold_in_doubt(&stake, intent),
                (None, None) => {
                    let line = self.doubtful(intent, &stake);
                    self.write(line)?;
                    self.hold_in_doubt(&stake, intent);
                }
            }
        }
        Ok(all)
    }

    /// A run that was passed by, of which nothing is kept. Its note stays while its outcome is unknown,
    /// and holds its money; one that is booked needs none. Says whether its line is durable.
    fn take_up_passed_by(
        &self,
        store: &dyn Store,
        intent: &Intent,
        (left, booked): &(&Left, &HashMap<Uuid, Outcome>),
    ) -> Result<bool, StartError> {
        let mut written = true;
        for stake in intent.stakes() {
            match booked.get(&stake.run) {
                _ if left.runs_as_job(stake.run) => return Ok(forget(store, intent)?),
                Some(Outcome::Paid | Outcome::Failed) => return Ok(forget(store, intent)?),
                Some(_) => {}
                None => written &= self.write(self.doubtful(intent, &stake))?,
            }
            self.hold_in_doubt(&stake, intent);
        }
        Ok(written)
    }

    /// The process ended between keeping an answer and booking it. Says whether the line is durable.
    fn book_kept(&self, record: &Record, stake: &Stake) -> Result<bool, StartError> {
        let usd = record.usd.map(Usd::from_dollars);
        let time = asked_at(stake.run, record.created_at);
        let written = self.write(Line {
            usd_spent: usd.unwrap_or_default(),
            run: Some(stake.run),
            unpriced: usd.is_none(),
            ..Claim::of_record(record).line(time, Outcome::Paid)
        })?;
        let spent = usd.unwrap_or_default();
        self.limits.budgets().book(&stake.client, spent, time);
        Ok(written)
    }

    /// Writes a line; says whether it is durable. One that is not waits for the disk, and nothing is paid
    /// for meanwhile, while what is kept is handed out.
    fn write(&self, line: Line) -> Result<bool, LedgerError> {
        match self.ledger.commit_blocking(line) {
            Ok(()) => Ok(true),
            Err(error @ LedgerError::Io { .. }) => {
                tracing::error!(%error, "the line of an earlier process's run waits for the disk");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn doubtful(&self, intent: &Intent, stake: &Stake) -> Line {
        let claim = Claim {
            client: stake.client.clone(),
            kind: intent.kind,
            model: intent.model.clone(),
            key: intent.generation(),
            extent: Extent::default(),
        };
        let price = self.prices.load().of(intent.model.as_deref());
        Line {
            run: Some(stake.run),
            unpriced: price.is_none(),
            ..claim.line(asked_at(stake.run, intent.started_at), Outcome::Unknown)
        }
    }

    fn hold_in_doubt(&self, stake: &Stake, intent: &Intent) {
        let at = asked_at(stake.run, intent.started_at);
        let held = (stake.run, stake.usd);
        self.limits.budgets().take_up(&stake.client, held, at);
    }

    /// Takes up jobs that run and of which the start had not known. Blocks, when there are any.
    pub(super) fn take_up_found(&self, running: &[Record]) {
        let is_new = |record: &&Record| {
            let run = record.task.as_ref().map(|task| run_of(record, &task.id));
            run.is_some_and(|run| {
                !self.limits.budgets().holds(run) && self.booked().of(run).is_none()
            })
        };
        let new: Vec<&Record> = running.iter().filter(is_new).collect();
        let Some(since) = new.iter().filter_map(|job| job_asked_at(job)).min() else {
            return;
        };
        let booked = self.ledger.booked_blocking(since).unwrap_or_else(|error| {
            // MONEY: too much is held then, and nothing too little.
            tracing::error!(%error, "jobs are held that may be booked: the ledger cannot be read");
            HashMap::new()
        });
        for job in new {
            self.take_up_job(job, &booked);
        }
    }

    fn take_up_job(&self, record: &Record, booked: &HashMap<Uuid, Outcome>) {
        let Some(task) = &record.task else {
            return;
        };
        let run = run_of(record, &task.id);
        // Until it is held, so that nobody books its end in between.
        let mut ended = self.booked();
        if ended.of(run).is_some() {
            return;
        }
        if let Some(outcome @ (Outcome::Paid | Outcome::Failed)) = booked.get(&run) {
            // Its end was booked and not kept: it will be told once more.
            ended.insert(run, *outcome);
            return;
        }
        let usd = record.usd.map(Usd::from_dollars).unwrap_or_default();
        let at = asked_at(run, task.started_at);
        self.limits
            .budgets()
            .take_up(&record.client, (run, usd), at);
    }
}

fn job_asked_at(record: &Record) -> Option<Timestamp> {
    let task = record.task.as_ref()?;
    Some(asked_at(run_of(record, &task.id), task.started_at))
}

/// Takes a note away that nobody needs.
fn forget(store: &dyn Store, intent: &Intent) -> Result<bool, StoreError> {
    store.remove_intent(&intent.key).map(|_| true)
}

impl Left {
    fn find(store: &dyn Store) -> Result<Self, StoreError> {
        let mut jobs = Vec::new();
        store.open_work(&mut |record| {
            let task = record.task.as_ref();
            if task.is_some_and(|task| task.state == TaskState::Running) {
                jobs.push(record.clone());
            }
            ControlFlow::Continue(())
        })?;
        let intents = store.intents()?;
        Ok(Self { intents, jobs })
    }

    /// Whether this run has submitted a job that runs.
    fn runs_as_job(&self, run: Uuid) -> bool {
        self.jobs.iter().any(|record| record.run == Some(run))
    }

    /// When the first of these runs was asked for.
    fn earliest(&self) -> Option<Timestamp> {
        let noted = self.intents.iter().flat_map(|intent| {
            let stakes = intent.stakes().into_iter();
            stakes.map(|stake| asked_at(stake.run, intent.started_at))
        });
        let running = self.jobs.iter().filter_map(job_asked_at);
        noted.chain(running).min()
    }
}
