//! The form of a `.gen` file: one line of JSON, then the bodies.
//!
//! ```text
//! {"format":1,"blake3":"<64 hex>","record":{…}}\n<body><poll body><poll body>…
//! ```
//!
//! The checksum covers the text of `record` and every byte after the line; the rest of the line
//! must stand exactly as written. So any bit that flips anywhere is noticed. Within a format,
//! fields of the record that this version does not know are skipped.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::blobs::BlobHash;
use super::error::StoreError;
use super::record::{Entry, HeaderBytes, Payload, PollRecord, Record, Task, TaskState};
use crate::generation::{Fingerprint, Kind};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u64 = 1;

const BEFORE_CHECK: &[u8] = br#"{"format":1,"blake3":""#;
const BEFORE_RECORD: &[u8] = br#"","record":"#;
const CHECK_LEN: usize = 64;

/// The largest body that is kept inside the file, in bytes.
pub(super) const INLINE_MAX: u64 = 64 * 1024;
/// How much is kept inside one file over all its bodies, in bytes; what is beyond goes to blobs.
pub(super) const INLINE_TOTAL_MAX: u64 = 1024 * 1024;
/// The longest line of JSON, in bytes: headers of many polls fit, a runaway does not.
const LINE_MAX: usize = 4 * 1024 * 1024;
/// No file of ours is longer, in bytes; longer ones are not read.
pub(super) const FILE_MAX: u64 = INLINE_TOTAL_MAX + LINE_MAX as u64;

/// Why bytes are no entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Not what was written.
    Damaged(String),
    /// Written by a newer version.
    Newer(u64),
}

impl Flaw {
    fn damaged(why: &str) -> Self {
        Self::Damaged(why.to_owned())
    }
}

/// The record of format 1. MONEY: format 1 is read for ever; a change needs a new form beside it.
#[derive(Serialize, Deserialize)]
struct RecordForm {
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
    body: Section,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskForm>,
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
            Payload::Blob { hash, len } => Self {
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
            });
        }
        match usize::try_from(self.len) {
            Ok(len) if len <= rest.len() => Ok(Payload::Bytes(rest.split_to(len))),
            Ok(_) | Err(_) => Err(Flaw::damaged("a body is cut short")),
        }
    }
}

/// The bytes of the file for an entry. Payloads that are bytes end up inside the file.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let text = serde_json::to_string(&to_form(entry)?)
        .map_err(|_| StoreError::Refused("its record has no form in JSON"))?;
    if text.len() > LINE_MAX - 256 {
        return Err(StoreError::Refused("its record is longer than 4 MiB"));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(text.as_bytes());
    let mut sections = 0;
    for bytes in inline(entry) {
        hasher.update(bytes);
        sections += bytes.len();
    }
    if sections as u64 > INLINE_TOTAL_MAX {
        return Err(StoreError::Refused(
            "its bodies are too large to stand in one file",
        ));
    }
    let mut file = Vec::with_capacity(text.len() + sections + 128);
    file.extend_from_slice(BEFORE_CHECK);
    file.extend_from_slice(hasher.finalize().to_hex().as_bytes());
    file.extend_from_slice(BEFORE_RECORD);
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(b"}\n");
    for bytes in inline(entry) {
        file.extend_from_slice(bytes);
    }
    Ok(file)
}

/// The bodies inside the file, in their order.
fn inline(entry: &Entry) -> impl Iterator<Item = &Bytes> {
    std::iter::once(&entry.body)
        .chain(&entry.polls)
        .filter_map(|payload| match payload {
            Payload::Bytes(bytes) => Some(bytes),
            Payload::Blob { .. } => None,
        })
}

/// The entry in the bytes of a file, which must be the one of `key`.
pub(super) fn decode(key: &Fingerprint, file: &Bytes) -> Result<Entry, Flaw> {
    let (check, text, sections) = split(file)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(text).update(&sections);
    // Compared as text: hex in capitals would be the same hash, yet not what was written.
    if hasher.finalize().to_hex().as_bytes() != check {
        return Err(Flaw::damaged("its checksum does not match"));
    }
    let form: RecordForm =
        serde_json::from_slice(text).map_err(|error| Flaw::Damaged(error.to_string()))?;
    if form.key != *key {
        return Err(Flaw::Damaged(format!(
            "it holds the generation {}",
            form.key
        )));
    }
    from_form(form, sections)
}

/// Checksum, text of the record, bodies.
fn split(file: &Bytes) -> Result<(&[u8], &[u8], Bytes), Flaw> {
    let end = file
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(file.len());
    let line = file.get(..end).unwrap_or_default();
    let parts = line
        .strip_prefix(BEFORE_CHECK)
        .and_then(|rest| rest.split_at_checked(CHECK_LEN))
        .and_then(|(check, rest)| Some((check, rest.strip_prefix(BEFORE_RECORD)?)))
        .and_then(|(check, rest)| Some((check, rest.strip_suffix(b"}")?)));
    match parts {
        Some((check, text)) if end < file.len() => Ok((check, text, file.slice(end + 1..))),
        Some(_) => Err(Flaw::damaged("it is cut short")),
        None => Err(unreadable(line)),
    }
}

/// Tells a newer format from a damaged line.
fn unreadable(line: &[u8]) -> Flaw {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    match serde_json::from_slice::<Head>(line) {
        Ok(head) if head.format > FORMAT => Flaw::Newer(head.format),
        Ok(_) | Err(_) => Flaw::damaged("its first line is not one that reprise writes"),
    }
}

fn to_form(entry: &Entry) -> Result<RecordForm, StoreError> {
    // Taken apart without `..`, so that a new field does not compile before it has a form.
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
        task,
    } = entry.record.clone();
    Ok(RecordForm {
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
        body: Section::of(&entry.body),
        task: task_form(task, &entry.polls)?,
    })
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

fn from_form(form: RecordForm, mut sections: Bytes) -> Result<Entry, Flaw> {
    let body = form.body.take(&mut sections)?;
    let mut polls = Vec::new();
    let task = match form.task {
        None => None,
        Some(TaskForm {
            id,
            state,
            started_at,
            ended_at,
            total_tokens,
            polls: forms,
        }) => {
            let mut records = Vec::with_capacity(forms.len());
            for PollForm {
                path,
                status,
                headers,
                at,
                body,
            } in forms
            {
                polls.push(body.take(&mut sections)?);
                records.push(PollRecord {
                    path,
                    status,
                    headers,
                    at,
                });
            }
            Some(Task {
                id,
                state,
                started_at,
                ended_at,
                total_tokens,
                polls: records,
            })
        }
    };
    if !sections.is_empty() {
        return Err(Flaw::damaged("there are bytes after the last body"));
    }
    let RecordForm {
        key,
        kind,
        path,
        model,
        client,
        status,
        headers,
        ..
    } = form;
    let (created_at, elapsed_ms, usd) = (form.created_at, form.elapsed_ms, form.usd);
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
        task,
    };
    Ok(Entry {
        record,
        body,
        polls,
    })
}
