//! The task that makes the calls, one round after another, until the proxy stops.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
use super::shown::{Shown, shown};
use super::verdict::{Came, Verdict};
use crate::config::Links;
use crate::media::{medium, rewrite};
use crate::store::{
    Delivery, DeliveryChange, DeliveryState, Store, StoreError, TaskState, find_job,
};

/// How long calls that are under way may take to end when the proxy stops. One that is cut off is
/// made again at the next start.
const GRACE: Duration = Duration::from_secs(5);
/// How often all deliveries are looked through.
const LOOK_EVERY: Duration = Duration::from_hours(24);
/// How long the mark of a call stays at least, once its job is gone.
const MARKS_STAY: SignedDuration = SignedDuration::from_hours(24);

impl Callbacks {
    /// Calls whoever is to be called, those of earlier starts included, until `stop`. What has not
    /// been called by then is left for the next start. While callbacks are off, all wait.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut calls = FuturesUnordered::new();
        let mut looking = Box::pin(self.look_often_enough(stop.clone()));
        loop {
            let next = loop {
                if !self.rules().is_on {
                    break Next::Nothing;
                }
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

    /// Makes one call and notes what came of it; says when it is to be repeated. What could not be
    /// noted goes with `due`, and then only the note is tried again.
    async fn attend(&self, mut due: Due) -> (Due, Option<Duration>) {
        let bad_disk = Some(self.rules().schedule.bad_disk_pause);
        let verdict = match due.verdict.take() {
            Some(verdict) => verdict,
            None => match self.attempt(&due).await {
                Ok(Some(verdict)) => verdict,
                Ok(None) => return (due, None),
                Err(error) => {
                    tracing::warn!(%error, "a callback could not be read");
                    return (due, bad_disk);
                }
            },
        };
        let (id, noting) = (due.id, verdict.clone());
        let noted = self
            .means
            .shelf
            .writing(move |store| noting.note(store, &id));
        if let Err(error) = noted.await {
            tracing::warn!(%error, "what came of a callback could not be noted");
            due.verdict = Some(verdict);
            return (due, bad_disk);
        }
        let pause = verdict.pause();
        (due, pause)
    }

    /// Makes one call, if it is still to be made.
    async fn attempt(&self, due: &Due) -> Result<Option<Verdict>, StoreError> {
        let id = due.id;
        let look = self
            .means
            .shelf
            .blocking(move |store| store.change_delivery(&id, &mut |_| DeliveryChange::Nothing));
        let Some(delivery) = look.await? else {
            return Ok(None);
        };
        let DeliveryState::Due { body, .. } = &delivery.state else {
            return Ok(None);
        };
        let body = self.with_local_links(&delivery, body).await;
        let heard = self.call(&id, &delivery.address, &body).await;
        let attempts = delivery.attempts.saturating_add(1);
        Ok(Some(self.verdict(due, attempts, heard)))
    }

    /// The body of a call with the links that a poll would show now.
    async fn with_local_links(&self, delivery: &Delivery, body: &str) -> String {
        if self.rules().links == Links::Upstream {
            return body.to_owned();
        }
        let (task, base) = (delivery.task_id.clone(), delivery.base.clone());
        let shown = Bytes::copy_from_slice(body.as_bytes());
        let looking = self.means.shelf.blocking(move |store| {
            let entry = find_job(store, &task)?;
            let links = entry.map(|entry| medium::local_links(&entry.record, &base));
            Ok(rewrite(&shown, &links.unwrap_or_default()))
        });
        let shown = looking.await.ok();
        let shown = shown.and_then(|shown| String::from_utf8(shown.to_vec()).ok());
        shown.unwrap_or_else(|| body.to_owned())
    }

    /// What a delivery is after so many attempts.
    fn verdict(&self, due: &Due, attempts: u32, heard: Heard) -> Verdict {
        let (host, task) = (due.host.as_str(), due.task_id.as_str());
        let (why, pause) = match heard {
            Heard::Delivered => {
                tracing::info!(host, task, attempts, "called back");
                self.delivered.fetch_add(1, Ordering::Relaxed);
                let came = Came::Delivered;
                return Verdict { attempts, came };
            }
            Heard::GivenUp(why) => (why, None),
            Heard::Again { why, asked } => {
                (why, self.rules().schedule.pause(&due.id, attempts, asked))
            }
        };
        let came = if let Some(pause) = pause {
            tracing::info!(
                host,
                task,
                attempts,
                why,
                pause_s = pause.as_secs(),
                "a callback is repeated"
            );
            let next_at = later(self.means.clock.now(), pause);
            Came::Again { next_at, pause }
        } else {
            tracing::warn!(host, task, attempts, why, "a callback is given up");
            self.given_up.fetch_add(1, Ordering::Relaxed);
            Came::GivenUp(why)
        };
        Verdict { attempts, came }
    }

    /// Looks through all deliveries at the start and each day, and a little after something went
    /// wrong: in a look, or in hearing of an end.
    async fn look_often_enough(self: &Arc<Self>, stop: CancellationToken) {
        let bad_disk = self.rules().schedule.bad_disk_pause;
        loop {
            let pause = match self.look(stop.clone()).await {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "not all callbacks could be looked at");
                    bad_disk
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.unsure.notified() => tokio::time::sleep(bad_disk).await,
            }
        }
    }

    /// Looks at all deliveries; one that goes wrong keeps no other from it.
    async fn look(self: &Arc<Self>, stop: CancellationToken) -> Result<(), StoreError> {
        let callbacks = self.clone();
        let looking = self.means.shelf.blocking(move |store| {
            let now = callbacks.means.clock.now();
            let mut looked = Ok(());
            let listed = store.deliveries(&mut |delivery| {
                if let Err(error) = callbacks.look_at(store, &delivery, now) {
                    let task = delivery.task_id;
                    tracing::debug!(task, %error, "a callback could not be looked at");
                    looked = Err(error);
                }
                if stop.is_cancelled() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            listed.and(looked)
        });
        looking.await
    }

    /// Takes up what an earlier process has left, and clears away what nobody needs any longer.
    fn look_at(
        &self,
        store: &dyn Store,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let gone = || find_job(store, &delivery.task_id).map(|entry| entry.is_none());
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
        let Some(entry) = find_job(store, &delivery.task_id)? else {
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
