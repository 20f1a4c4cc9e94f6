//! The permit to run a generation.

use std::sync::Arc;

use super::{Ending, Failure, Flight, Flights, Live, Stage, lock};
use crate::generation::Fingerprint;
use crate::store::StoreError;

/// The permit to run a generation; there is one for each flight.
///
/// However it goes, the flight ends: [`Lead::end`] says how, and a lead that is dropped without it
/// (a panic, a shutdown) releases its followers if nothing was sent, or tells them that the outcome
/// is unknown if something was.
pub struct Lead {
    key: Fingerprint,
    flight: Arc<Flight>,
    flights: Flights,
    sent: bool,
    /// How much disk was free when it had looked for the last time, in bytes; else the reason in words.
    free: Result<u64, String>,
    ending: Option<Ending>,
}

impl Lead {
    pub(super) fn new(key: Fingerprint, flight: Arc<Flight>, flights: Flights) -> Self {
        Self {
            key,
            flight,
            flights,
            sent: false,
            free: Err("nobody has asked for the free space".to_owned()),
            ending: None,
        }
    }

    /// The generation that may be run.
    pub fn key(&self) -> Fingerprint {
        self.key
    }

    /// The flight, to wait for its answer as every follower does.
    pub fn flight(&self) -> Arc<Flight> {
        self.flight.clone()
    }

    /// Notes how much disk is free, where the look that it comes from has asked.
    pub(super) fn has_room(&mut self, free: Result<u64, StoreError>) {
        self.free = free.map_err(|error| error.to_string());
    }

    /// How much disk was free when nothing was found that is kept, in bytes.
    ///
    /// # Errors
    /// When the system did not say; the reason in words.
    pub fn free_bytes(&self) -> Result<u64, String> {
        self.free.clone()
    }

    /// From here on a run may have begun, whatever happens to this permit.
    pub fn about_to_send(&mut self) {
        self.sent = true;
    }

    /// The answer's head is here, and its body may be shown while it arrives.
    pub fn live(&self, answer: Arc<Live>) {
        self.flight.reach(Stage::Live(answer));
    }

    /// Ends the flight. Whatever is to be kept must be durable by now: the next identical request
    /// looks into the store.
    pub fn end(mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let ending = self.ending.take().unwrap_or(if self.sent {
            Ending::Failed(Failure::Abandoned)
        } else {
            Ending::Released
        });
        // First out of the map, then told: a released follower must not find this flight again.
        let mut flights = lock(&self.flights);
        if let Some(under_way) = flights.get_mut(&self.key) {
            under_way.retain(|flight| !Arc::ptr_eq(flight, &self.flight));
            if under_way.is_empty() {
                flights.remove(&self.key);
            }
        }
        drop(flights);
        self.flight.reach(Stage::Ended(ending));
    }
}
