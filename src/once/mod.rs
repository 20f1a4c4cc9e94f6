//! Paying once: who may run a generation, and who waits for whom.
//!
//! [`Once::look_up`] answers the one question that costs money: *is there an answer already, is
//! one under way, or does this request run?* Exactly one of those who ask about a fingerprint gets
//! the [`Lead`]; all others get what is kept ([`Found::Hit`]) or the [`Flight`] of the lead
//! ([`Found::Follow`]).
//!
//! - [`flight`] a generation under way, and every way in which it can end;
//! - [`look`] the look itself: what is kept, who boards;
//! - [`lead`] the permit to run, which ends the flight even when it is dropped;
//! - [`recording`] an answer while it arrives, read by many;
//! - [`intent`] the durable note that a paid call is under way;
//! - [`resolve`](resolve()) what a person decides about a note that stayed.

mod callers;
mod flight;
mod intent;
mod lead;
mod look;
mod recorder;
mod recording;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::config::{Ttl, UnknownOutcome};
use crate::generation::Fingerprint;
use crate::store::{Entry, Intent, Shelf, StoreError};

pub use flight::{Ending, Failure, Flight, Live, NotKept, Stage};
use intent::Pledges;
pub use intent::{Pledge, is_settled};
pub use lead::Lead;
use look::Look;
pub use recorder::Recorder;
pub use recording::Recording;
pub use resolve::{NotATaskId, Resolution, TaskId, Unresolved, resolve};

use callers::Callers;

/// What is known about identical generations: kept, under way, or in doubt.
pub struct Once {
    shelf: Shelf,
    clock: Clock,
    flights: Flights,
    callers: Callers,
    pledges: Pledges,
}

/// Flights by fingerprint. More than one only when a client asked for a run of its own beside one
/// that is under way (`no-cache`); those who join take the newest.
type Flights = Arc<Mutex<HashMap<Fingerprint, Vec<Arc<Flight>>>>>;

/// What a request asks about a generation.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Which generation.
    pub key: Fingerprint,
    /// How fresh an answer the client wants (RFC 9111 §5.2.1).
    pub freshness: Freshness,
    /// How long the kind's answers are kept.
    pub ttl: Ttl,
    /// What to do when an earlier run's outcome is unknown.
    pub unknown_outcome: UnknownOutcome,
}

/// The directives of a request's `Cache-Control` that choose between kept and new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Run again, whatever is kept.
    pub no_cache: bool,
    /// Answer only from what is kept.
    pub only_if_cached: bool,
    /// Take only what is younger than so many seconds.
    pub max_age: Option<u64>,
}

/// What [`Once::look_up`] found.
pub enum Found {
    /// A finished generation that is kept, and the file of its body if that is one.
    Hit(Arc<Entry>, Option<File>),
    /// A video job that was submitted and still runs: its submit's answer.
    Joined(Arc<Entry>),
    /// An identical generation is under way.
    Follow(Arc<Flight>),
    /// This request runs it.
    Lead(Lead, Reason),
    /// Nothing is kept, and the client wants nothing else.
    Absent,
}

/// Why a request runs although identical ones may have run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is kept.
    Miss,
    /// The client asked for a new or a younger answer.
    Asked,
    /// What was kept is older than its kind's `ttl`.
    Expired,
}

impl Once {
    /// Nothing is under way yet.
    pub fn new(shelf: Shelf, clock: Clock) -> Self {
        let pledges = Pledges::new(shelf.clone());
        Self {
            shelf,
            clock,
            flights: Flights::default(),
            callers: Callers::default(),
            pledges,
        }
    }

    /// How many generations are under way.
    pub fn under_way(&self) -> usize {
        lock(&self.flights).values().map(Vec::len).sum()
    }

    /// The generations that are under way at this moment, in no certain order.
    pub fn keys_under_way(&self) -> Vec<Fingerprint> {
        lock(&self.flights).keys().copied().collect()
    }

    /// The notes that stand for calls which are under way at this moment, in no certain order: those of
    /// calls that are passed by are among them, which no flight stands for.
    ///
    /// # Errors
    /// When nobody could look.
    pub async fn notes_under_way(&self) -> Result<Vec<Fingerprint>, StoreError> {
        self.pledges.live().await
    }

    /// How many requests asked for a generation in this process's life, at least one; hits of what
    /// was finished are not counted.
    pub fn callers(&self, key: &Fingerprint) -> u64 {
        self.callers.of(key)
    }

    /// Notes durably that a paid call is about to be made.
    ///
    /// # Errors
    /// When the note could not be written: then nothing may be sent.
    pub async fn pledge(&self, intent: Intent) -> Result<Pledge, StoreError> {
        self.pledges.make(intent).await
    }

    /// Removes the notes of an earlier process whose answers were kept after all, and those that nobody
    /// needs any longer.
    ///
    /// # Errors
    /// When the store cannot say what it holds.
    pub async fn reconcile(&self) -> Result<(), StoreError> {
        self.pledges.reconcile(self.clock.now()).await
    }

    /// Finds out whether `query`'s generation is kept, is under way, or is to be run by the caller.
    ///
    /// # Errors
    /// When the store cannot say what is kept: then nothing may run, since it could have run before.
    ///
    /// # Cancel safety
    /// A lead that is dropped here has sent nothing and releases its followers.
    pub async fn look_up(&self, query: &Query) -> Result<Found, StoreError> {
        let found = self.find(query).await?;
        match &found {
            Found::Joined(_) | Found::Follow(_) | Found::Lead(..) => self.callers.note(query.key),
            Found::Hit(..) | Found::Absent => {}
        }
        Ok(found)
    }

    /// What is at hand is looked at here, and everything else in one visit to a thread that may block.
    async fn find(&self, query: &Query) -> Result<Found, StoreError> {
        if let Some(found) = look::at_hand(query, self.shelf.store(), &self.clock) {
            return Ok(found);
        }
        let look = Look {
            query: *query,
            flights: self.flights.clone(),
            pledges: self.pledges.clone(),
            clock: self.clock.clone(),
        };
        self.shelf.blocking(move |store| look.find(store)).await
    }
}

fn lock(flights: &Flights) -> std::sync::MutexGuard<'_, HashMap<Fingerprint, Vec<Arc<Flight>>>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}
