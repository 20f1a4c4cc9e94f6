//! Which running job is asked for when.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::pace::Pace;
use super::route::Route;
use super::watched::Watched;
use super::word::{Sign, Word};
use crate::config::{self, Live};

/// So many jobs are followed at once; each was paid for, so this is far beyond what anybody runs.
const MOST: usize = 100_000;

/// All running jobs, ordered by the time of their next poll.
pub(super) struct Agenda {
    book: Mutex<Book>,
    sooner: Notify,
    rhythm: Live<Rhythm>,
}

/// How often jobs are asked for, and for how long.
struct Rhythm {
    pace: Pace,
    deadline: Duration,
}

#[derive(Default)]
struct Book {
    jobs: HashMap<Arc<str>, Watched>,
    queue: BTreeSet<(Instant, Arc<str>)>,
    /// The next poll of any job begins no sooner.
    free_at: Option<Instant>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This job is asked for, on this path.
    Visit(Arc<str>, Route),
    /// Nothing until then.
    Wait(Instant),
    /// Nothing until a job comes.
    Idle,
}

/// What is known of a running job without asking upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// How far it is, in percent, if upstream has said so.
    pub progress: Option<u8>,
    /// How long until it is asked for again; zero while that is going on.
    pub next_poll: Duration,
}

impl Rhythm {
    fn of(settings: &config::Jobs) -> Self {
        Self {
            pace: Pace::new(settings.poll_interval),
            deadline: settings.deadline,
        }
    }
}

impl Agenda {
    pub(super) fn new(settings: &config::Jobs) -> Self {
        Self {
            book: Mutex::default(),
            sooner: Notify::new(),
            rhythm: Live::new(Rhythm::of(settings)),
        }
    }

    /// Goes by other settings from now on. What would be asked for later than they say is brought
    /// forward; what upstream asked to be left alone stays where it is.
    pub(super) fn reload(&self, settings: &config::Jobs) {
        let rhythm = Rhythm::of(settings);
        let now = Instant::now();
        let mut book = self.lock();
        let waiting = book.queue.iter().map(|(due, id)| (*due, id.clone()));
        for (due, id) in waiting.collect::<Vec<_>>() {
            let wait = book.jobs.get(&id).map(|job| {
                let seed = (now, (&id, now));
                job.wait(&rhythm.pace, rhythm.deadline, seed)
            });
            let sooner = wait.map(|wait| after(now, wait));
            if let Some(sooner) = sooner.filter(|sooner| *sooner < due) {
                self.schedule(&mut book, &id, sooner);
            }
        }
        book.free_at = None;
        self.rhythm.set(rhythm);
        drop(book);
        self.sooner.notify_one();
    }

    /// Follows a job that was submitted just now.
    pub(super) fn follow(&self, task_id: &str, route: Route) {
        let now = Instant::now();
        let wait = self.rhythm.load().pace.wait(0, task_id);
        self.add(task_id, route, after(now, wait), now);
    }

    /// Follows jobs that run already, spread over one interval; says how many were not followed yet.
    pub(super) fn take_up(&self, jobs: &[(String, Route)]) -> usize {
        let now = Instant::now();
        let rhythm = self.rhythm.load();
        let mut added = 0;
        for (nth, (task_id, route)) in jobs.iter().enumerate() {
            let due = after(now, rhythm.pace.place(nth, jobs.len()));
            added += usize::from(self.add(task_id, *route, due, now));
        }
        added
    }

    fn add(&self, task_id: &str, route: Route, due: Instant, now: Instant) -> bool {
        let mut book = self.lock();
        if book.jobs.contains_key(task_id) {
            return false;
        }
        if book.jobs.len() >= MOST {
            tracing::warn!(
                task = task_id,
                "more jobs run than are followed at once; this one is only looked at when a client asks"
            );
            return false;
        }
        let id: Arc<str> = task_id.into();
        book.jobs.insert(id.clone(), Watched::new(route, now));
        self.schedule(&mut book, &id, due);
        true
    }

    /// How many jobs are followed.
    pub(super) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// What a poll told about a job, whoever asked: its next one is counted from now.
    pub(super) fn hear(&self, task_id: &str, word: Word, route: Route) {
        let mut book = self.lock();
        let Some(job) = book.jobs.get_mut(task_id) else {
            return;
        };
        job.hear(word, route, Instant::now());
        // While it is asked for, only the one who asks puts it back.
        if job.due.is_some() {
            self.postpone(&mut book, task_id);
        }
    }

    /// Puts a job back that was asked for.
    pub(super) fn put_back(&self, task_id: &str) {
        self.postpone(&mut self.lock(), task_id);
    }

    fn postpone(&self, book: &mut Book, task_id: &str) {
        let Some((id, job)) = book.jobs.get_key_value(task_id) else {
            return;
        };
        let now = Instant::now();
        let rhythm = self.rhythm.load();
        let wait = job.wait(&rhythm.pace, rhythm.deadline, (now, (task_id, now)));
        self.schedule(book, &id.clone(), after(now, wait));
    }

    /// The job is over, or no longer ours.
    pub(super) fn forget(&self, task_id: &str) {
        let mut book = self.lock();
        if let Some((id, job)) = book.jobs.remove_entry(task_id)
            && let Some(due) = job.due
        {
            book.queue.remove(&(due, id));
        }
    }

    /// What is to be done now.
    pub(super) fn next(&self) -> Next {
        let now = Instant::now();
        let mut book = self.lock();
        let Some((due, _)) = book.queue.first() else {
            return Next::Idle;
        };
        let start = book.free_at.map_or(*due, |free_at| free_at.max(*due));
        if start > now {
            return Next::Wait(start);
        }
        let gap = self.rhythm.load().pace.gap(book.jobs.len());
        // Timers are no finer than a millisecond: what they are late by is made up for, little more.
        let from = now.checked_sub(Duration::from_millis(20)).unwrap_or(now);
        book.free_at = Some(after(start.max(from), gap));
        let Some((_, id)) = book.queue.pop_first() else {
            return Next::Idle;
        };
        let Some(job) = book.jobs.get_mut(&id) else {
            return Next::Idle;
        };
        job.due = None;
        let route = job.route();
        Next::Visit(id, route)
    }

    /// Waits until [`next`](Self::next) may say something sooner than it did.
    pub(super) async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// Whether a job is to be given up for its silence.
    pub(super) fn is_given_up(&self, task_id: &str) -> bool {
        let deadline = self.rhythm.load().deadline;
        let book = self.lock();
        let job = book.jobs.get(task_id);
        job.is_some_and(|job| job.is_given_up(deadline, Instant::now()))
    }

    /// Whether every poll of this job is refused.
    pub(super) fn is_shut_out(&self, task_id: &str) -> bool {
        self.lock()
            .jobs
            .get(task_id)
            .is_some_and(Watched::is_shut_out)
    }

    /// The path on which a job is asked for, if it is followed.
    pub(super) fn route(&self, task_id: &str) -> Option<Route> {
        self.lock().jobs.get(task_id).map(Watched::route)
    }

    /// What is known of a job that is followed.
    pub(super) fn prospect(&self, task_id: &str) -> Option<Prospect> {
        let book = self.lock();
        let job = book.jobs.get(task_id)?;
        let next_poll = job
            .due
            .map(|due| due.saturating_duration_since(Instant::now()));
        Some(Prospect {
            progress: job.sign.and_then(|Sign { progress, .. }| progress),
            next_poll: next_poll.unwrap_or_default(),
        })
    }

    fn schedule(&self, book: &mut Book, id: &Arc<str>, due: Instant) {
        let Some(job) = book.jobs.get_mut(id) else {
            return;
        };
        if let Some(before) = job.due.replace(due) {
            book.queue.remove(&(before, id.clone()));
        }
        book.queue.insert((due, id.clone()));
        if book.queue.first().is_some_and(|(_, first)| first == id) {
            self.sooner.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Later by `wait`; by a day, when that is beyond what a clock can say.
fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait)
        .unwrap_or_else(|| now + Duration::from_hours(24))
}

#[cfg(test)]
mod tests;
