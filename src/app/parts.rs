//! What the program is made of, part by part.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::opening::{Tell, open, open_ledger, take_up};
use super::{Secrets, StartError, reload};
use crate::books::Books;
use crate::callbacks::{self, Callbacks};
use crate::clock::Clock;
use crate::config::Config;
use crate::jobs::Ends;
use crate::ledger::{Ledger, Spent};
use crate::limits::Limits;
use crate::media::{self, Archive};
use crate::metrics::Metrics;
use crate::proxy::{Means, Proxy};
use crate::store::{DiskStore, Keeper, OpenReport, Rules, Shelf};
use crate::upstream::{SetupError, Upstream};

/// What is kept, and what keeps it within its bounds.
pub(super) struct Kept {
    pub(super) store: Arc<DiskStore>,
    pub(super) shelf: Shelf,
    pub(super) keeper: Arc<Keeper>,
    pub(super) ledger: Arc<Ledger>,
}

impl Kept {
    /// Opens the data directory, and says what was found there; `tell` hears of what takes long.
    pub(super) async fn open(
        config: &Config,
        clock: &Clock,
        tell: Tell,
    ) -> Result<(Self, OpenReport, Spent), StartError> {
        let dir = &config.data_dir;
        let (store, report) = open(dir.clone(), clock.clone(), tell).await?;
        let store = Arc::new(store);
        let (ledger, spent) = open_ledger(dir.clone(), clock.clone()).await?;
        let shelf = Shelf::new(store.clone());
        let rules = Rules::of(&config.cache);
        let keeper = Arc::new(Keeper::new(shelf.clone(), clock.clone(), rules));
        let kept = Self {
            store,
            shelf,
            keeper,
            ledger,
        };
        Ok((kept, report, spent))
    }
}

/// Who deals with addresses that others name.
pub(super) struct Outside {
    pub(super) callbacks: Arc<Callbacks>,
    pub(super) archive: Arc<Archive>,
}

impl Outside {
    pub(super) fn new(
        (config, secrets): (&Config, &Secrets),
        shelf: &Shelf,
        upstream: &Arc<Upstream>,
        clock: &Clock,
    ) -> Result<Self, SetupError> {
        let callbacks = callbacks::of(reload::calls(config, secrets)?, shelf, clock);
        let means = media::Means {
            shelf: shelf.clone(),
            clock: clock.clone(),
            listener: Some(callbacks.clone()),
        };
        let archive = Archive::new(means, reload::fetching(config, upstream)?);
        Ok(Self { callbacks, archive })
    }
}

/// What clients may use, and what it costs.
pub(super) struct Money {
    pub(super) limits: Arc<Limits>,
    pub(super) books: Arc<Books>,
    /// Whether the lines are written that an earlier process did not come to write.
    pub(super) booked: bool,
}

impl Money {
    pub(super) async fn take_up(
        config: &Config,
        kept: &Kept,
        spent: Spent,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let limits = Arc::new(Limits::new(config));
        let books = Books::new(config, (kept.ledger.clone(), limits.clone()), clock.clone());
        let booked = take_up(&books, kept.store.clone(), spent).await?;
        Ok(Self {
            limits,
            books,
            booked,
        })
    }
}

/// The proxy that all of them make.
pub(super) fn proxy(
    (config, upstream): (Arc<Config>, Arc<Upstream>),
    (kept, outside, money): (&Kept, &Outside, &Money),
    (metrics, tasks): (&Metrics, &TaskTracker),
    clock: Clock,
) -> Arc<Proxy> {
    // The books first: what follows may do something that only a booked end may cause.
    let ends: Vec<Arc<dyn Ends>> = vec![money.books.clone(), outside.callbacks.clone()];
    Proxy::new(Means {
        config,
        limits: money.limits.clone(),
        books: money.books.clone(),
        shelf: kept.shelf.clone(),
        upstream,
        clock,
        tasks: tasks.clone(),
        ends,
        callbacks: outside.callbacks.clone(),
        archive: outside.archive.clone(),
        metrics: metrics.clone(),
    })
}
