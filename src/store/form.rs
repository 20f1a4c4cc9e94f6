//! The record of a `.gen` file as JSON.
//!
//! The form stands apart from the types that the program works with: those may change, a form may
//! not. Conversions name every field and use no `..`, so that a new field of a record does not
//! compile before it has a place here.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::blob_hash::BlobHash;
use super::codec::Flaw;
use super::error::StoreError;
use super::hold::Hold;
use super::medium::Medium;
use super::medium_form::MediumForm;
use super::record::{Entry, HeaderBytes, Payload, PollRecord, Record, Task, TaskState};
use crate::generation::{Extent, Fingerprint, Kind};

/// The record of formats 1 and 2, which differ in `media` alone: format 1 has none. Neither had `run`,
/// `extent` or `passed_by` at first.
///
/// MONEY: both are read for ever. A field that older versions may skip can join them; any other
/// change needs a new format, and a form beside this one.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordForm {
    key: Fingerprint,
    kind: Kind,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    client: String,
    status: u16,
    headers: Vec<(String, HeaderBytes)>,
    created_at: Timestamp,
    elapsed_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usd: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extent: Option<Extent>,
    body: Section,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    media: Vec<MediumForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed_by: Option<Fingerprint>,
}

#[derive(Serialize, Deserialize)]
struct TaskForm {
    id: String,
    state: TaskState,
    started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
    polls: Vec<PollForm>,
}

#[derive(Serialize, Deserialize)]
struct PollForm {
    path: String,
    status: u16,
    headers: Vec<(String, HeaderBytes)>,
    at: Timestamp,
    body: Section,
}

/// Where a body is: the next `len` bytes after the line, or a blob of that length.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Section {
    len: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<BlobHash>,
}

impl Section {
    fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Bytes(bytes) => Self {
                len: bytes.len() as u64,
                blob: None,
            },
            Payload::Blob { hash, len, .. } => Self {
                len: *len,
                blob: Some(*hash),
            },
        }
    }

    /// Takes this section's bytes off the front of `rest`.
    fn take(self, rest: &mut Bytes) -> Result<Payload, Flaw> {
        if let Some(hash) = self.blob {
            return Ok(Payload::Blob {
                hash,
                len: self.len,
                hold: Hold::default(),
            });
        }
        match usize::try_from(self.len) {
            Ok(len) if len <= rest.len() => Ok(Payload::Bytes(rest.split_to(len))),
            Ok(_) | Err(_) => Err(Flaw::damaged("a body is cut short")),
        }
    }
}

impl RecordForm {
    /// The key of the generation.
    pub(super) const fn key(&self) -> &Fingerprint {
        &self.key
    }

    /// The form of an entry.
    pub(super) fn of(entry: &Entry) -> Result<Self, StoreError> {
        let Record {
            key,
            kind,
            path,
            model,
            client,
            status,
            headers,
            created_at,
            elapsed_ms,
            usd,
            run,
            extent,
            task,
            previous,
            media,
            passed_by,
        } = entry.record.clone();
        Ok(Self {
            key,
            kind,
            path,
            model,
            client,
            status,
            headers,
            created_at,
            elapsed_ms,
            usd,
            run,
            extent,
            body: Section::of(&entry.body),
            task: task_form(task, &entry.polls)?,
            previous,
            media: media.into_iter().map(MediumForm::from).collect(),
            passed_by,
        })
    }

    /// The entry, with the bodies that stand in the file.
    pub(super) fn into_entry(self, mut sections: Bytes) -> Result<Entry, Flaw> {
        let Self {
            key,
            kind,
            path,
            model,
            client,
            status,
            headers,
            created_at,
            elapsed_ms,
            usd,
            run,
            extent,
            body,
            task,
            previous,
            media,
            passed_by,
        } = self;
        let body = body.take(&mut sections)?;
        let mut polls = Vec::new();
        let task = match task {
            Some(task) => Some(task.into_task(&mut sections, &mut polls)?),
            None => None,
        };
        if !sections.is_empty() {
            return Err(Flaw::damaged("there are bytes after the last body"));
        }
        let record = Record {
            key,
            kind,
            path,
            model,
            client,
            status,
            headers,
            created_at,
            elapsed_ms,
            usd,
            run,
            extent,
            task,
            previous,
            media: media.into_iter().map(Medium::from).collect(),
            passed_by,
        };
        Ok(Entry {
            record,
            body,
            polls,
        })
    }
}

impl TaskForm {
    /// The job; the bodies of its polls go to `bodies`.
    fn into_task(self, sections: &mut Bytes, bodies: &mut Vec<Payload>) -> Result<Task, Flaw> {
        let Self {
            id,
            state,
            started_at,
            ended_at,
            total_tokens,
            polls: forms,
        } = self;
        let mut polls = Vec::with_capacity(forms.len());
        for PollForm {
            path,
            status,
            headers,
            at,
            body,
        } in forms
        {
            bodies.push(body.take(sections)?);
            polls.push(PollRecord {
                path,
                status,
                headers,
                at,
            });
        }
        Ok(Task {
            id,
            state,
            started_at,
            ended_at,
            total_tokens,
            polls,
        })
    }
}

fn task_form(task: Option<Task>, bodies: &[Payload]) -> Result<Option<TaskForm>, StoreError> {
    let polls = task.as_ref().map_or(0, |task| task.polls.len());
    if polls != bodies.len() {
        return Err(StoreError::Refused(
            "it has not one poll body for each poll record",
        ));
    }
    Ok(task.map(|task| {
        let Task {
            id,
            state,
            started_at,
            ended_at,
            total_tokens,
            polls,
        } = task;
        let polls = polls
            .into_iter()
            .zip(bodies)
            .map(|(poll, body)| {
                let PollRecord {
                    path,
                    status,
                    headers,
                    at,
                } = poll;
                PollForm {
                    path,
                    status,
                    headers,
                    at,
                    body: Section::of(body),
                }
            })
            .collect();
        TaskForm {
            id,
            state,
            started_at,
            ended_at,
            total_tokens,
            polls,
        }
    }))
}
