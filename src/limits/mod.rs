//! How much a client may use: requests, generations, and how many of those at once.
//!
//! 1. [`Limits::request`] counts every request below `/v1`, whatever it asks for.
//! 2. [`Limits::generation`] counts what is about to be paid: it gives a [`Slot`], which is held until
//!    the paid call has its last byte, or its job has ended. Hits, joins and polls never come here.
//! 3. A [`Refusal`] says which limit was reached and when to come back. It costs the client nothing,
//!    and nobody waits: each client has limits of its own, and another's are not looked at.
//!
//! - [`bucket`] a limit by the minute: GCRA, by `governor`;
//! - [`slots`] paid calls and running jobs by client, each counted once and given back once;
//! - [`budget`] money in a UTC day and month: held by estimate, settled by cost;
//! - [`standing`] how a client stands, in the words of `x-ratelimit-*`;
//! - [`refusal`] why not now.
//!
//! What a client has used is in memory. A restart fills the buckets and forgets the calls, which
//! have ended with the process; the jobs still run, and are taken up from the store. What was spent is in
//! the ledger, and what is held in the notes of runs and the records of running jobs.

mod bucket;
mod budget;
mod refusal;
mod slots;
mod standing;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use uuid::Uuid;

use crate::config::{self, Config};
use crate::price::Usd;
use bucket::Bucket;
pub use budget::{Budgets, Hold, OverBudget, Period};
pub use refusal::{Limit, Refusal};
pub use slots::Slot;
use slots::Slots;
pub use standing::Standing;

/// The limits of all clients, and what they have used of them.
pub struct Limits {
    book: ArcSwap<Book>,
    slots: Arc<Slots>,
    budgets: Budgets,
}

/// The limits by client, as one configuration has them.
struct Book {
    clients: HashMap<String, Allowance>,
    /// Of everybody who is not named: the one client of an open proxy, and one that was taken out of
    /// the configuration while its request was on the way.
    others: Allowance,
}

/// What one client may use. The buckets outlive the book, while their numbers stay.
#[derive(Clone)]
struct Allowance {
    requests: Option<Arc<Bucket>>,
    generations: Option<Arc<Bucket>>,
    /// One at a time is asked whether it may: what it takes for a moment, before it is refused, must
    /// refuse nobody else.
    door: Arc<Mutex<()>>,
    /// 0: any number.
    at_once: u32,
}

impl Limits {
    /// Nobody has used anything yet.
    pub fn new(config: &Config) -> Self {
        Self {
            book: ArcSwap::from_pointee(Book::of(config, None)),
            slots: Arc::default(),
            budgets: Budgets::new(config),
        }
    }

    /// Takes the numbers of a new configuration. A client whose number for a limit stays keeps what it
    /// has used of it; slots are kept in any case.
    pub fn reload(&self, config: &Config) {
        self.book.rcu(|book| Arc::new(Book::of(config, Some(book))));
        self.budgets.reload(config);
    }

    /// Counts one request of `client`; says how it stands then, if there is a limit.
    ///
    /// # Errors
    /// When the client has used up its `requests_per_minute`. Nothing is counted then.
    pub fn request(&self, client: &str) -> Result<Option<Standing>, Refusal> {
        let book = self.book.load();
        let Some(bucket) = &book.of_client(client).requests else {
            return Ok(None);
        };
        match bucket.take() {
            Ok(standing) => Ok(Some(standing)),
            Err((standing, wait)) => Err(Refusal::Requests { standing, wait }),
        }
    }

    /// Counts one generation of `client`, which is about to be paid.
    ///
    /// # Errors
    /// When the client has as many of them under way as `concurrent_generations` allows, or has used
    /// up its `generations_per_minute`. Nothing is counted then.
    pub fn generation(&self, client: &str) -> Result<Slot, Refusal> {
        self.generation_with(client, || Ok(()))
            .map(|(slot, ())| slot)
    }

    /// The same, where something else may refuse it too, and takes what can be given back: asked when
    /// there is a slot. It is to take no time, since all of this client wait for it.
    ///
    /// # Errors
    /// As [`generation`](Self::generation), and those of `more`.
    pub fn generation_with<T>(
        &self,
        client: &str,
        more: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<(Slot, T), Refusal> {
        let book = self.book.load();
        let allowed = book.of_client(client);
        let _one = allowed.door.lock().unwrap_or_else(PoisonError::into_inner);
        let slot =
            Slots::take(&self.slots, client, allowed.at_once).ok_or(Refusal::Concurrent {
                most: allowed.at_once,
            })?;
        let more = more()?;
        // Last, since what was taken from a bucket cannot be given back.
        match allowed.generations.as_ref().map(|bucket| bucket.take()) {
            None | Some(Ok(_)) => Ok((slot, more)),
            Some(Err((standing, wait))) => {
                let most = standing.most();
                Err(Refusal::Generations { most, wait })
            }
        }
    }

    /// Counts jobs that run although this process has not submitted them, each as `(task id, client)`:
    /// those of an earlier process, or of an import. One that is counted already stays counted once.
    pub fn jobs_running<'a>(&self, jobs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (task_id, client) in jobs {
            self.job_found(task_id, client).stay();
        }
    }

    /// Counts a job that is about to be known here, and runs already: nobody asks whether it may.
    pub fn job_found(&self, task_id: &str, client: &str) -> Slot {
        let mut slot = Slots::add(&self.slots, client);
        slot.for_job(task_id);
        slot
    }

    /// A job has ended, or is not kept any more: its slot is given back, if it has one.
    pub fn job_ended(&self, task_id: &str) {
        self.slots.end_job(task_id);
    }

    /// How many paid calls and running jobs a client has.
    pub fn under_way(&self, client: &str) -> usize {
        self.slots.of_client(client)
    }

    /// What clients may spend.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Holds money for a run that was asked for at `at`, as [`Budgets::hold`] does.
    ///
    /// # Errors
    /// When less is left of a budget.
    pub fn hold(&self, client: &str, stake: (Uuid, Usd), at: Timestamp) -> Result<Hold, Refusal> {
        let held = self.budgets.hold(client, stake, at);
        held.map_err(|over| Refusal::Budget(Box::new(over)))
    }

    /// Whether anything is left of a client's budgets, as [`Budgets::check_left`] says.
    ///
    /// # Errors
    /// When one of them is used up.
    pub fn check_left(&self, client: &str, at: Timestamp) -> Result<(), Refusal> {
        let checked = self.budgets.check_left(client, at);
        checked.map_err(|over| Refusal::Budget(Box::new(over)))
    }
}

impl Book {
    fn of(config: &Config, before: Option<&Self>) -> Self {
        let clients = config.clients.iter().map(|(name, client)| {
            let before = before.and_then(|book| book.clients.get(name));
            let allowed = Allowance::of(&client.limits.over(&config.limits), before);
            (name.clone(), allowed)
        });
        Self {
            clients: clients.collect(),
            others: Allowance::of(&config.limits, before.map(|book| &book.others)),
        }
    }

    fn of_client(&self, name: &str) -> &Allowance {
        self.clients.get(name).unwrap_or(&self.others)
    }
}

impl Allowance {
    fn of(numbers: &config::Limits, before: Option<&Self>) -> Self {
        let requests = before.and_then(|before| before.requests.as_ref());
        let generations = before.and_then(|before| before.generations.as_ref());
        Self {
            requests: Bucket::like(requests, numbers.requests_per_minute),
            generations: Bucket::like(generations, numbers.generations_per_minute),
            door: before.map_or_else(Arc::default, |before| before.door.clone()),
            at_once: numbers.concurrent_generations,
        }
    }
}
