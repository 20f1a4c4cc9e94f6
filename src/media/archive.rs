//! Keeps the files behind the links of results.
//!
//! A link is wanted in the same durable write as the answer that shows it, and is fetched by one task
//! of the proxy's own, a few at a time, whoever waits for it or has left. What is wanted still at a
//! start is taken up again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::fetch::Fetcher;
use super::life::{self, Life};
use super::queue::{Due, Queue};
use super::way::Way;
use crate::clock::Clock;
use crate::config::{self, BaseUrl, Live};
use crate::egress::{Egress, Patience};
use crate::store::{BlobHash, Change, Entry, Medium, MediumState, Record, Shelf, Store};
use crate::upstream::Upstream;

/// How long the host of a file may take.
pub const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    head: Duration::from_mins(1),
    idle: Duration::from_mins(1),
};

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
    /// What time it is.
    pub clock: Clock,
    /// Who hears when all files of a job are there.
    pub listener: Option<Arc<dyn Settled>>,
}

/// How files are fetched, as a configuration wants it.
pub struct Rules {
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
}

/// The rules, made ready for use.
pub(super) struct Order {
    pub(super) settings: config::Media,
    base: BaseUrl,
    pub(super) fetcher: Fetcher,
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
    pub(super) shelf: Shelf,
    pub(super) clock: Clock,
    order: Live<Order>,
    pub(super) listener: Option<Arc<dyn Settled>>,
    pub(super) queue: Mutex<Queue>,
    /// Something has come into the queue.
    pub(super) changed: Notify,
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Order {
    fn of(rules: Rules, shelf: &Shelf) -> Self {
        let Rules {
            upstream,
            egress,
            base,
            settings,
            min_free,
        } = rules;
        let fetcher = Fetcher {
            way: Way::new(upstream, egress, &base),
            shelf: shelf.clone(),
            max_file: settings.max_file,
            min_free,
        };
        Self {
            settings,
            base,
            fetcher,
        }
    }
}

impl Archive {
    /// Nothing is fetched before [`run`](Self::run).
    pub fn new(means: Means, rules: Rules) -> Arc<Self> {
        let Means {
            shelf,
            clock,
            listener,
        } = means;
        Arc::new(Self {
            order: Live::new(Order::of(rules, &shelf)),
            shelf,
            clock,
            listener,
            queue: Mutex::default(),
            changed: Notify::new(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// Fetches by other rules from the next file on.
    pub fn reload(&self, rules: Rules) {
        self.order.set(Order::of(rules, &self.shelf));
        self.changed.notify_one();
    }

    pub(super) fn order(&self) -> Arc<Order> {
        self.order.load()
    }

    /// Whether the files behind links are kept.
    pub fn is_on(&self) -> bool {
        self.order().settings.archive
    }

    /// After this long an upstream link that is not archived counts as dead.
    pub fn link_lifetime(&self) -> Duration {
        self.order().settings.link_lifetime
    }

    /// A link to what upstream serves at `path`, which begins with a slash, below its base.
    pub fn own_link(&self, path: &str) -> String {
        format!("{}{path}", self.order().base)
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

    /// How many files are still to be fetched.
    pub fn waiting(&self) -> usize {
        self.queue().len()
    }

    /// Fetches what a record wants, which is durable by now. Does not block.
    pub fn fetch_for(&self, record: &Record) {
        let mut wanted = wanted(record).peekable();
        if wanted.peek().is_none() {
            return;
        }
        let mut queue = self.queue();
        for due in wanted {
            queue.add(due);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// A kept file turned out to be missing or damaged: it is fetched again, and until then its links
    /// lead to where they came from.
    pub async fn doubt(&self, hash: BlobHash) {
        let state = if self.is_on() {
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
        life::of(&self.order().fetcher.way, link).await
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The links of a record whose files are to be fetched.
pub(super) fn wanted(record: &Record) -> impl Iterator<Item = Due> {
    let wants = |medium: &&Medium| medium.state == MediumState::Wanted;
    record.media.iter().filter(wants).map(|medium| Due {
        key: record.key,
        task: record.task.as_ref().map(|task| task.id.clone()),
        link: medium.link.as_str().into(),
        attempts: 0,
        partial: None,
    })
}
