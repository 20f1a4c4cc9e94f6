//! What is kept: one entry for each generation, one intent for each paid call under way.
//!
//! These are the types the rest of the program works with. How they look on disk is the business
//! of [`codec`](super::codec), which takes them apart field by field, so that a new field cannot
//! be forgotten there.

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::blob_hash::BlobHash;
use super::blobs::Blob;
use super::hold::Hold;
use super::medium::{Medium, MediumState};
use crate::generation::{Extent, Fingerprint, Kind};
use crate::price::Usd;

/// One kept generation: what is known about it and the bytes that were paid for.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What, when, who, how it was answered.
    pub record: Record,
    /// The body of the answer: for a job the answer to its submit.
    pub body: Payload,
    /// The bodies of the kept poll answers, in the order of `record.task.polls`.
    pub polls: Vec<Payload>,
}

/// The bytes of one body: in memory, or in a blob file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes themselves.
    Bytes(Bytes),
    /// A file under `blobs/`, read through [`Store::open_blob`](super::Store::open_blob).
    Blob {
        /// Its content hash, which is its name.
        hash: BlobHash,
        /// Its size in bytes.
        len: u64,
        /// Keeps it while this value lives, where the store has made it.
        hold: Hold,
    },
}

impl Payload {
    /// The size in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob { len, .. } => *len,
        }
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Blob> for Payload {
    fn from(Blob { hash, len, hold }: Blob) -> Self {
        Self::Blob { hash, len, hold }
    }
}

/// Everything about a kept generation but its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The key it is found by.
    pub key: Fingerprint,
    /// The kind of generation.
    pub kind: Kind,
    /// The path it was sent to, beginning with `/v1/`, without query.
    pub path: String,
    /// The model named in the request, when it named one.
    pub model: Option<String>,
    /// The name of the client that paid.
    pub client: String,
    /// The status of the answer.
    pub status: u16,
    /// The headers of the answer in their order, names in lower case.
    pub headers: Vec<(String, HeaderBytes)>,
    /// When the answer was complete.
    pub created_at: Timestamp,
    /// From sending the request to the answer's last byte, in milliseconds.
    pub elapsed_ms: u64,
    /// What it cost in US dollars, when that is known; while its job runs, what it is estimated at.
    pub usd: Option<f64>,
    /// The run that brought it; `None` where an older version kept it.
    pub run: Option<Uuid>,
    /// How much the request of a job asked for: what its cost is made from at its end.
    pub extent: Option<Extent>,
    /// The job that the answer started, for kinds that are jobs.
    pub task: Option<Task>,
    /// Where the job that this one took the place of is kept, until this one has succeeded.
    pub previous: Option<Fingerprint>,
    /// The files behind the links in its answer or in its polls, each once.
    pub media: Vec<Medium>,
    /// The generation whose job this is, where it was passed by (`no-store`, mode `off`): the job is
    /// followed to its end, nothing of it is handed out, and the record goes with it. Its own key is
    /// one that no request has.
    pub passed_by: Option<Fingerprint>,
}

impl Record {
    /// The generation that was asked for.
    pub fn generation(&self) -> Fingerprint {
        self.passed_by.unwrap_or(self.key)
    }

    /// Whether there is still something to be done for it: its job runs, or a file behind one of
    /// its links is yet to be fetched. Such a record is never evicted.
    pub fn is_open(&self) -> bool {
        let runs = |task: &Task| task.state == TaskState::Running;
        let wanted = |medium: &Medium| medium.state == MediumState::Wanted;
        self.task.as_ref().is_some_and(runs) || self.media.iter().any(wanted)
    }
}

/// A job upstream and what is kept of its polls.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Upstream's id of the job.
    pub id: String,
    /// How far it is.
    pub state: TaskState,
    /// When it was submitted.
    pub started_at: Timestamp,
    /// When it ended, once it has.
    pub ended_at: Option<Timestamp>,
    /// The tokens that upstream says it used, once it has said so.
    pub total_tokens: Option<u64>,
    /// One answer for each poll path; their bodies are `Entry::polls`.
    pub polls: Vec<PollRecord>,
}

impl Task {
    /// A job that was accepted at this time, or found then, and of which nothing else is known.
    pub fn begun(id: String, at: Timestamp) -> Self {
        Self {
            id,
            state: TaskState::Running,
            started_at: at,
            ended_at: None,
            total_tokens: None,
            polls: Vec::new(),
        }
    }
}

/// How far a kept job is. A job that failed is not kept, so there is no word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Accepted by upstream, not ended.
    Running,
    /// Ended well.
    Succeeded,
}

impl TaskState {
    /// The word for listings and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
        }
    }
}

/// The kept answer of one poll path, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollRecord {
    /// The path that was polled.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Its headers in their order, names in lower case.
    pub headers: Vec<(String, HeaderBytes)>,
    /// When upstream gave it.
    pub at: Timestamp,
}

/// A paid call that is under way, or whose outcome nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The key of the generation.
    pub key: Fingerprint,
    /// The kind of generation.
    pub kind: Kind,
    /// The path it is sent to.
    pub path: String,
    /// The model named in the request, when it named one.
    pub model: Option<String>,
    /// The name of the client that pays.
    pub client: String,
    /// When the intent was written, just before the request left.
    pub started_at: Timestamp,
    /// Whether the call is under way or its outcome unknown.
    pub state: IntentState,
    /// Why the outcome is unknown, for people.
    pub reason: Option<String>,
    /// The run; `None` where an older version wrote the note.
    pub run: Option<Uuid>,
    /// What is held for it.
    pub usd: Usd,
    /// How much its request asks for.
    pub extent: Option<Extent>,
    /// Other runs of the same generation that the note stands for as well.
    pub beside: Vec<Stake>,
    /// The generation, where what is kept was passed by: the note is about its run alone, and has a key of
    /// that run's own, so that nobody who asks for the generation is asked about it.
    pub passed_by: Option<Fingerprint>,
}

impl Intent {
    /// The generation that its run is to make.
    pub fn generation(&self) -> Fingerprint {
        self.passed_by.unwrap_or(self.key)
    }

    /// What is held for the runs that the note stands for, itself first.
    pub fn stakes(&self) -> Vec<Stake> {
        let own = self.run.map(|run| Stake {
            run,
            client: self.client.clone(),
            usd: self.usd,
        });
        own.into_iter().chain(self.beside.iter().cloned()).collect()
    }
}

/// Money that is held for a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stake {
    /// The run.
    pub run: Uuid,
    /// Whose money it is.
    pub client: String,
    /// How much.
    pub usd: Usd,
}

/// What is known about a paid call without a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentState {
    /// The call is about to leave or has left. Found at start, it means a crash: unknown.
    Pending,
    /// The call may have been paid for; its answer is lost.
    Unknown,
}

impl IntentState {
    /// The word for listings and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

/// The value of a header: bytes, mostly text, but RFC 9110 §5.5 allows bytes over 0x7F.
///
/// In JSON a string when it is UTF-8, else `{"base64":"…"}`, so that every value comes back as
/// it was and a person can read nearly all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderBytes(Bytes);

impl HeaderBytes {
    /// Takes the bytes over without copying them.
    ///
    /// Bytes cut from a connection's read buffer keep that whole buffer alive: copy those with
    /// `HeaderBytes::from(&[u8])` instead.
    pub const fn from_shared(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as shared bytes, without a copy.
    pub fn to_shared(&self) -> Bytes {
        self.0.clone()
    }
}

impl From<&[u8]> for HeaderBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&str> for HeaderBytes {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

/// The two forms of a header value in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum HeaderForm {
    Text(String),
    Binary { base64: String },
}

impl Serialize for HeaderBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => HeaderForm::Binary {
                base64: base64_of(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        match HeaderForm::deserialize(deserializer)? {
            HeaderForm::Text(text) => Ok(Self(Bytes::from(text))),
            HeaderForm::Binary { base64 } => base64::engine::general_purpose::STANDARD
                .decode(base64)
                .map(|bytes| Self(Bytes::from(bytes)))
                .map_err(D::Error::custom),
        }
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
