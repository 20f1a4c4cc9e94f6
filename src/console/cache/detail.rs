//! One kept generation with everything that is known of it. Its request is not: no prompt is kept.

use std::fs;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::denied::Denied;
use super::listing::Listed;
use crate::console::File;
use crate::generation::Fingerprint;
use crate::store::{BlobHash, Entry, HeaderBytes, Payload, Record, Store, TaskState};

/// One kept generation, as `reprise cache show --json` and `GET /api/cache/{key}` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// As in the list.
    #[serde(flatten)]
    pub listed: Listed,
    /// Its own file, below the data directory.
    pub file: String,
    /// The client that paid.
    pub client: String,
    /// What it cost in US dollars; null when that is not known.
    pub usd: Option<f64>,
    /// From sending the request to the last byte of the answer, in milliseconds.
    pub elapsed_ms: u64,
    /// The headers of the answer in their order, as pairs of name and value.
    pub headers: Vec<(String, HeaderBytes)>,
    /// The body of the answer: for a job that to its submit.
    pub body: Part,
    /// The job that the answer started; null when it started none.
    pub task: Option<TaskDetail>,
    /// The files behind its links.
    pub media: Vec<File>,
}

/// The bytes of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How many.
    pub bytes: u64,
    /// The file they lie in, below the data directory; null when that is the generation's own.
    pub file: Option<String>,
}

/// A job and what is kept of its polls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDetail {
    /// Upstream's id.
    pub id: String,
    /// `running` or `succeeded`.
    pub state: TaskState,
    /// When it was submitted.
    pub started_at: Timestamp,
    /// When it ended; null while it has not.
    pub ended_at: Option<Timestamp>,
    /// The tokens that it used, when upstream has said so.
    pub total_tokens: Option<u64>,
    /// The answers that polls get.
    pub polls: Vec<Poll>,
}

/// The kept answer of one poll path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// The path.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// When upstream gave it.
    pub at: Timestamp,
    /// Its body.
    #[serde(flatten)]
    pub body: Part,
}

impl Detail {
    /// Everything that is known of a generation. Blocks.
    ///
    /// # Errors
    /// When it is not kept, or damaged.
    pub fn of(store: &dyn Store, key: &Fingerprint) -> Result<Self, Denied> {
        let kept = store.glance(key)?;
        let kept = kept.ok_or_else(|| Denied::None(key.to_string()))?;
        let entry = store.get(key)?.ok_or(Denied::Damaged(*key))?;
        let Entry {
            record,
            body,
            polls,
        } = entry;
        let task = task(&record, &polls);
        let name = key.to_string();
        let shard = name.get(..2).unwrap_or_default();
        Ok(Self {
            listed: kept.into(),
            file: format!("generations/{shard}/{name}.gen"),
            client: record.client,
            usd: record.usd,
            elapsed_ms: record.elapsed_ms,
            headers: record.headers,
            body: Part::of(&body),
            task,
            media: record.media.iter().map(File::from).collect(),
        })
    }
}

impl Part {
    fn of(payload: &Payload) -> Self {
        let file = match payload {
            Payload::Bytes(_) => None,
            Payload::Blob { hash, .. } => Some(blob_file(hash)),
        };
        Self {
            bytes: payload.len(),
            file,
        }
    }
}

fn blob_file(hash: &BlobHash) -> String {
    let name = hash.to_string();
    format!("blobs/{}/{name}", name.get(..2).unwrap_or_default())
}

fn task(record: &Record, bodies: &[Payload]) -> Option<TaskDetail> {
    let task = record.task.as_ref()?;
    let polls = task.polls.iter().zip(bodies).map(|(poll, body)| Poll {
        path: poll.path.clone(),
        status: poll.status,
        at: poll.at,
        body: Part::of(body),
    });
    Some(TaskDetail {
        id: task.id.clone(),
        state: task.state,
        started_at: task.started_at,
        ended_at: task.ended_at,
        total_tokens: task.total_tokens,
        polls: polls.collect(),
    })
}

/// The body of a kept answer: its bytes, or an open file of so many bytes. Blocks.
///
/// # Errors
/// When it is not kept, or damaged.
pub fn body(
    store: &dyn Store,
    key: &Fingerprint,
) -> Result<Result<bytes::Bytes, (fs::File, u64)>, Denied> {
    let Some(entry) = store.get(key)? else {
        return Err(match store.glance(key)? {
            Some(_) => Denied::Damaged(*key),
            None => Denied::None(key.to_string()),
        });
    };
    match &entry.body {
        Payload::Bytes(bytes) => Ok(Ok(bytes.clone())),
        Payload::Blob { hash, len, .. } => Ok(Err((store.open_blob(hash)?, *len))),
    }
}
