//! Keeps what is kept within its bounds, in the background.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::evict::{Evicted, Pass, Rules, Tally, settled_bytes};
use super::{Shelf, Store, StoreError};
use crate::clock::Clock;

/// How often times of use are written, and room is looked for where there was none.
const TICK: Duration = Duration::from_secs(30);
/// How many ticks lie between two looks at the age of everything.
const TICKS_BETWEEN_LOOKS: u64 = 20;
/// How old a blob must be that no generation has ever needed, before it is taken for a left-over.
pub(super) const LEFT_OVER: SignedDuration = SignedDuration::from_hours(24);

/// Evicts by age and for room: one pass at a time, when something was kept and now and then.
#[derive(Debug)]
pub struct Keeper {
    shelf: Shelf,
    clock: Clock,
    rules: Mutex<Rules>,
    tally: Tally,
    /// There was no room even without everything that may go.
    full: AtomicBool,
    /// Everything that a start has left for later was looked at.
    looked: AtomicBool,
}

impl Keeper {
    /// A keeper of what is on `shelf`. It does nothing before [`run`](Self::run).
    pub fn new(shelf: Shelf, clock: Clock, rules: Rules) -> Self {
        shelf.set_room(rules.max_size());
        Self {
            shelf,
            clock,
            rules: Mutex::new(rules),
            tally: Tally::default(),
            full: AtomicBool::new(false),
            looked: AtomicBool::new(false),
        }
    }

    /// Goes by other rules from the next pass on.
    pub fn set_rules(&self, rules: Rules) {
        self.shelf.set_room(rules.max_size());
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
        self.shelf.wake_keeper();
    }

    /// What was evicted since start.
    pub fn evicted(&self) -> Evicted {
        self.tally.read()
    }

    /// Whether nothing is evicted yet, since not everything was looked at that is kept.
    pub fn is_looking(&self) -> bool {
        !self.looked.load(Ordering::Relaxed)
    }

    /// Looks at everything that a start has left for later, and then keeps the bounds until `stop`. A
    /// pass that is under way then ends after the generation that it is at.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.survey(&stop).await.is_break() {
            return;
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count: u64 = 0;
        loop {
            let at = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    count += 1;
                    if (count - 1).is_multiple_of(TICKS_BETWEEN_LOOKS) {
                        Occasion::Look
                    } else {
                        Occasion::Tick
                    }
                }
                () = self.shelf.kept_something() => Occasion::Kept,
            };
            if at != Occasion::Kept {
                // An index that was opened anew may have brought something.
                self.tell();
            } else if !self.lacks_room() {
                continue;
            }
            let (keeper, over) = (self.clone(), stop.clone());
            let pass = self.shelf.blocking(move |store| {
                let is_over = move || over.is_cancelled();
                keeper.pass(store, at, &is_over)
            });
            if let Err(error) = pass.await {
                tracing::warn!(%error, "could not evict: trying again later");
            }
        }
    }

    /// MONEY: nothing goes before it is known what everything needs.
    async fn survey(&self, stop: &CancellationToken) -> ControlFlow<()> {
        loop {
            let over = stop.clone();
            let look = self
                .shelf
                .blocking(move |store| store.survey(&|| over.is_cancelled()));
            let looked = look.await;
            self.tell();
            match looked {
                Ok(true) => {
                    self.looked.store(true, Ordering::Relaxed);
                    return ControlFlow::Continue(());
                }
                Ok(false) => return ControlFlow::Break(()),
                Err(error) => tracing::error!(
                    %error,
                    "not everything that is kept can be looked at: nothing is evicted before; trying again"
                ),
            }
            let pause = tokio::time::sleep(TICK);
            if stop.run_until_cancelled(pause).await.is_none() {
                return ControlFlow::Break(());
            }
        }
    }

    /// Tells what was found of which nobody had known.
    fn tell(&self) {
        let found = self.shelf.store().surveyed();
        if found.found_open {
            self.shelf.found_open();
        }
        for file in &found.damaged {
            tracing::error!(file = %file.display(), "damaged; what it held is not served");
        }
        if found.generations > 0 {
            tracing::debug!(
                generations = found.generations,
                reindexed = found.reindexed,
                "looked at what is kept"
            );
        }
    }

    /// Whether a pass could make room.
    fn lacks_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
            && settled_bytes(self.shelf.store()) > self.rules().max_size()
    }

    fn pass(
        &self,
        store: &dyn Store,
        at: Occasion,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), StoreError> {
        let rules = self.rules();
        let now = self.clock.now();
        let pass = Pass {
            store,
            shelf: &self.shelf,
            rules: &rules,
            now,
            tally: &self.tally,
            is_over,
        };
        if at != Occasion::Kept {
            store.write_used();
        }
        if at == Occasion::Look {
            let freed = store.free_blobs(now.saturating_sub(LEFT_OVER).unwrap_or(now));
            match freed {
                Ok(freed) if freed.blobs > 0 => {
                    tracing::info!(freed.blobs, freed.bytes, "removed blobs that nobody needs");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "blobs that nobody needs stay for now"),
            }
            if let Err(error) = pass.expired() {
                tracing::warn!(%error, "nothing that has expired could be evicted");
            }
        }
        if store.kept_bytes() <= rules.max_size() {
            self.full.store(false, Ordering::Relaxed);
            return Ok(());
        }
        let room = pass.for_room().inspect_err(|_| {
            // Not with every answer that is kept, but at the next tick.
            self.full.store(true, Ordering::Relaxed);
        })?;
        let full = !room && !is_over();
        if full && !self.full.swap(full, Ordering::Relaxed) {
            let (kept, max_size) = (store.kept_bytes(), rules.max_size());
            tracing::warn!(
                kept,
                max_size,
                "more is kept than cache.max_size allows, and none of it may be evicted"
            );
        } else {
            self.full.store(full, Ordering::Relaxed);
        }
        Ok(())
    }

    fn rules(&self) -> Rules {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }
}

/// Why a pass is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// Something was kept, and there is no room for it.
    Kept,
    /// Some time has gone by.
    Tick,
    /// It is time to look at the age of everything.
    Look,
}
