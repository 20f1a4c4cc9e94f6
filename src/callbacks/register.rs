//! Who is to be called, noted before the caller has its answer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::queue::{Due, Queue};
use super::shown::Shown;
use super::{Schedule, Signer};
use crate::clock::Clock;
use crate::config::{Links, Live};
use crate::egress::{Destination, Egress, Refusal};
use crate::media::Settled;
use crate::store::{
    Delivery, DeliveryChange, DeliveryId, DeliveryState, Entry, Shelf, Store, StoreError,
};

/// What callbacks are made with.
pub struct Means {
    /// Where they are remembered.
    pub shelf: Shelf,
    /// How long a success waits for [`Callbacks::media_ready`].
    pub media_patience: Duration,
    /// What is written down.
    pub clock: Clock,
}

/// How callbacks are made, as a configuration wants it.
pub struct Rules {
    /// Whether any are made. Where not, those that are remembered wait.
    pub is_on: bool,
    /// The way out to addresses that clients name.
    pub egress: Egress,
    /// Signs them; `None`: they are not signed.
    pub signer: Option<Signer>,
    /// How often and how fast they are repeated.
    pub schedule: Schedule,
    /// Where the links of a result point to.
    pub links: Links,
}

/// Everybody who is to hear of the end of a job.
pub struct Callbacks {
    pub(super) means: Means,
    rules: Live<Rules>,
    pub(super) queue: Mutex<Queue>,
    /// Something has come into the queue.
    pub(super) changed: Notify,
    /// The end of a job could not be taken down: look at all deliveries again.
    pub(super) unsure: Notify,
    /// The latest failures, by the job's id: for a caller who is noted while its job is forgotten.
    pub(super) failures: Mutex<VecDeque<(String, String)>>,
    pub(super) delivered: AtomicU64,
    pub(super) given_up: AtomicU64,
}

/// What was called since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Callbacks that were received.
    pub delivered: u64,
    /// Callbacks that nobody tries any longer.
    pub given_up: u64,
    /// Callbacks that are due, or to be repeated.
    pub waiting: usize,
}

/// Somebody who submitted a video and gave an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The address: an http or https URL.
    pub address: String,
    /// The client's name.
    pub client: String,
    /// What links to this proxy begin with, as the client sees it: scheme and authority.
    pub base: String,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This proxy.
    Us,
    /// Upstream, which was given the address with the run.
    Upstream,
}

impl Settled for Callbacks {
    fn settled(&self, task_id: &str) {
        if let Err(error) = self.media_ready(task_id) {
            tracing::warn!(%error, "callbacks of a job are made later than they could be");
        }
    }
}

impl Callbacks {
    /// Nothing is called before [`run`](Self::run).
    pub fn new(means: Means, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            means,
            rules: Live::new(rules),
            queue: Mutex::default(),
            changed: Notify::new(),
            unsure: Notify::new(),
            failures: Mutex::default(),
            delivered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        })
    }

    /// Makes calls by other rules from the next one on.
    pub fn reload(&self, rules: Rules) {
        self.rules.set(rules);
        self.changed.notify_one();
    }

    /// What was called since the start.
    pub fn tally(&self) -> Tally {
        Tally {
            delivered: self.delivered.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            waiting: self.queue().len(),
        }
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.load()
    }

    /// Whether an address may be called as far as its letters tell.
    ///
    /// # Errors
    /// What it is.
    pub fn check_letters(&self, to: &Destination) -> Result<(), Refusal> {
        self.rules().egress.check_letters(to)
    }

    /// Notes that `caller` is to hear of the end of the job in `entry`, durably; if the job has
    /// ended, the call is due at once. The same address is called once for each job, and at most
    /// 64 for each job and client.
    ///
    /// Never fails: whoever submitted gets its answer, and that it will not be called is logged.
    pub async fn register(self: &Arc<Self>, entry: Arc<Entry>, caller: Caller, by: By) {
        let callbacks = self.clone();
        let noted = self.means.shelf.writing(move |store| {
            let noted = callbacks.note(store, &entry, caller, by);
            noted.map(|()| entry.record.key)
        });
        if let Err(error) = noted.await {
            tracing::warn!(%error, "a callback could not be remembered and will not be made");
        }
    }

    /// The media of a job are kept: callbacks that waited for it are due now. Blocks.
    ///
    /// # Errors
    /// When that could not be made durable.
    pub fn media_ready(&self, task_id: &str) -> Result<(), StoreError> {
        let (store, now) = (self.means.shelf.store(), self.means.clock.now());
        for delivery in store.deliveries_of(task_id)? {
            let hasten = |delivery: &mut Delivery| match &mut delivery.state {
                DeliveryState::Due { next_at, .. } if delivery.attempts == 0 && *next_at > now => {
                    *next_at = now;
                    true
                }
                _ => false,
            };
            self.change(store, &delivery.id(), hasten)?;
        }
        Ok(())
    }

    /// Changes a delivery where `how` says that it does, and puts it into the queue.
    pub(super) fn change(
        &self,
        store: &dyn Store,
        id: &DeliveryId,
        how: impl Fn(&mut Delivery) -> bool,
    ) -> Result<Option<Delivery>, StoreError> {
        let mut changed = false;
        let mut decide = |standing: Option<&Delivery>| {
            let Some(mut delivery) = standing.cloned() else {
                return DeliveryChange::Nothing;
            };
            changed = how(&mut delivery);
            if changed {
                DeliveryChange::Put(Box::new(delivery))
            } else {
                DeliveryChange::Nothing
            }
        };
        let stands = store.change_delivery(id, &mut decide)?;
        let stands = stands.filter(|_| changed);
        if let Some(delivery) = &stands {
            self.enqueue(delivery);
        }
        Ok(stands)
    }

    /// A job has ended with this answer: who waits for that is to be called.
    pub(super) fn make_due(
        &self,
        store: &dyn Store,
        delivery: &Delivery,
        end: &Shown,
    ) -> Result<(), StoreError> {
        let next_at = later(self.means.clock.now(), end.after);
        let due = |delivery: &mut Delivery| {
            let waits = delivery.state == DeliveryState::Waiting;
            if waits {
                delivery.state = DeliveryState::Due {
                    next_at,
                    kept: end.kept,
                    body: end.body.clone(),
                };
            }
            waits
        };
        self.change(store, &delivery.id(), due).map(drop)
    }

    /// Takes a delivery that is due into the queue.
    pub(super) fn enqueue(&self, delivery: &Delivery) {
        let DeliveryState::Due { next_at, .. } = delivery.state else {
            return;
        };
        let wait = next_at.duration_since(self.means.clock.now());
        // A clock that was set back holds up nothing for longer than a receiver may ask for.
        let wait = Duration::try_from(wait).unwrap_or_default();
        let wait = wait.min(Duration::from_hours(1));
        let due = Due {
            id: delivery.id(),
            task_id: delivery.task_id.clone(),
            host: host(&delivery.address),
            verdict: None,
        };
        self.queue().add(due, Instant::now() + wait);
        self.changed.notify_one();
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn later(now: Timestamp, after: Duration) -> Timestamp {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    now.saturating_add(after).unwrap_or(now)
}

/// What an address may be called in the log, and by what calls are counted.
pub fn host(address: &str) -> String {
    Destination::parse(address).map_or_else(|_| "?".to_owned(), |to| to.to_string())
}
