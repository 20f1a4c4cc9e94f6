//! What an attempt has made of a delivery, until that is written down.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::{Delivery, DeliveryChange, DeliveryId, DeliveryState, Store, StoreError};

/// What an attempt has made of a delivery. Held in memory where it cannot be noted: the call itself
/// is not made again for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many attempts there were with it.
    pub(super) attempts: u32,
    pub(super) came: Came,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The receiver has it.
    Delivered,
    /// Nobody tries any longer: why.
    GivenUp(String),
    /// It is called again.
    Again { next_at: Timestamp, pause: Duration },
}

impl Verdict {
    /// When the next attempt is made.
    pub(super) fn pause(&self) -> Option<Duration> {
        match self.came {
            Came::Again { pause, .. } => Some(pause),
            Came::Delivered | Came::GivenUp(_) => None,
        }
    }

    /// Writes it down. Of a job that is not kept nothing stays once it is over.
    pub(super) fn note(&self, store: &dyn Store, id: &DeliveryId) -> Result<(), StoreError> {
        let mut decide = |standing: Option<&Delivery>| match standing.cloned() {
            None => DeliveryChange::Nothing,
            Some(delivery) if self.is_over() && !is_kept(&delivery.state) => DeliveryChange::Remove,
            Some(mut delivery) => {
                delivery.attempts = self.attempts;
                self.change(&mut delivery.state);
                DeliveryChange::Put(Box::new(delivery))
            }
        };
        store.change_delivery(id, &mut decide).map(drop)
    }

    fn is_over(&self) -> bool {
        self.pause().is_none()
    }

    fn change(&self, state: &mut DeliveryState) {
        match &self.came {
            Came::Delivered => *state = DeliveryState::Delivered,
            Came::GivenUp(reason) => {
                *state = DeliveryState::GivenUp {
                    reason: reason.clone(),
                }
            }
            Came::Again { next_at: at, .. } => {
                if let DeliveryState::Due { next_at, .. } = state {
                    *next_at = *at;
                }
            }
        }
    }
}

fn is_kept(state: &DeliveryState) -> bool {
    !matches!(state, DeliveryState::Due { kept: false, .. })
}
