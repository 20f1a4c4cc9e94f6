//! Jobs: generations that run upstream, and paid calls without a known outcome.
//!
//! An intent is a job of any kind: under way in this process, or of unknown outcome. A kept entry
//! with a task is a video job, which runs or has succeeded. Failed ones are forgotten, so there is
//! no word for them.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::file::File;
use crate::callbacks;
use crate::clock;
use crate::generation::{self, Fingerprint, Kind, outcome};
use crate::jobs::Prospect;
use crate::once::is_settled;
use crate::store::{
    Delivery, Glance, Intent, IntentState, Record, Store, StoreError, Task, TaskState,
};

/// One job, as `reprise jobs list --json` and `GET /api/jobs` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The key of its generation: 64 hexadecimal digits.
    pub key: Fingerprint,
    /// Upstream's id; null when none is known.
    pub task_id: Option<String>,
    /// What it makes.
    pub kind: Kind,
    /// The model that the request named; null when it named none.
    pub model: Option<String>,
    /// The client that pays.
    pub client: String,
    /// How it stands.
    pub state: JobState,
    /// When it was asked for, in UTC (RFC 3339): the same from its beginning to its end.
    pub started_at: Timestamp,
    /// How many requests asked for it since the proxy started, at least 1; 1 while none runs.
    pub callers: u64,
}

/// One job with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDetail {
    /// As in the list.
    #[serde(flatten)]
    pub job: Job,
    /// The path it was sent to; empty when its note was damaged.
    pub path: String,
    /// When it ended; null while it has not.
    pub ended_at: Option<Timestamp>,
    /// Why its outcome is unknown, in words; null when it is not.
    pub reason: Option<String>,
    /// It passes by what is kept (`no-store`, or its kind is off), so nobody who asks for the same is
    /// asked about it. Left out where it does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_by: bool,
    /// For how long it ran, or has been running, in seconds.
    #[serde(default)]
    pub age_seconds: u64,
    /// How far it is, in percent; null when upstream has not said so to this process.
    #[serde(default)]
    pub progress: Option<u8>,
    /// When upstream is asked for it again; null when no process follows it.
    #[serde(default)]
    pub next_poll_at: Option<Timestamp>,
    /// Who is called back about it.
    #[serde(default)]
    pub callbacks: Vec<Callback>,
    /// The files that its result links to.
    #[serde(default)]
    pub media: Vec<File>,
}

/// Somebody who is called back about a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Scheme, host and port of the address. SECURITY: what stands behind may be a secret.
    pub host: String,
    /// `upstream` (which calls it), `waiting`, `due`, `delivered` or `given_up`.
    pub state: String,
    /// How many times it was called.
    pub attempts: u32,
}

impl From<&Delivery> for Callback {
    fn from(delivery: &Delivery) -> Self {
        Self {
            host: callbacks::host(&delivery.address),
            state: delivery.state.as_str().to_owned(),
            attempts: delivery.attempts,
        }
    }
}

impl JobDetail {
    /// Whether it runs, or somebody may have to decide about it. A chat that was passed by and broke off
    /// is nothing to decide about: it only holds its money until its month is over.
    pub fn is_open(&self) -> bool {
        match self.job.state {
            JobState::Pending | JobState::Running => true,
            JobState::Unknown => !self.passed_by || outcome::unknown_matters(self.job.kind),
            JobState::Succeeded => false,
        }
    }

    /// With what depends on the time, and what the process that follows it knows.
    #[must_use]
    pub fn seen_at(mut self, now: Timestamp, prospect: Option<Prospect>) -> Self {
        let until = self.ended_at.unwrap_or(now);
        self.age_seconds = clock::age_seconds(until, self.job.started_at);
        self.progress = prospect.and_then(|prospect| prospect.progress);
        self.next_poll_at = prospect.and_then(|prospect| {
            let wait = SignedDuration::try_from(prospect.next_poll).ok()?;
            now.checked_add(wait).ok()
        });
        self
    }

    /// With those who are called back about it.
    #[must_use]
    pub fn with_callbacks(mut self, deliveries: &[Delivery]) -> Self {
        self.callbacks = deliveries.iter().map(Callback::from).collect();
        self.callbacks
            .sort_by(|one, other| one.host.cmp(&other.host));
        self
    }
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Sent, and not answered yet.
    Pending,
    /// Sent, and nobody knows what became of it.
    Unknown,
    /// Accepted by upstream, not ended.
    Running,
    /// Ended well.
    Succeeded,
}

impl JobState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
        }
    }
}

/// What a running process knows about a generation beyond what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether a call for it is under way.
    pub under_way: bool,
    /// How many requests asked for it.
    pub callers: u64,
}

impl Seen {
    /// While no process runs, nothing is under way.
    pub const BY_NOBODY: Self = Self {
        under_way: false,
        callers: 1,
    };
}

/// What a store holds that jobs are made from.
#[derive(Debug)]
pub struct Census {
    intents: Vec<Intent>,
    records: Vec<Record>,
}

impl Census {
    /// Goes through an open store. Blocks, and reads every record.
    ///
    /// # Errors
    /// When not all could be listed.
    pub fn of_store(store: &dyn Store) -> Result<Self, StoreError> {
        Self::take(store.intents()?, |visit| store.list(visit))
    }

    /// Goes through a data directory that no process has. Blocks, and reads every record.
    ///
    /// # Errors
    /// When not all could be listed.
    pub fn of_glance(glance: &Glance) -> Result<Self, StoreError> {
        Self::take(glance.intents()?, |visit| glance.list(visit))
    }

    fn take(
        intents: Vec<Intent>,
        list: impl FnOnce(&mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let mut records = Vec::new();
        list(&mut |record| {
            let noted = intents.iter().any(|intent| intent.key == record.key);
            if noted || record.task.is_some() {
                records.push(record.clone());
            }
            ControlFlow::Continue(())
        })?;
        Ok(Self { intents, records })
    }

    /// Every job, the oldest first.
    pub fn jobs(&self, seen: impl Fn(&Fingerprint) -> Seen) -> Vec<JobDetail> {
        let settled =
            |intent: &Intent| self.records.iter().any(|record| is_settled(intent, record));
        let notes = self.intents.iter().filter(|intent| !settled(intent));
        let notes = notes.map(|intent| of_intent(intent, seen(&intent.key)));
        let kept = self.records.iter().filter_map(|record| {
            let task = record.task.as_ref()?;
            Some(of_task(record, task, seen(&record.key)))
        });
        let mut jobs: Vec<_> = notes.chain(kept).collect();
        jobs.sort_by_key(|detail| (detail.job.started_at, detail.job.key));
        jobs
    }

    /// The keys of all notes, those included that a kept answer has settled.
    pub fn notes(&self) -> impl Iterator<Item = Fingerprint> {
        self.intents.iter().map(|intent| intent.key)
    }

    /// The keys of all jobs that are kept.
    pub fn kept(&self) -> impl Iterator<Item = Fingerprint> {
        self.records.iter().map(|record| record.key)
    }
}

/// When a run was asked for: by its name, which its note and its record share.
fn asked(run: Option<Uuid>, otherwise: Timestamp) -> Timestamp {
    run.and_then(generation::asked_at).unwrap_or(otherwise)
}

fn of_intent(intent: &Intent, seen: Seen) -> JobDetail {
    let state = match (intent.state, seen.under_way) {
        (IntentState::Pending, true) => JobState::Pending,
        (IntentState::Pending, false) | (IntentState::Unknown, _) => JobState::Unknown,
    };
    let reason = match state {
        JobState::Unknown => Some(
            intent
                .reason
                .clone()
                .unwrap_or_else(|| "the proxy ended while it was under way".to_owned()),
        ),
        JobState::Pending | JobState::Running | JobState::Succeeded => None,
    };
    JobDetail {
        job: Job {
            key: intent.key,
            task_id: None,
            kind: intent.kind,
            model: intent.model.clone(),
            client: intent.client.clone(),
            state,
            started_at: asked(intent.run, intent.started_at),
            callers: seen.callers,
        },
        path: intent.path.clone(),
        ended_at: None,
        reason,
        passed_by: intent.passed_by.is_some(),
        age_seconds: 0,
        progress: None,
        next_poll_at: None,
        callbacks: Vec::new(),
        media: Vec::new(),
    }
}

fn of_task(record: &Record, task: &Task, seen: Seen) -> JobDetail {
    JobDetail {
        job: Job {
            key: record.key,
            task_id: Some(task.id.clone()),
            kind: record.kind,
            model: record.model.clone(),
            client: record.client.clone(),
            state: match task.state {
                TaskState::Running => JobState::Running,
                TaskState::Succeeded => JobState::Succeeded,
            },
            started_at: asked(record.run, task.started_at),
            callers: seen.callers,
        },
        path: record.path.clone(),
        ended_at: task.ended_at,
        reason: None,
        passed_by: false,
        age_seconds: 0,
        progress: None,
        next_poll_at: None,
        callbacks: Vec::new(),
        media: record.media.iter().map(File::from).collect(),
    }
}

#[cfg(test)]
mod tests;
