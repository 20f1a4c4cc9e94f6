//! Callbacks: whoever submits a video may name an address, and hears there of the end of its job as
//! a poll would show it, also when it only joined the job or hit.
//!
//! 1. [`request`] finds the address in a submit, and takes it out where upstream is not to call.
//! 2. [`register`] notes the caller, durably, before it has its answer. There is one delivery for
//!    each job and address, whoever asks how often.
//! 3. [`ending`] puts what the poll has [`shown`] into the job's deliveries: before a job that failed is
//!    forgotten, and when a success is durable.
//! 4. [`round`] takes what is due from the [`queue`] and makes the [`call`]: [`signature`] by
//!    Standard Webhooks, [`schedule`] says when one that went wrong is repeated, and the [`verdict`] is
//!    written down.
//!
//! **At least once.** A delivery is marked as made after the receiver has said so. A crash in
//! between makes it again, under the same `webhook-id`, by which a receiver tells.

mod call;
mod ending;
mod form;
mod members;
mod note;
mod queue;
mod register;
pub mod request;
mod round;
mod schedule;
mod shown;
mod signature;
mod verdict;

pub use register::{By, Callbacks, Caller, Means, Rules, Tally, host};
pub use schedule::Schedule;
pub use signature::Signer;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, Deliver};
use crate::egress::{Allowed, Egress, Patience};
use crate::store::Shelf;
use crate::tls::{self, TrustError};

/// How long a receiver may take; a call takes 30 seconds at most.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    head: Duration::from_secs(25),
    idle: Duration::from_secs(5),
};

/// How long after its end a job's files are waited for.
const MEDIA_PATIENCE: Duration = Duration::from_mins(1);

/// The callbacks of everything on `shelf`, made by `rules`.
pub fn of(rules: Rules, shelf: &Shelf, clock: &Clock) -> Arc<Callbacks> {
    let means = Means {
        shelf: shelf.clone(),
        media_patience: MEDIA_PATIENCE,
        clock: clock.clone(),
    };
    Callbacks::new(means, rules)
}

impl Rules {
    /// What `config` asks for. Reads the system's certificates, so it blocks.
    ///
    /// # Errors
    /// When nobody can be believed over TLS.
    pub fn of(config: &Config, signer: Option<Signer>) -> Result<Self, TrustError> {
        let settings = &config.callbacks;
        let allowed = Allowed::new(settings.allow.clone(), "callbacks.allow");
        Ok(Self {
            is_on: settings.deliver != Deliver::Off,
            egress: Egress::new(tls::client(None)?, allowed, PATIENCE),
            signer,
            schedule: Schedule::new(settings.attempts),
            links: config.media.links,
        })
    }
}
