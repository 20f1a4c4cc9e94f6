//! What a paid call has cost, and what becomes of the money that was held for it.
//!
//! The order is the one of a crash: the answer is kept, then booked, then its note goes. A call without a
//! note is booked before it is kept.

use uuid::Uuid;

use super::Proxy;
use super::lead::Call;
use super::record::Taken;
use super::verdict::{AT_ONCE, LARGEST_JUDGED, apart};
use crate::fault;
use crate::generation::{Extent, Kind};
use crate::price::{Usage, Usd};

/// What a call that succeeded comes to.
pub(super) struct Bill {
    /// What it has cost; of a job what it is estimated at.
    pub(super) usd: Usd,
    /// The same as its record has it.
    pub(super) recorded: Option<f64>,
    pub(super) run: Uuid,
    /// How much a job was asked for.
    pub(super) extent: Option<Extent>,
    /// A job was submitted, whose end is paid for.
    pub(super) is_job: bool,
}

impl Proxy {
    pub(super) async fn bill(&self, call: &Call, taken: &Taken) -> Bill {
        let is_job = call.run.kind == Kind::Video && taken.task.is_some();
        let usage = if is_job {
            Usage::default()
        } else {
            self.used(call.run.kind, taken).await
        };
        let Some(stake) = &call.stake else {
            return Bill::nothing();
        };
        let usd = if is_job {
            stake.expected()
        } else {
            stake.cost(&usage)
        };
        Bill {
            usd,
            recorded: stake.recorded(usd),
            run: stake.run(),
            extent: is_job.then(|| stake.extent()),
            is_job,
        }
    }

    /// What a whole answer says was used. One that cannot be read back says nothing.
    async fn used(&self, kind: Kind, taken: &Taken) -> Usage {
        let len = taken.recorder.recording().len();
        let _room = self.bodies.judging(len.min(LARGEST_JUDGED)).await;
        let whole = taken.recorder.whole(LARGEST_JUDGED).await;
        let whole = whole.ok().flatten().unwrap_or_default();
        let read = apart(len > AT_ONCE, move || Usage::read(kind, &whole)).await;
        Usage {
            // It has succeeded: that was judged by more than its numbers.
            failed: false,
            ..read.unwrap_or_default()
        }
    }
}

impl Bill {
    /// Of a call that holds nothing any more.
    fn nothing() -> Self {
        Self {
            usd: Usd::ZERO,
            recorded: None,
            run: Uuid::nil(),
            extent: None,
            is_job: false,
        }
    }
}

impl Call {
    /// Books what was paid; says whether that is durable, or was done before. Blocks.
    pub(super) fn book(&mut self, usd: Usd) -> bool {
        let Some(stake) = self.stake.take() else {
            return true;
        };
        fault::point("before-booking");
        let booked = stake.paid_blocking(usd);
        fault::point("after-booking");
        if let Err(error) = &booked {
            tracing::error!(%error, "a generation that was paid for is not booked yet; its line waits for the disk");
        }
        booked.is_ok()
    }

    /// The job that was submitted holds the money from now on.
    pub(super) fn hand_to_job(&mut self) {
        if let Some(stake) = self.stake.take() {
            stake.job();
        }
    }

    /// The answer is kept. Its note goes when it is booked too; else the next start finds both. Blocks.
    pub(super) fn settle(&mut self, booked: bool) {
        match self.pledge.take() {
            Some(pledge) if booked => {
                let free = pledge.settle_blocking();
                self.books.give_back(&free);
            }
            Some(pledge) => pledge.leave_blocking(),
            None => {}
        }
    }

    /// Nothing ran that anybody pays for.
    pub(super) async fn withdraw(&mut self) {
        if let Some(stake) = self.stake.take() {
            stake.failed();
        }
        let Some(pledge) = self.pledge.take() else {
            return;
        };
        match pledge.withdraw().await {
            Ok(free) => self.books.give_back(&free),
            Err(error) => {
                tracing::warn!(%error, "an intent could not be taken back; the next identical request is asked about it");
            }
        }
    }

    /// Nobody knows whether it ran.
    pub(super) async fn be_in_doubt(&mut self, reason: String) {
        if let Some(stake) = self.stake.take() {
            stake.unknown().await;
        }
        if let Some(pledge) = self.pledge.take() {
            let free = pledge.doubt(reason).await;
            self.books.give_back(&free);
        }
    }
}
