//! Connections of HTTP/1.1 that nobody uses at the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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
    /// Keeps a connection for the next request, if it can take one.
    pub(super) fn put(&self, mut lane: Lane) {
        if !lane.is_free() {
            return;
        }
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
        loop {
            let mut lane = {
                let lanes = &mut self.resting().lanes;
                let home = lanes.iter().rposition(Lane::is_home);
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
        let mut over = Vec::new();
        let mut resting = idle.resting();
        for mut lane in std::mem::take(&mut resting.lanes) {
            if lane.resting() < IDLE && lane.is_free() {
                resting.lanes.push(lane);
            } else {
                over.push(lane);
            }
        }
        resting.watched = !resting.lanes.is_empty();
        let watched = resting.watched;
        drop(resting);
        if !watched {
            return;
        }
    }
}
