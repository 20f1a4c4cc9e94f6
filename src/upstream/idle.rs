//! Connections of HTTP/1.1 that nobody uses at the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::lane::Lane;

/// How long a connection may lie idle.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// How often idle ones are looked at: upstream may have closed some.
const LOOK: Duration = Duration::from_secs(5);

/// Idle connections of HTTP/1.1, as many as there were requests at once.
#[derive(Clone, Default)]
pub(super) struct IdleLanes(Arc<Mutex<Resting>>);

#[derive(Default)]
struct Resting {
    lanes: Vec<Lane>,
    /// Somebody looks after them.
    watched: bool,
}

impl IdleLanes {
    /// Keeps a connection that can take a request for the next one.
    pub(super) fn put(&self, mut lane: Lane) {
        lane.rest();
        let mut resting = self.resting();
        resting.lanes.push(lane);
        let watched = std::mem::replace(&mut resting.watched, true);
        drop(resting);
        if !watched {
            tokio::spawn(look_after(Arc::downgrade(&self.0)));
        }
    }

    /// One that can take a request. Of those whose socket this thread hears of first the one that
    /// was used last, or else of all.
    pub(super) fn take(&self) -> Option<Lane> {
        let here = thread::current().id();
        loop {
            let mut lane = {
                let lanes = &mut self.resting().lanes;
                let home = lanes.iter().rposition(|lane| lane.home() == here);
                lanes.remove(home.or(lanes.len().checked_sub(1))?)
            };
            if lane.resting() < IDLE && lane.is_free() {
                return Some(lane);
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.resting().lanes.len()
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what has lain for too long, or was closed by upstream, until none is left.
async fn look_after(resting: Weak<Mutex<Resting>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(idle) = resting.upgrade().map(IdleLanes) else {
            return;
        };
        // Those that were used meanwhile were looked at then; and nobody waits for the look at the others.
        let long = {
            let lanes = &mut idle.resting().lanes;
            let recent = lanes.partition_point(|lane| lane.resting() >= LOOK);
            lanes.drain(..recent).collect::<Vec<_>>()
        };
        let still = long.into_iter().filter_map(|mut lane| {
            let stays = lane.resting() < IDLE && lane.is_free();
            stays.then_some(lane)
        });
        let still: Vec<_> = still.collect();
        let watched = {
            let mut resting = idle.resting();
            resting.lanes.splice(..0, still);
            resting.watched = !resting.lanes.is_empty();
            resting.watched
        };
        if !watched {
            return;
        }
    }
}
