//! The money of a generation that is passed by, and the note that stands for it while it is under way.
//!
//! The note is about this run alone: nobody is asked about it, and whoever passes by looks at none. It
//! is there for the next start, which finds in it what a crash left held, and unbooked.

use http::request::Parts;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Proxy;
use crate::books::{Claim, Stake};
use crate::generation::{Fingerprint, Kind, outcome};
use crate::once::Pledge;
use crate::price::{Usage, Usd};
use crate::store::{Intent, IntentState, StoreError};

/// Why the outcome of a run is unknown whose client has gone.
const LEFT: &str = "its client left before the end of the answer";

/// What is held for a run that is passed by, to its end.
///
/// MONEY: dropped without a word, it was never sent, and all is taken back; or it was, and its outcome is
/// unknown.
#[must_use = "a run that was sent is of unknown outcome when it is dropped"]
pub(super) struct Passage {
    /// Until it is told how the run has ended.
    stake: Option<Stake>,
    /// For what is dear, and whatever a budget holds.
    pledge: Option<Pledge>,
    sent: bool,
    tasks: TaskTracker,
}

/// How a run has ended.
enum End {
    Paid(Usd),
    /// The job that it has submitted holds what was held for it.
    Job,
    /// It was answered with a job that another run pays for.
    Joined,
    Failed,
    Unknown(String),
}

impl Proxy {
    /// Notes durably, where that is needed, that a run is about to be sent that is passed by.
    ///
    /// # Errors
    /// When the note could not be written: then nothing may be sent.
    ///
    /// # Cancel safety
    /// What was noted for a client that has left is taken back.
    pub(super) async fn passage(
        &self,
        stake: Stake,
        claim: &Claim,
        parts: &Parts,
    ) -> Result<Passage, StoreError> {
        let mut passage = Passage {
            stake: Some(stake),
            pledge: None,
            sent: false,
            tasks: self.tasks.clone(),
        };
        if !outcome::unknown_matters(claim.kind) && !self.books.is_bounded(&claim.client) {
            return Ok(passage);
        }
        let path = parts.uri.path().to_owned();
        let Some(intent) = passage.note(claim, path, self.clock.now()) else {
            return Ok(passage);
        };
        let once = self.once.clone();
        let noting = self.tasks.spawn(async move {
            passage.pledge = Some(once.pledge(intent).await?);
            Ok(passage)
        });
        let panicked = |error: tokio::task::JoinError| StoreError::Panicked(error.to_string());
        noting.await.map_err(panicked)?
    }
}

/// The key of the note of a run that is passed by: no generation has it, and no other run.
fn note_of(run: Uuid) -> Fingerprint {
    let context = "reprise 2026-11 note of a run that is passed by";
    Fingerprint::from_bytes(blake3::derive_key(context, run.as_bytes()))
}

impl Passage {
    fn note(&self, claim: &Claim, path: String, now: Timestamp) -> Option<Intent> {
        let stake = self.stake.as_ref()?;
        Some(Intent {
            key: note_of(stake.run()),
            kind: claim.kind,
            path,
            model: claim.model.clone(),
            client: claim.client.clone(),
            started_at: now,
            state: IntentState::Pending,
            reason: None,
            run: Some(stake.run()),
            usd: stake.expected(),
            extent: (claim.kind == Kind::Video).then(|| stake.extent()),
            beside: Vec::new(),
            passed_by: Some(claim.key),
        })
    }

    /// From here on it may have been paid for, whatever happens.
    pub(super) fn about_to_send(&mut self) {
        self.sent = true;
        if let Some(stake) = &mut self.stake {
            stake.sent(self.pledge.is_some());
        }
    }

    /// What is held for it, until its end is told.
    pub(super) fn stake(&self) -> Option<&Stake> {
        self.stake.as_ref()
    }

    /// What it is expected to cost.
    pub(super) fn expected(&self) -> Usd {
        self.stake.as_ref().map_or(Usd::ZERO, Stake::expected)
    }

    /// What it has cost, by what its answer says was used.
    pub(super) fn cost(&self, usage: &Usage) -> Usd {
        let stake = self.stake.as_ref();
        stake.map_or(Usd::ZERO, |stake| stake.cost(usage))
    }

    /// It ran, and cost `usd`: that is booked durably, then the note goes.
    pub(super) async fn paid(self, usd: Usd) {
        self.end(End::Paid(usd)).await;
    }

    /// It has submitted a job, of which a durable record says that it runs: that is booked at its end.
    pub(super) async fn job(self) {
        self.end(End::Job).await;
    }

    /// It was answered with a job that another run has submitted, and pays for.
    pub(super) async fn joined(self) {
        self.end(End::Joined).await;
    }

    /// It failed, and cost nothing.
    pub(super) async fn failed(self) {
        self.end(End::Failed).await;
    }

    /// Nobody knows whether it ran, and why.
    pub(super) async fn unknown(self, reason: impl Into<String>) {
        self.end(End::Unknown(reason.into())).await;
    }

    /// Goes on to its end, also when nobody waits for it any longer.
    async fn end(mut self, end: End) {
        let (stake, pledge) = (self.stake.take(), self.pledge.take());
        // It only fails by a panic, which is reported by itself.
        let _ = self.tasks.spawn(close((stake, pledge), end)).await;
    }
}

/// Books the end of a run, then says so to its note.
async fn close((stake, pledge): (Option<Stake>, Option<Pledge>), end: End) {
    let Some(stake) = stake else {
        return;
    };
    // What stood before a note of one run alone is nothing, so nothing is free because of it.
    match end {
        End::Paid(usd) => {
            let booked = stake.paid(usd).await;
            if let Err(error) = &booked {
                tracing::error!(%error, "a generation that was paid for is not booked yet; its line waits for the disk");
            }
            match pledge {
                Some(pledge) if booked.is_ok() => drop(pledge.settle().await),
                Some(pledge) => pledge.leave().await,
                None => {}
            }
        }
        End::Job => {
            stake.job();
            if let Some(pledge) = pledge {
                drop(pledge.settle().await);
            }
        }
        End::Joined => {
            stake.joined();
            withdraw(pledge).await;
        }
        End::Failed => {
            stake.failed();
            withdraw(pledge).await;
        }
        End::Unknown(reason) => {
            stake.unknown().await;
            if let Some(pledge) = pledge {
                pledge.doubt(reason).await;
            }
        }
    }
}

async fn withdraw(pledge: Option<Pledge>) {
    if let Some(pledge) = pledge
        && let Err(error) = pledge.withdraw().await
    {
        tracing::warn!(%error, "the note of a run that was passed by could not be taken back; `reprise jobs resolve` can");
    }
}

impl Drop for Passage {
    /// Its client has left, or its task has panicked.
    fn drop(&mut self) {
        let Some(stake) = self.stake.take() else {
            return;
        };
        let pledge = self.pledge.take();
        // Without a runtime nobody writes anything: what was sent stays noted as it is.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let sent = self.sent;
        self.tasks.spawn_on(
            async move {
                if sent {
                    close((Some(stake), pledge), End::Unknown(LEFT.to_owned())).await;
                } else {
                    // Nothing ran, and no line says so.
                    drop(stake);
                    withdraw(pledge).await;
                }
            },
            &runtime,
        );
    }
}
