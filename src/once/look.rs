//! One look at a generation: what is kept of it, and who boards.
//!
//! It asks the disk several times, and each time something depends on what came before. So all of it
//! is one visit to a thread that may block: what a visit costs, beside such small questions, is the
//! way there and back.

use std::fs::File;
use std::sync::Arc;

use jiff::Timestamp;

use super::intent::Pledges;
use super::{Ending, Failure, Flight, Flights, Found, Lead, Query, Reason, lock};
use crate::clock::{self, Clock};
use crate::config::{Ttl, UnknownOutcome};
use crate::store::{Entry, Intent, Payload, Store, StoreError, TaskState};

/// Everything that a look needs, to be taken to a thread that may block.
pub(super) struct Look {
    pub(super) query: Query,
    pub(super) flights: Flights,
    pub(super) pledges: Pledges,
    pub(super) clock: Clock,
}

/// An answer that is at hand, whole and in memory. Does not block; `None` says nothing.
pub(super) fn at_hand(query: &Query, store: &dyn Store, clock: &Clock) -> Option<Found> {
    if query.freshness.no_cache {
        return None;
    }
    let entry = store.at_hand(&query.key)?;
    match (usable(query, &entry, clock.now()), &entry.body) {
        (Use::Hit, Payload::Bytes(_)) => Some(Found::Hit(entry, None)),
        (Use::Join, _) => Some(Found::Joined(entry)),
        (Use::Hit, Payload::Blob { .. }) | (Use::Not(_), _) => None,
    }
}

impl Look {
    /// Finds out whether the generation is kept, is under way, or is to be run by the caller. Blocks.
    pub(super) fn find(&self, store: &dyn Store) -> Result<Found, StoreError> {
        if let Kept::Usable(found) = self.kept(store)? {
            return Ok(*found);
        }
        if self.query.freshness.only_if_cached {
            return Ok(Found::Absent);
        }
        match self.board() {
            Boarded::Follower(flight) => Ok(Found::Follow(flight)),
            Boarded::Lead(lead) => self.lead(store, lead),
        }
    }

    /// MONEY: between the first look and boarding, another lead may have ended and kept its
    /// answer. So the lead looks once more, now that nobody else can run this generation; and it looks
    /// after it has asked about doubts, since a deliberate rerun that ends well takes the doubt away.
    fn lead(&self, store: &dyn Store, mut lead: Lead) -> Result<Found, StoreError> {
        let (question, reason) = match self.question_and_kept(store) {
            Ok((_, Kept::Usable(found))) => return Ok(*found),
            Ok((question, Kept::Unusable(reason))) => (question, reason),
            Err(error) => {
                lead.end(Ending::Failed(Failure::Store(error.to_string())));
                return Err(error);
            }
        };
        let Some(intent) = question else {
            lead.has_room(store.free_bytes());
            return Ok(Found::Lead(lead, reason));
        };
        let flight = lead.flight();
        lead.end(Ending::Failed(Failure::Unknown(Box::new(intent))));
        Ok(Found::Follow(flight))
    }

    fn question_and_kept(&self, store: &dyn Store) -> Result<(Option<Intent>, Kept), StoreError> {
        let question = self.open_question(store)?;
        Ok((question, self.kept(store)?))
    }

    /// An earlier run of this generation whose outcome is unknown and has to be asked about.
    ///
    /// An intent without a flight is from a process that ended, or from a run that was cut.
    fn open_question(&self, store: &dyn Store) -> Result<Option<Intent>, StoreError> {
        let query = &self.query;
        if query.freshness.no_cache || query.unknown_outcome == UnknownOutcome::Rerun {
            return Ok(None);
        }
        self.pledges.open_question(store, query.key)
    }

    fn kept(&self, store: &dyn Store) -> Result<Kept, StoreError> {
        let query = &self.query;
        if query.freshness.no_cache {
            return Ok(Kept::Unusable(Reason::Asked));
        }
        let entry = match store.at_hand(&query.key) {
            Some(entry) => Some(entry),
            None => store.take_up(&query.key)?,
        };
        let Some(entry) = entry else {
            return Ok(Kept::Unusable(Reason::Miss));
        };
        match usable(query, &entry, self.clock.now()) {
            Use::Hit => hit(store, entry),
            Use::Join => Ok(Kept::Usable(Box::new(Found::Joined(entry)))),
            Use::Not(reason) => Ok(Kept::Unusable(reason)),
        }
    }

    /// Under one lock: joins what is under way, or registers as the one who runs.
    fn board(&self) -> Boarded {
        let key = self.query.key;
        let mut flights = lock(&self.flights);
        let under_way = flights.entry(key).or_default();
        match under_way.last() {
            Some(flight) if !self.query.freshness.no_cache => Boarded::Follower(flight.clone()),
            _ => {
                let flight = Flight::new();
                under_way.push(flight.clone());
                Boarded::Lead(Lead::new(key, flight, self.flights.clone()))
            }
        }
    }
}

/// A body that lives in a file is checked before it is promised: a damaged or missing one
/// costs that one generation, which may run again.
fn hit(store: &dyn Store, entry: Arc<Entry>) -> Result<Kept, StoreError> {
    match open(store, &entry.body) {
        Ok(file) => Ok(Kept::Usable(Box::new(Found::Hit(entry, file)))),
        Err(error) if error.is_damage() => {
            tracing::error!(key = entry.record.key.short(), %error, "a kept answer is damaged and not served");
            Ok(Kept::Unusable(Reason::Miss))
        }
        Err(error) => Err(error),
    }
}

fn open(store: &dyn Store, payload: &Payload) -> Result<Option<File>, StoreError> {
    match payload {
        Payload::Bytes(_) => Ok(None),
        Payload::Blob { hash, .. } => store.open_blob(hash).map(Some),
    }
}

enum Boarded {
    Lead(Lead),
    Follower(Arc<Flight>),
}

enum Kept {
    Usable(Box<Found>),
    Unusable(Reason),
}

enum Use {
    Hit,
    Join,
    Not(Reason),
}

fn usable(query: &Query, entry: &Entry, now: Timestamp) -> Use {
    let task = entry.record.task.as_ref();
    if task.is_some_and(|task| task.state == TaskState::Running) {
        // A job under way is joined whatever its age: `max-age` speaks of answers, and a job that is
        // silent for too long is forgotten by who watches it. And `only-if-cached` joins nothing.
        return if query.freshness.only_if_cached {
            Use::Not(Reason::Miss)
        } else {
            Use::Join
        };
    }
    let age = clock::age_seconds(now, entry.record.created_at);
    // Ages are whole seconds, cut off: one that equals `max-age` is older by a part of a second, and
    // `max-age=0` takes nothing that is kept.
    if query.freshness.max_age.is_some_and(|most| age >= most) {
        return Use::Not(Reason::Asked);
    }
    match query.ttl {
        Ttl::For(ttl) if age >= ttl.as_secs() => Use::Not(Reason::Expired),
        Ttl::For(_) | Ttl::Forever => Use::Hit,
    }
}
