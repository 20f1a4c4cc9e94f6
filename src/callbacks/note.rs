//! One caller is noted, and what may have happened meanwhile.

use std::time::Duration;

use super::Callbacks;
use super::register::{By, Caller, later};
use super::shown::{Shown, shown};
use crate::store::{
    Delivery, DeliveryChange, DeliveryState, Entry, Medium, MediumState, Store, StoreError,
    TaskState, find_job,
};

/// How many addresses are called about one job for one client: each costs a file and a POST.
const MOST_ADDRESSES: usize = 64;

impl Callbacks {
    pub(super) fn note(
        &self,
        store: &dyn Store,
        entry: &Entry,
        caller: Caller,
        by: By,
    ) -> Result<(), StoreError> {
        let Some(delivery) = self.delivery(store, entry, (caller, by))? else {
            return Ok(());
        };
        if by == By::Us && is_crowded(store, &delivery)? {
            let (task, client) = (&delivery.task_id, &delivery.client);
            tracing::warn!(
                task,
                client,
                "{MOST_ADDRESSES} addresses are called back about this job for this client; another one is not"
            );
            return Ok(());
        }
        let mut fresh = false;
        let mut decide = |standing: Option<&Delivery>| {
            fresh = is_new(by, standing.map(|delivery| &delivery.state));
            if fresh {
                DeliveryChange::Put(Box::new(delivery.clone()))
            } else {
                DeliveryChange::Nothing
            }
        };
        store.change_delivery(&delivery.id(), &mut decide)?;
        if fresh && delivery.state == DeliveryState::Waiting {
            return self.look_again(store, &delivery);
        }
        if !fresh {
            return Ok(());
        }
        self.enqueue(&delivery);
        // The last file may have come while its caller was noted.
        match find_job(store, &delivery.task_id)? {
            Some(entry) if self.wait_for_media(&entry).is_zero() => {
                self.media_ready(&delivery.task_id)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The delivery to a caller of the job in `entry`, as it begins.
    fn delivery(
        &self,
        store: &dyn Store,
        entry: &Entry,
        (caller, by): (Caller, By),
    ) -> Result<Option<Delivery>, StoreError> {
        let Some(task) = &entry.record.task else {
            return Ok(None);
        };
        let now = self.means.clock.now();
        let ended = match task.state {
            TaskState::Running => None,
            TaskState::Succeeded => shown(store, entry, &entry.record.path)?,
        };
        Ok(Some(Delivery {
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
        }))
    }

    /// The job may have ended while its caller was noted, and its end have missed it.
    fn look_again(&self, store: &dyn Store, delivery: &Delivery) -> Result<(), StoreError> {
        if let Some(body) = self.failure_of(&delivery.task_id) {
            return self.make_due(store, delivery, &Shown::failure(body));
        }
        let Some(entry) = find_job(store, &delivery.task_id)? else {
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
}

/// Whether so many addresses are noted for this client and job that no further one is. Those that
/// are being noted at this moment are not counted.
fn is_crowded(store: &dyn Store, caller: &Delivery) -> Result<bool, StoreError> {
    let mut noted = store.deliveries_of(&caller.task_id)?;
    noted.retain(|delivery| delivery.client == caller.client);
    let stands = noted.iter().any(|delivery| delivery.id() == caller.id());
    Ok(!stands && noted.len() >= MOST_ADDRESSES)
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
