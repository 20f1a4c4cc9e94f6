//! Who may be connected: so many in all, and so many from one address.
//!
//! One address that is not this machine gets a quarter of all places, so that it cannot keep
//! everybody else out; it is still a thousand of 4096, for a team behind one address. Connections of
//! this machine have no share: its users can take the proxy down in simpler ways, and a reverse
//! proxy in front of us brings everybody's.
//!
//! When all places are taken, whoever comes takes the one of a connection that has not said what it
//! wants for the longest time, or else of one that is idle; where all are busy it waits.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::tally::{Rest, Tally};

/// How often the one who waits looks for a place that could be taken.
const LOOK: Duration = Duration::from_millis(50);

/// The smallest share of an address, unless there are fewer places than that.
const SMALLEST_SHARE: usize = 8;

/// All places.
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// How many places there shall be.
    all: usize,
    /// So many more are taken: each goes with its connection.
    surplus: usize,
    /// The number of the next connection.
    next: u64,
    /// By number, so in the order in which they came.
    connections: BTreeMap<u64, Arc<Tally>>,
    /// How many there are of each address that has a share.
    of: HashMap<IpAddr, usize>,
}

/// A connection's place. Dropped, it is free.
pub(super) struct Seat {
    places: Arc<Places>,
    number: u64,
    address: Option<IpAddr>,
    permit: Option<OwnedSemaphorePermit>,
}

/// Counted out again when its connection does not get a place after all.
struct Counted<'a> {
    places: &'a Places,
    address: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(max_connections: usize) -> Arc<Self> {
        let all = max_connections.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(all)),
            taken: Mutex::new(Taken {
                all,
                ..Taken::default()
            }),
        })
    }

    /// Has another number of places from now on. Who has one keeps it: where there are to be fewer
    /// than are taken, the next ones to leave are not followed by anybody.
    pub(super) fn resize(&self, max_connections: usize) {
        let all = max_connections.min(Semaphore::MAX_PERMITS);
        let mut taken = self.taken();
        let more = all.saturating_sub(taken.all);
        let kept = more.min(taken.surplus);
        taken.surplus -= kept;
        self.free.add_permits(more - kept);
        let fewer = taken.all.saturating_sub(all);
        taken.surplus += fewer - self.free.forget_permits(fewer);
        taken.all = all;
    }

    /// A place for a connection, once there is one; `None` when its address has its share.
    ///
    /// # Cancel safety
    /// Dropped early, it leaves everything as it was, but for a connection that was sent away.
    pub(super) async fn seat(
        self: &Arc<Self>,
        peer: SocketAddr,
        tally: &Arc<Tally>,
    ) -> Option<Seat> {
        let counted = self.count_in(peer)?;
        let permit = loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                break permit;
            }
            self.make_room();
            let freed = self.free.clone().acquire_owned();
            if let Ok(permit) = tokio::time::timeout(LOOK, freed).await {
                break permit.ok()?;
            }
        };
        let address = counted.keep();
        let mut taken = self.taken();
        let number = taken.next;
        taken.next += 1;
        taken.connections.insert(number, tally.clone());
        Some(Seat {
            places: self.clone(),
            number,
            address,
            permit: Some(permit),
        })
    }

    /// Sends away who is here now, each once it has nothing that is being read or answered. A client
    /// of HTTP/2 need not notice that it was asked to leave: one that waits to ask again reads nothing.
    pub(super) async fn dismiss(&self) {
        let next = self.taken().next;
        loop {
            tokio::time::sleep(LOOK).await;
            for tally in self
                .taken()
                .connections
                .range(..next)
                .map(|(_, tally)| tally)
            {
                if tally.could_go(Rest::Unspoken) || tally.could_go(Rest::Idle) {
                    tally.shed();
                }
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_in(&self, peer: SocketAddr) -> Option<Counted<'_>> {
        let address = sharer(peer.ip());
        if let Some(address) = address {
            let mut taken = self.taken();
            let share = (taken.all / 4).max(SMALLEST_SHARE);
            let count = taken.of.entry(address).or_default();
            if *count >= share {
                return None;
            }
            *count += 1;
        }
        Some(Counted {
            places: self,
            address,
        })
    }

    fn count_out(&self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        let mut taken = self.taken();
        if let Some(count) = taken.of.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.of.remove(&address);
            }
        }
    }

    /// Sends one away that nobody would miss.
    fn make_room(&self) {
        let taken = self.taken();
        let one = [Rest::Unspoken, Rest::Idle].into_iter().find_map(|rest| {
            let mut waiting = taken.connections.values();
            waiting.find(|tally| tally.could_go(rest))
        });
        if let Some(tally) = one {
            tally.shed();
        }
    }
}

impl Counted<'_> {
    /// Leaves it counted, for the [`Seat`] to count out.
    fn keep(mut self) -> Option<IpAddr> {
        self.address.take()
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.places.count_out(self.address);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.count_out(self.address);
        let mut taken = self.places.taken();
        taken.connections.remove(&self.number);
        if taken.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            taken.surplus -= 1;
            permit.forget();
        }
    }
}

/// What counts as one address: of IPv6 the network of one site, which has 2⁶⁴ to choose from. `None`:
/// this machine.
fn sharer(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(address) if address.is_loopback() => None,
        IpAddr::V6(address) if address.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let site = u128::from(address) & !u128::from(u64::MAX);
            Some(IpAddr::V6(site.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    fn resting(rest: Rest) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        tally.rest(rest);
        tally
    }

    #[tokio::test]
    async fn an_address_has_a_quarter_and_this_machine_all() {
        let places = Places::new(100);
        let tally = resting(Rest::Busy);
        let mut seats = Vec::new();
        for (address, share) in [("192.0.2.1", 25), ("2001:db8::1", 25), ("::1", 30)] {
            for nth in 0..30 {
                let seat = places.seat(from(address), &tally).await;
                assert_eq!(seat.is_some(), nth < share, "{address} {nth}");
                seats.extend(seat);
            }
        }
        for (address, full) in [
            ("192.0.2.2", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8::ffff:0:0:1", true),
            ("2001:db8:0:1::1", false),
        ] {
            let seat = places.seat(from(address), &tally).await;
            assert_eq!(seat.is_none(), full, "{address}");
        }
        seats.clear();
        assert!(places.seat(from("192.0.2.1"), &tally).await.is_some());
        assert!(places.taken().of.is_empty() && places.taken().connections.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_added_at_once_and_taken_away_as_they_are_left() {
        let places = Places::new(3);
        let tally = resting(Rest::Busy);
        let seat = async || {
            let asked = places.seat(from("127.0.0.1"), &tally);
            tokio::time::timeout(2 * LOOK, asked).await.ok().flatten()
        };
        let mut seats = Vec::new();
        for (all, seated) in [(3, 3), (5, 5), (2, 5), (4, 5)] {
            places.resize(all);
            seats.extend(seat().await);
            seats.extend(seat().await);
            seats.extend(seat().await);
            assert_eq!(seats.len(), seated, "{all} places");
        }
        seats.pop();
        assert!(seat().await.is_none(), "it was one too many");
        seats.pop();
        let next = seat().await;
        assert!(next.is_some(), "four of four");
        assert!(seat().await.is_none());
        drop((next, seats));
        assert_eq!(places.free.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_not_spoken_goes_first_then_the_idle_and_never_the_busy() {
        let places = Places::new(4);
        let all = [Rest::Busy, Rest::Idle, Rest::Unspoken, Rest::Unspoken].map(resting);
        let mut seats = Vec::new();
        for tally in &all {
            seats.push(places.seat(from("127.0.0.1"), tally).await);
        }
        let newest = resting(Rest::Busy);
        for gone in [[2].as_slice(), &[2, 3], &[1, 2, 3], &[1, 2, 3]] {
            let waiting = places.seat(from("127.0.0.1"), &newest);
            let waiting = tokio::time::timeout(LOOK / 2, waiting).await;
            assert!(waiting.is_err(), "nobody has left yet");
            let shed: Vec<_> = (0..4).filter(|nth| all[*nth].is_shed()).collect();
            assert_eq!(shed, gone);
        }
        seats.remove(1);
        assert!(places.seat(from("127.0.0.1"), &newest).await.is_some());
    }
}
