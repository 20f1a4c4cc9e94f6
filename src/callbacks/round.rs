//! The task that makes the calls, one round after another, until the proxy stops.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Callbacks;
use super::call::Heard;
use super::queue::{Due, Next};
use super::register::{host, later};
use super::shown::{Shown, shown, stands};
use crate::config::Links;
use crate::media::{medium, rewrite};
use crate::store::{
    Delivery, DeliveryChange, DeliveryId, DeliveryState, Store, StoreError, TaskState,
};

/// How long calls that are under way may take to end when the proxy stops. One that is cut off is
/// made again at the next start.
const GRACE: Duration = Duration::from_secs(5);
/// How often all deliveries are looked through.
const LOOK_EVERY: Duration = Duration::from_hours(24);
/// When a delivery is tried again whose state could not be written down.
const AFTER_A_BAD_DISK: Duration = Duration::from_mins(1);
/// How long the mark of a call stays at least, once its job is gone.
const MARKS_STAY: SignedDuration = SignedDuration::from_hours(24);

impl Callbacks {
    /// Calls whoever is to be called, those of earlier starts included, until `stop`. What has not
    /// been called by then is left for the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut calls = FuturesUnordered::new();
        let mut looking = Box::pin(self.look_daily(stop.clone()));
        loop {
            let next = loop {
                let next = self.queue().take(Instant::now());
                match next {
                    Next::Call(due) => calls.push(self.attend(due)),
                    Next::At(_) | Next::Nothing => break next,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
                () = until(&next) => {}
                () = &mut looking => {}
                Some((due, again)) = calls.next() => {
                    let mut queue = self.queue();
                    let now = Instant::now();
                    queue.ended(&due, now);
                    if let Some(pause) = again {
                        queue.add(due, now + pause);
                    }
                }
            }
        }
        let rest = async { while calls.next().await.is_some() {} };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            tracing::warn!("callbacks under way were cut off; they are made at the next start");
        }
    }

    /// Makes one call and notes what came of it; says when it is to be repeated.
    async fn attend(&self, due: Due) -> (Due, Option<Duration>) {
        let id = due.id;
        let kept = &self.means.shelf;
        let look = kept
            .blocking(move |store| store.change_delivery(&id, &mut |_| DeliveryChange::Nothing));
        let delivery = match look.await {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return (due, None),
            Err(error) => {
                tracing::warn!(%error, "a callback could not be read");
                return (due, Some(AFTER_A_BAD_DISK));
            }
        };
        let DeliveryState::Due { body, .. } = &delivery.state else {
            return (due, None);
        };
        let body = self.with_local_links(&delivery, body).await;
        let heard = self.call(&id, &delivery.address, &body).await;
        let attempts = delivery.attempts.saturating_add(1);
        let (state, pause) = self.verdict(&due, attempts, (heard, delivery.state));
        let noted = kept.writing(move |store| note(store, &id, attempts, &state));
        match noted.await {
            Ok(()) => (due, pause),
            Err(error) => {
                // It is made again then, under the same id: better twice than never.
                tracing::warn!(%error, "what came of a callback could not be noted");
                (due, Some(pause.unwrap_or_default().max(AFTER_A_BAD_DISK)))
            }
        }
    }

    /// The body of a call with the links that a poll would show now.
    async fn with_local_links(&self, delivery: &Delivery, body: &str) -> String {
        if self.means.links == Links::Upstream {
            return body.to_owned();
        }
        let (task, base) = (delivery.task_id.clone(), delivery.base.clone());
        let shown = Bytes::copy_from_slice(body.as_bytes());
        let looking = self.means.shelf.blocking(move |store| {
            let entry = stands(store, &task)?;
            let links = entry.map(|entry| medium::local_links(&entry.record, &base));
            Ok(rewrite(&shown, &links.unwrap_or_default()))
        });
        let shown = looking.await.ok();
        let shown = shown.and_then(|shown| String::from_utf8(shown.to_vec()).ok());
        shown.unwrap_or_else(|| body.to_owned())
    }

    /// What a delivery is after an attempt, and when the next one is made.
    fn verdict(
        &self,
        due: &Due,
        attempts: u32,
        (heard, mut state): (Heard, DeliveryState),
    ) -> (DeliveryState, Option<Duration>) {
        let (host, task) = (due.host.as_str(), due.task_id.as_str());
        let (why, pause) = match heard {
            Heard::Delivered => {
                tracing::info!(host, task, attempts, "called back");
                return (DeliveryState::Delivered, None);
            }
            Heard::GivenUp(why) => (why, None),
            Heard::Again { why, asked } => {
                (why, self.means.schedule.pause(&due.id, attempts, asked))
            }
        };
        if let Some(pause) = pause {
            if let DeliveryState::Due { next_at, .. } = &mut state {
                *next_at = later(self.means.clock.now(), pause);
            }
            tracing::info!(
                host,
                task,
                attempts,
                why,
                pause_s = pause.as_secs(),
                "a callback is repeated"
            );
            (state, Some(pause))
        } else {
            tracing::warn!(host, task, attempts, why, "a callback is given up");
            (DeliveryState::GivenUp { reason: why }, None)
        }
    }

    async fn look_daily(self: &Arc<Self>, stop: CancellationToken) {
        loop {
            let (callbacks, stop) = (self.clone(), stop.clone());
            let looked = self.means.shelf.blocking(move |store| {
                let now = callbacks.means.clock.now();
                let mut result = Ok(());
                store.deliveries(&mut |delivery| {
                    result = callbacks.look_at(store, &delivery, now);
                    if result.is_err() || stop.is_cancelled() {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                })?;
                result
            });
            if let Err(error) = looked.await {
                tracing::warn!(%error, "not all callbacks of earlier starts could be read");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes up what an earlier process has left, and clears away what nobody needs any longer.
    fn look_at(
        &self,
        store: &dyn Store,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let gone = || stands(store, &delivery.task_id).map(|entry| entry.is_none());
        let goes = match &delivery.state {
            DeliveryState::Due { .. } => {
                self.enqueue(delivery);
                false
            }
            DeliveryState::Waiting => self.look_at_waiting(store, delivery)?,
            // The marks go with their job.
            DeliveryState::Upstreams | DeliveryState::Delivered | DeliveryState::GivenUp { .. } => {
                now.duration_since(delivery.created_at) > MARKS_STAY && gone()?
            }
        };
        if goes {
            let same = delivery.clone();
            store.change_delivery(&delivery.id(), &mut |standing| {
                if standing == Some(&same) {
                    DeliveryChange::Remove
                } else {
                    DeliveryChange::Nothing
                }
            })?;
        }
        Ok(())
    }

    /// Its job may have ended while nobody told; `true` when there is nothing to wait for.
    fn look_at_waiting(&self, store: &dyn Store, delivery: &Delivery) -> Result<bool, StoreError> {
        let Some(entry) = stands(store, &delivery.task_id)? else {
            let (task, host) = (&delivery.task_id, host(&delivery.address));
            tracing::warn!(
                task,
                host,
                "its job is gone, so nobody is called back about it"
            );
            return Ok(true);
        };
        let task = entry.record.task.as_ref();
        let succeeded = task.is_some_and(|task| task.state == TaskState::Succeeded);
        if succeeded && let Some(body) = shown(store, &entry, &delivery.path)? {
            let after = self.wait_for_media(&entry);
            self.make_due(
                store,
                delivery,
                &Shown {
                    after,
                    ..Shown::success(body)
                },
            )?;
        }
        Ok(false)
    }
}

async fn until(next: &Next) {
    match next {
        Next::At(at) => tokio::time::sleep_until(*at).await,
        Next::Call(_) | Next::Nothing => pending().await,
    }
}

/// Writes down what a delivery has become. Of a job that is not kept nothing stays once it is over.
fn note(
    store: &dyn Store,
    id: &DeliveryId,
    attempts: u32,
    state: &DeliveryState,
) -> Result<(), StoreError> {
    let over = !matches!(state, DeliveryState::Due { .. });
    let mut decide = |standing: Option<&Delivery>| match standing.cloned() {
        None => DeliveryChange::Nothing,
        Some(delivery)
            if over && matches!(delivery.state, DeliveryState::Due { kept: false, .. }) =>
        {
            DeliveryChange::Remove
        }
        Some(mut delivery) => {
            delivery.attempts = attempts;
            delivery.state = state.clone();
            DeliveryChange::Put(Box::new(delivery))
        }
    };
    store.change_delivery(id, &mut decide).map(drop)
}
