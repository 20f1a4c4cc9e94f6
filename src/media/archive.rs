//! Keeps the files behind the links of results.
//!
//! A link is wanted in the same durable write as the answer that shows it, and is fetched by one task
//! of the proxy's own, a few at a time, whoever waits for it or has left. What is wanted still at a
//! start is taken up again.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fetch::{Fetched, Fetcher, Missed};
use super::life::{self, Life};
use super::medium;
use super::queue::{Due, Queue, pause};
use super::way::Way;
use crate::clock::Clock;
use crate::config::{self, BaseUrl};
use crate::egress::{Destination, Egress, Patience};
use crate::generation::Fingerprint;
use crate::store::{
    BlobHash, Change, Entry, MediumState, Payload, Record, Shelf, Store, StoreError,
};
use crate::upstream::Upstream;

/// How long the host of a file may take.
pub const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    head: Duration::from_mins(1),
    idle: Duration::from_mins(1),
};

/// Files that are fetched at once.
const AT_ONCE: usize = 4;

/// When something is tried again that the store could not do.
const AFTER_A_BAD_DISK: Duration = Duration::from_mins(1);

/// Somebody who wants to know when nothing of a job is wanted any longer.
pub trait Settled: Send + Sync + 'static {
    /// Each file of the job `task_id` is kept or lost. Blocks, for as long as a small durable write
    /// takes, in the turn of the job's generation.
    fn settled(&self, task_id: &str);
}

/// What an archive is made of.
pub struct Means {
    /// Where files are kept.
    pub shelf: Shelf,
    /// The way to links of upstream's own.
    pub upstream: Arc<Upstream>,
    /// The way to all others.
    pub egress: Egress,
    /// Where upstream is.
    pub base: BaseUrl,
    /// What is fetched, how large, for how long.
    pub settings: config::Media,
    /// The disk that is left free, in bytes.
    pub min_free: u64,
    /// What time it is.
    pub clock: Clock,
    /// Who hears when all files of a job are there.
    pub listener: Option<Arc<dyn Settled>>,
}

/// What was fetched since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that were kept.
    pub files: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
    /// Files that cannot be had any longer.
    pub lost: u64,
}

/// Fetches what is wanted.
pub struct Archive {
    shelf: Shelf,
    clock: Clock,
    settings: config::Media,
    base: BaseUrl,
    way: Arc<Way>,
    fetcher: Fetcher,
    listener: Option<Arc<dyn Settled>>,
    queue: Mutex<Queue>,
    /// Something has come into the queue.
    changed: Notify,
    files: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
}

impl Archive {
    /// Nothing is fetched before [`run`](Self::run).
    pub fn new(means: Means) -> Arc<Self> {
        let Means {
            shelf,
            upstream,
            egress,
            base,
            settings,
            min_free,
            clock,
            listener,
        } = means;
        let way = Arc::new(Way::new(upstream, egress, &base));
        let fetcher = Fetcher {
            way: way.clone(),
            shelf: shelf.clone(),
            max_file: settings.max_file,
            min_free,
        };
        Arc::new(Self {
            shelf,
            clock,
            settings,
            base,
            way,
            fetcher,
            listener,
            queue: Mutex::default(),
            changed: Notify::new(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// What is wanted of the files behind links, in figures and rules.
    pub fn settings(&self) -> &config::Media {
        &self.settings
    }

    /// A link to what upstream serves at `path`, which begins with a slash, below its base.
    pub fn own_link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// What was fetched since the start.
    pub fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            files: read(&self.files),
            bytes: read(&self.bytes),
            lost: read(&self.lost),
        }
    }

    /// Fetches what a record wants, which is durable by now. Does not block.
    pub fn fetch_for(&self, record: &Record) {
        let mut queue = self.queue();
        for due in wanted(record) {
            queue.add(due);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// A kept file turned out to be missing or damaged: it is fetched again, and until then its links
    /// lead to where they came from.
    pub async fn doubt(&self, hash: BlobHash) {
        let state = if self.settings.archive {
            MediumState::Wanted
        } else {
            let why = "its copy was damaged".to_owned();
            MediumState::Lost { why }
        };
        let needed = move |store: &dyn Store| Ok(store.needed_by(&hash));
        for key in self.shelf.blocking(needed).await.unwrap_or_default() {
            let state = state.clone();
            let decide = move |entry: &Entry| {
                let mut entry = entry.clone();
                let is_it = |state: &MediumState| match state {
                    MediumState::Kept { hash: kept, .. } => *kept == hash,
                    MediumState::Wanted | MediumState::Lost { .. } => false,
                };
                let media = entry.record.media.iter_mut();
                media
                    .filter(|medium| is_it(&medium.state))
                    .for_each(|medium| medium.state = state.clone());
                Change::Put(Box::new(entry))
            };
            match self.shelf.change(key, decide).await {
                Ok(Some(entry)) => self.fetch_for(&entry.record),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a damaged file is not fetched again"),
            }
        }
    }

    /// Whether a link works; asks for one byte of what it leads to.
    pub async fn life_of(&self, link: &str) -> Life {
        life::of(&self.way, link).await
    }

    /// Fetches files until `stop`; what is wanted then is taken up by the next process.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if !self.settings.archive {
            return self.take_up(stop).await;
        }
        let mut fetches = FuturesUnordered::new();
        let mut taking_up = Box::pin(self.take_up(stop.clone()));
        let mut taken_up = false;
        loop {
            while fetches.len() < AT_ONCE {
                let Some(due) = self.queue().take() else {
                    break;
                };
                fetches.push(self.attend(due));
            }
            let next = self.queue().next_at().filter(|_| fetches.len() < AT_ONCE);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
                () = until(next) => {}
                () = &mut taking_up, if !taken_up => taken_up = true,
                Some(()) = fetches.next() => {}
            }
        }
    }

    /// Takes up what earlier processes have left.
    async fn take_up(&self, stop: CancellationToken) {
        let found = self.shelf.blocking(move |store| {
            let mut found = Vec::new();
            store.open_work(&mut |record| {
                found.extend(wanted(record));
                if stop.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            Ok(found)
        });
        match found.await {
            // What nobody fetches would never be evicted.
            Ok(found) if !self.settings.archive => {
                for due in found {
                    self.lose(&due, "media.archive is off".to_owned()).await;
                }
            }
            Ok(found) => {
                if !found.is_empty() {
                    tracing::info!(
                        files = found.len(),
                        "files of results are still to be fetched"
                    );
                }
                let mut queue = self.queue();
                for due in found {
                    queue.add(due);
                }
            }
            Err(error) => {
                tracing::error!(%error, "files that were wanted before this start are not fetched until the next one");
            }
        }
    }

    /// Tries once to fetch a file, and notes what came of it.
    async fn attend(&self, mut due: Due) {
        let (was, link) = (due.key, due.link.clone());
        match self.locate(&due).await {
            Ok(Some(key)) => due.key = key,
            // Forgotten, or settled by somebody else.
            Ok(None) => return self.queue().forget(was, &link),
            Err(error) => {
                tracing::warn!(%error, "a file is not fetched now");
                return self.queue().put_back(due, AFTER_A_BAD_DISK);
            }
        }
        due.attempts = due.attempts.saturating_add(1);
        let fetched = self.fetcher.fetch(&link, &mut due.partial).await;
        let later = match fetched {
            Ok(fetched) => self.keep(&due, fetched).await,
            Err(Missed::Never(why)) => self.lose(&due, why).await,
            Err(Missed::Again(why, asked)) => self.miss(&due, why, asked).await,
        };
        // Its key may have changed, and it is known by the one it came with.
        due.key = was;
        match later {
            Some(later) => self.queue().put_back(due, later),
            None => self.queue().forget(was, &link),
        }
    }

    /// Where the record is that wants a link; `None` when none does any longer.
    async fn locate(&self, due: &Due) -> Result<Option<Fingerprint>, StoreError> {
        let key = match &due.task {
            Some(task) => self.shelf.find_task(task.clone()).await?,
            None => Some(due.key),
        };
        let Some(key) = key else { return Ok(None) };
        let entry = self.shelf.get(key).await?;
        let wants = entry.is_some_and(|entry| {
            wanted(&entry.record).any(|other| other.link == due.link && other.task == due.task)
        });
        Ok(wants.then_some(key))
    }

    async fn keep(&self, due: &Due, fetched: Fetched) -> Option<Duration> {
        let Fetched { payload, kind } = fetched;
        let Payload::Blob { hash, len, hold } = payload else {
            return None;
        };
        let state = MediumState::Kept {
            hash,
            len,
            content_type: kind.content_type.to_owned(),
            extension: kind.extension.to_owned(),
        };
        let noted = self.note(due, state).await;
        // Until here no record spoke for the file.
        drop(hold);
        if noted.is_none() {
            self.files.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len, Ordering::Relaxed);
            let (key, from) = (due.key.short(), origin(&due.link));
            tracing::info!(
                key,
                from,
                bytes = len,
                kind = kind.extension,
                "a file is kept"
            );
        }
        noted
    }

    async fn lose(&self, due: &Due, why: String) -> Option<Duration> {
        let (key, from) = (due.key.short(), origin(&due.link));
        tracing::warn!(key, from, why, "a file of a result is not kept");
        let noted = self.note(due, MediumState::Lost { why }).await;
        if noted.is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        noted
    }

    async fn miss(&self, due: &Due, why: String, asked: Option<Duration>) -> Option<Duration> {
        let entry = self.shelf.get(due.key).await.ok().flatten();
        let (now, lifetime) = (self.clock.now(), self.settings.link_lifetime);
        if entry.is_some_and(|entry| medium::is_over(&entry.record, now, lifetime)) {
            let why = format!("{why}; the link has outlived media.link_lifetime");
            return self.lose(due, why).await;
        }
        let later = pause(due, asked);
        let (key, from) = (due.key.short(), origin(&due.link));
        tracing::info!(
            key,
            from,
            why,
            later_s = later.as_secs(),
            "a file is fetched again later"
        );
        Some(later)
    }

    /// Makes a link's state durable; when that fails, says when to try all of it again.
    async fn note(&self, due: &Due, state: MediumState) -> Option<Duration> {
        let (link, task) = (due.link.clone(), due.task.clone());
        let decide = move |entry: &Entry| {
            let mut entry = entry.clone();
            let id = entry.record.task.as_ref().map(|task| task.id.as_str());
            if id != task.as_deref() {
                return Ok(Change::Nothing);
            }
            let media = &mut entry.record.media;
            match media.iter_mut().find(|medium| *medium.link == *link) {
                Some(medium) => medium.state = state,
                None => return Ok(Change::Nothing),
            }
            Ok(Change::Put(Box::new(entry)))
        };
        let listener = self.listener.clone();
        let tell = move |entry: &Entry| {
            if wanted(&entry.record).next().is_none()
                && let (Some(listener), Some(task)) = (listener, &entry.record.task)
            {
                listener.settled(&task.id);
            }
            Ok(())
        };
        match self.shelf.change_and(due.key, decide, tell).await {
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "what became of a file could not be noted");
                Some(AFTER_A_BAD_DISK)
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The links of a record whose files are to be fetched.
fn wanted(record: &Record) -> impl Iterator<Item = Due> {
    let wants = |medium: &&crate::store::Medium| medium.state == MediumState::Wanted;
    record.media.iter().filter(wants).map(|medium| Due {
        key: record.key,
        task: record.task.as_ref().map(|task| task.id.clone()),
        link: medium.link.as_str().into(),
        attempts: 0,
        partial: None,
    })
}

/// SECURITY: what a log shows of a link; the rest of it may be a permission.
fn origin(link: &str) -> String {
    Destination::parse(link).map_or_else(|_| "?".to_owned(), |to| to.to_string())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}
