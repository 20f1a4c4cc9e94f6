//! A person decides about a paid call whose outcome nobody knows.
//!
//! Nothing runs because of it. `Rerun` and `Forget` take the note away, so that the next identical
//! request runs; `Task` puts the job that the person found upstream in its place, so that the next
//! one joins.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::{Flight, Lead, Once, Stage, lock};
use crate::generation::{Fingerprint, Kind};
use crate::store::{Entry, Intent, Payload, Record, Store, StoreError, Task};

/// How long a decision waits for requests that only look whether they may run.
const LOOKING: Duration = Duration::from_millis(500);

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It may have been paid for, and is to run again.
    Rerun,
    /// It was not run, or nobody cares.
    Forget,
    /// It runs upstream as this job.
    Task(TaskId),
}

impl Resolution {
    /// The word for it in logs and in the admin API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Rerun => "rerun",
            Self::Forget => "forget",
            Self::Task(_) => "task",
        }
    }
}

/// Upstream's id of a job, as a person gives it: such that it can stand in the path of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskId(String);

/// A text that is no job's id.
#[derive(Debug, thiserror::Error)]
#[error("a job's id is 1 to 256 letters, digits, and - _ . : = @")]
pub struct NotATaskId;

impl TaskId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskId {
    type Err = NotATaskId;

    fn from_str(text: &str) -> Result<Self, NotATaskId> {
        let sound = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:=@".contains(&byte));
        let named = text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if sound && named && text.len() <= 256 {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotATaskId)
        }
    }
}

/// Why a decision was not carried out. Nothing was changed, unless the store says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// There is no note for this generation.
    #[error(
        "The outcome of {} is not unknown, so there is nothing to resolve; `reprise jobs list` \
         shows what is.",
        .0.short()
    )]
    NotUnknown(Fingerprint),
    /// A paid call for it is under way in this process.
    #[error(
        "A paid call for {} is under way: its outcome is not unknown. Wait for its end.",
        .0.short()
    )]
    UnderWay(Fingerprint),
    /// Only a video is a job that can be taken up again.
    #[error(
        "{} is no video job ({kind}), so there is no task to wait for; use --rerun or --forget.",
        key.short()
    )]
    NotAJob {
        /// The generation.
        key: Fingerprint,
        /// What it is.
        kind: Kind,
    },
    /// Its answer came after all, and is kept.
    #[error(
        "The answer of {} is kept, so no task has to stand for it; --forget takes the note away.",
        .0.short()
    )]
    Kept(Fingerprint),
    /// The job is another generation's.
    #[error("Task {id} belongs to generation {} already.", key.short())]
    Taken {
        /// The job.
        id: String,
        /// Whose it is.
        key: Fingerprint,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Once {
    /// Carries out what a person decided about the unknown outcome of a generation; returns the
    /// note that stood for it.
    ///
    /// Who asks for the generation meanwhile waits, and looks again afterwards.
    ///
    /// # Errors
    /// When its outcome is not unknown, the decision does not fit it, or the store fails.
    ///
    /// # Cancel safety
    /// A decision that was begun is carried out whether or not anyone waits.
    pub async fn resolve(
        &self,
        key: Fingerprint,
        resolution: Resolution,
    ) -> Result<Intent, Unresolved> {
        let lead = self.board_alone(key).await?;
        let now = self.clock.now();
        let carry_out = move |store: &dyn Store| {
            let resolved = resolve(store, key, &resolution, now);
            drop(lead);
            match resolved {
                Err(Unresolved::Store(error)) => Err(error),
                other => Ok(other),
            }
        };
        // MONEY: one who asks for a run of its own (`no-cache`) does not wait for this permit, so
        // the note may be that run's by now.
        let resolved = self.pledges.unless_running(key, carry_out).await?;
        resolved.unwrap_or(Err(Unresolved::UnderWay(key)))
    }

    /// Registers beside nobody, so that nobody runs this generation; waits a moment for those who
    /// only look whether they may.
    async fn board_alone(&self, key: Fingerprint) -> Result<Lead, Unresolved> {
        let deadline = Instant::now() + LOOKING;
        loop {
            let flight = {
                let mut flights = lock(&self.flights);
                let under_way = flights.entry(key).or_default();
                let Some(flight) = under_way.last() else {
                    let flight = Flight::new();
                    under_way.push(flight.clone());
                    return Ok(Lead::new(key, flight, self.flights.clone()));
                };
                flight.clone()
            };
            match tokio::time::timeout_at(deadline, flight.answer()).await {
                Ok(Stage::Ended(_)) => {}
                Ok(Stage::Live(_) | Stage::Waiting) | Err(_) => {
                    return Err(Unresolved::UnderWay(key));
                }
            }
        }
    }
}

/// Carries out what a person decided, on a store that nobody else changes meanwhile. Blocks.
///
/// # Errors
/// As [`Once::resolve`].
pub fn resolve(
    store: &dyn Store,
    key: Fingerprint,
    resolution: &Resolution,
    now: Timestamp,
) -> Result<Intent, Unresolved> {
    let intent = store.intent(&key)?.ok_or(Unresolved::NotUnknown(key))?;
    match resolution {
        Resolution::Rerun | Resolution::Forget => {}
        // MONEY: the job is durable before the note goes; a crash in between leaves both.
        Resolution::Task(id) => store.put(&adopted(store, &intent, id, now)?)?,
    }
    store.remove_intent(&key)?;
    let task_id = match resolution {
        Resolution::Task(id) => Some(id.as_str()),
        Resolution::Rerun | Resolution::Forget => None,
    };
    tracing::info!(
        key = key.short(),
        kind = intent.kind.as_str(),
        decision = resolution.as_str(),
        task_id,
        "an unknown outcome was resolved"
    );
    Ok(intent)
}

/// The entry by which the job that was found upstream is known from now on: as if its submit had
/// been answered.
fn adopted(
    store: &dyn Store,
    intent: &Intent,
    id: &TaskId,
    now: Timestamp,
) -> Result<Entry, Unresolved> {
    let key = intent.key;
    if intent.kind != Kind::Video {
        let kind = intent.kind;
        return Err(Unresolved::NotAJob { key, kind });
    }
    let kept = store.get(&key)?;
    if kept.is_some_and(|entry| entry.record.created_at >= intent.started_at) {
        return Err(Unresolved::Kept(key));
    }
    match store.find_task(id.as_str())? {
        Some(owner) if owner != key => {
            let id = id.as_str().to_owned();
            return Err(Unresolved::Taken { id, key: owner });
        }
        Some(_) | None => {}
    }
    Ok(Entry {
        record: record(intent, id, now),
        body: Payload::Bytes(submit_answer(id, intent.model.as_deref())),
        polls: Vec::new(),
    })
}

fn record(intent: &Intent, id: &TaskId, now: Timestamp) -> Record {
    // A note that was damaged may have lost its path.
    let path = match intent.path.as_str() {
        "" => "/v1/video/generations",
        path => path,
    };
    Record {
        key: intent.key,
        kind: intent.kind,
        path: path.to_owned(),
        model: intent.model.clone(),
        client: intent.client.clone(),
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".into())],
        created_at: now,
        elapsed_ms: 0,
        // It is the run that the note was about: what is held for it is settled by the job's end.
        usd: intent.run.map(|_| intent.usd.dollars()),
        run: intent.run,
        extent: intent.extent,
        previous: None,
        media: Vec::new(),
        passed_by: None,
        // MONEY: of today, however old the note is. A job that was just found must not count as
        // silent for too long, and be run again beside it.
        task: Some(Task::begun(id.as_str().to_owned(), now)),
    }
}

/// What upstream would have answered to the submit, as far as it is known.
fn submit_answer(id: &TaskId, model: Option<&str>) -> Bytes {
    let id = id.as_str();
    let mut answer = json!({"id": id, "task_id": id, "object": "video", "status": "queued"});
    if let Some(model) = model {
        answer["model"] = model.into();
    }
    Bytes::from(answer.to_string())
}

#[cfg(test)]
mod tests;
