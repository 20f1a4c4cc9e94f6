//! Who is to be called, noted before the caller has its answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::queue::{Due, Queue};
use super::shown::{self, Shown, shown, stands};
use super::{Schedule, Signer};
use crate::clock::Clock;
use crate::config::Links;
use crate::egress::{Destination, Egress, Refusal};
use crate::media::Settled;
use crate::store::{
    Delivery, DeliveryChange, DeliveryId, DeliveryState, Entry, Medium, MediumState, Shelf, Store,
    StoreError, TaskState,
};

/// What callbacks are made with.
pub struct Means {
    /// Where they are remembered.
    pub shelf: Shelf,
    /// The way out to addresses that clients name.
    pub egress: Egress,
    /// Signs them; `None`: they are not signed.
    pub signer: Option<Signer>,
    /// How often and how fast they are repeated.
    pub schedule: Schedule,
    /// How long a success waits for [`Callbacks::media_ready`].
    pub media_patience: Duration,
    /// Where the links of a result point to.
    pub links: Links,
    /// What is written down.
    pub clock: Clock,
}

/// Everybody who is to hear of the end of a job.
pub struct Callbacks {
    pub(super) means: Means,
    pub(super) queue: Mutex<Queue>,
    /// Something has come into the queue.
    pub(super) changed: Notify,
    /// The latest failures, by the job's id: for a caller who is noted while its job is forgotten.
    pub(super) failures: Mutex<VecDeque<(String, String)>>,
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
    pub fn new(means: Means) -> Arc<Self> {
        Arc::new(Self {
            means,
            queue: Mutex::default(),
            changed: Notify::new(),
            failures: Mutex::default(),
        })
    }

    /// Whether an address may be called as far as its letters tell.
    ///
    /// # Errors
    /// What it is.
    pub fn check_letters(&self, to: &Destination) -> Result<(), Refusal> {
        self.means.egress.check_letters(to)
    }

    /// Notes that `caller` is to hear of the end of the job in `entry`, durably; if the job has
    /// ended, the call is due at once. The same address is called once for each job.
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

    fn note(
        &self,
        store: &dyn Store,
        entry: &Entry,
        caller: Caller,
        by: By,
    ) -> Result<(), StoreError> {
        let Some(task) = &entry.record.task else {
            return Ok(());
        };
        let now = self.means.clock.now();
        let ended = match task.state {
            TaskState::Running => None,
            TaskState::Succeeded => shown(store, entry, &entry.record.path)?,
        };
        let delivery = Delivery {
            key: entry.record.key,
            task_id: task.id.clone(),
            address: caller.address,
            client: caller.client,
            path: entry.record.path.clone(),
            base: caller.base,
            created_at: now,
            attempts: 0,
            state: match (by, ended) {
                (By::Upstream, _) => DeliveryState::Upstreams,
                (By::Us, Some(body)) => DeliveryState::Due {
                    next_at: later(now, self.wait_for_media(entry)),
                    kept: true,
                    body,
                },
                (By::Us, None) => DeliveryState::Waiting,
            },
        };
        let mut fresh = false;
        let mut decide = |standing: Option<&Delivery>| {
            fresh = is_new(by, standing.map(|delivery| &delivery.state));
            if fresh {
                DeliveryChange::Put(Box::new(delivery.clone()))
            } else {
                DeliveryChange::Nothing
            }
        };
        let stands = store.change_delivery(&delivery.id(), &mut decide)?;
        match stands {
            Some(delivery) if fresh && delivery.state == DeliveryState::Waiting => {
                self.look_again(store, &delivery)
            }
            Some(delivery) if fresh => {
                self.enqueue(&delivery);
                // The last file may have come while its caller was noted.
                match shown::stands(store, &delivery.task_id)? {
                    Some(entry) if self.wait_for_media(&entry).is_zero() => {
                        self.media_ready(&delivery.task_id)
                    }
                    Some(_) | None => Ok(()),
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The job may have ended while its caller was noted, and its end have missed it.
    fn look_again(&self, store: &dyn Store, delivery: &Delivery) -> Result<(), StoreError> {
        if let Some(body) = self.failure_of(&delivery.task_id) {
            return self.make_due(store, delivery, &Shown::failure(body));
        }
        let Some(entry) = stands(store, &delivery.task_id)? else {
            return Ok(());
        };
        match shown(store, &entry, &delivery.path)? {
            Some(body) => {
                let after = self.wait_for_media(&entry);
                self.make_due(
                    store,
                    delivery,
                    &Shown {
                        after,
                        ..Shown::success(body)
                    },
                )
            }
            None => Ok(()),
        }
    }

    /// How long a job that has succeeded waits for its files: until they are there, or
    /// `media_patience` after its end.
    pub(super) fn wait_for_media(&self, entry: &Entry) -> Duration {
        let record = &entry.record;
        let wanted = |medium: &Medium| medium.state == MediumState::Wanted;
        let ended = record.task.as_ref().and_then(|task| task.ended_at);
        let Some(ended) = ended.filter(|_| record.media.iter().any(wanted)) else {
            return Duration::ZERO;
        };
        let since = self.means.clock.now().duration_since(ended);
        let since = Duration::try_from(since).unwrap_or_default();
        self.means.media_patience.saturating_sub(since)
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
        };
        self.queue().add(due, Instant::now() + wait);
        self.changed.notify_one();
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a caller is to be noted, given what stands under the same job and address. One that was
/// given up and asks again is tried again.
fn is_new(by: By, standing: Option<&DeliveryState>) -> bool {
    match standing {
        None => true,
        // Somebody who joined came before the one whose run it is, with the same address.
        Some(DeliveryState::Waiting) => by == By::Upstream,
        Some(DeliveryState::GivenUp { .. }) => by == By::Us,
        Some(DeliveryState::Upstreams | DeliveryState::Due { .. } | DeliveryState::Delivered) => {
            false
        }
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
