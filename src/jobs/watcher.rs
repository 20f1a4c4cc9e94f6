//! Follows every job to its end, whether or not a client asks.
//!
//! One task looks at the agenda and lets a bounded number of visits run at once. A visit is an
//! ordinary poll: it shares its question with clients, and a client's poll postpones it.
//!
//! So is a job that was passed by (`mode = "off"`, `no-store`): its end is booked and gives back what it
//! held, though nothing of it is kept. Its clients' polls pass by as well, and tell what they show.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Next};
use super::polls::Polls;
use super::question::Question;
use super::route::Route;
use crate::generation::Fingerprint;
use crate::store::{Record, Shelf, StoreError, TaskState};

/// How many jobs are asked for at once.
const AT_ONCE: usize = 32;

/// How long to wait with another look for running jobs after one that did not see everything.
const AGAIN: Duration = Duration::from_mins(1);

/// Follows jobs.
#[derive(Clone)]
pub struct Watcher {
    polls: Polls,
    shelf: Shelf,
    visits: Arc<Semaphore>,
}

/// A running job, as a visit finds it.
struct Found {
    key: Fingerprint,
    /// The path of its submit.
    path: String,
}

/// Puts a job back on the agenda, unless it has been taken off.
struct Back<'a>(&'a Agenda, &'a Arc<str>);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.0.put_back(self.1);
    }
}

impl Watcher {
    /// Follows the jobs that `polls` knows, and those that run in `shelf`.
    pub fn new(polls: Polls, shelf: Shelf) -> Self {
        Self {
            polls,
            shelf,
            visits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Follows jobs until `stop`. What runs then is taken up by the next process.
    pub async fn run(self, stop: CancellationToken) {
        let taking_up = self.clone().take_up(stop.clone());
        self.polls.tasks().spawn(taking_up);
        loop {
            let visit = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                visit = self.next() => visit,
            };
            let Some((id, route, permit)) = visit else {
                break;
            };
            let (watcher, stop) = (self.clone(), stop.clone());
            self.polls.tasks().spawn(async move {
                // However the visit ends, the job is asked for again.
                let _back = Back(watcher.polls.agenda(), &id);
                // Nothing is lost by leaving: what a visit began to write is written.
                let _ = stop.run_until_cancelled(watcher.visit(&id, route)).await;
                drop(permit);
            });
        }
        self.polls.close();
    }

    /// The next job that is due, and the right to ask for it.
    async fn next(&self) -> Option<(Arc<str>, Route, OwnedSemaphorePermit)> {
        let permit = self.visits.clone().acquire_owned().await.ok()?;
        let agenda = self.polls.agenda();
        loop {
            match agenda.next() {
                Next::Visit(id, route) => return Some((id, route, permit)),
                Next::Wait(until) => {
                    tokio::select! {
                        () = agenda.sooner() => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                Next::Idle => agenda.sooner().await,
            }
        }
    }

    /// Follows what runs since an earlier process, and what comes by an import.
    async fn take_up(self, stop: CancellationToken) {
        let mut imports = self.shelf.imports();
        loop {
            let all = self.take_up_once(stop.clone()).await;
            let again = async {
                if all {
                    // Never an end: the shelf is ours as well.
                    let _ = imports.changed().await;
                } else {
                    tokio::time::sleep(AGAIN).await;
                }
            };
            if stop.run_until_cancelled(again).await.is_none() {
                return;
            }
        }
    }

    /// Follows every job that runs and is not followed yet; says whether all could be read.
    async fn take_up_once(&self, stop: CancellationToken) -> bool {
        let polls = self.polls.clone();
        let looking = self.shelf.blocking(move |store| {
            let (mut running, mut records) = (Vec::new(), Vec::new());
            let looked = store.open_work(&mut |record| {
                if let Some(job) = running_job(record) {
                    running.push(job);
                    records.push(record.clone());
                }
                if stop.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            polls.found(&records);
            Ok((running, looked))
        });
        let (running, looked) = looking
            .await
            .unwrap_or_else(|error| (Vec::new(), Err(error)));
        let more = self.polls.agenda().take_up(&running);
        if more > 0 {
            tracing::info!(jobs = more, "running jobs are followed");
        }
        if let Err(error) = &looked {
            tracing::error!(
                %error,
                "there may be running jobs that only clients ask for: looked for again in a minute"
            );
        }
        looked.is_ok()
    }

    async fn visit(&self, id: &Arc<str>, route: Route) {
        let agenda = self.polls.agenda();
        let found = match self.find(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return self.polls.leave(id),
            Err(error) => {
                tracing::warn!(task = %id, %error, "a job is not asked for: the store cannot say what it is");
                return;
            }
        };
        let Some(question) = Question::ours(found.key, id, route) else {
            return self.polls.leave(id);
        };
        // What it tells is noted by the question itself.
        if let Err(error) = self.polls.ask_anew(question).await {
            tracing::debug!(task = %id, %error, "a job could not be asked for");
        }
        let submit = (found.key, found.path.as_str());
        if agenda.is_shut_out(id) && self.polls.look_at_clip(submit, id).await {
            return;
        }
        if agenda.is_given_up(id) {
            self.polls.give_up(submit, id).await;
        }
    }

    /// The job as it is kept now; `None` when it has ended, or is no longer kept.
    async fn find(&self, id: &Arc<str>) -> Result<Option<Found>, StoreError> {
        let entry = self.shelf.job(id.to_string()).await?;
        Ok(entry.and_then(|entry| {
            running_job(&entry.record)?;
            Some(Found {
                key: entry.record.key,
                path: entry.record.path.clone(),
            })
        }))
    }
}

fn running_job(record: &Record) -> Option<(String, Route)> {
    let task = record.task.as_ref()?;
    let runs = task.state == TaskState::Running;
    runs.then(|| (task.id.clone(), Route::of_submit(&record.path)))
}

#[cfg(test)]
mod tests;
