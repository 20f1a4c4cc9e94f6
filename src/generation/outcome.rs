//! Whether an answer is worth keeping.

use http::StatusCode;
use serde_json::value::RawValue;

use super::events::{EventScanner, StreamEnd};
use super::state::State;
use super::{Kind, task, top};

/// The end of a paid call, as its answer tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Complete and good: it is kept.
    Success,
    /// Upstream said no, or made nothing of use: it is not kept, and the next identical request
    /// runs.
    Failed(Reason),
    /// Something may have been made and charged without our learning of it.
    Unknown(Reason),
}

/// Why an answer is no success. As text, a word for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The HTTP status is not one of success.
    Status,
    /// The HTTP status, or the code of a 500, says that the gateway lost sight of its upstream.
    GatewayStatus,
    /// The body is empty.
    Empty,
    /// The body should be JSON and is not, or is cut off.
    NotJson,
    /// There is an `error` that is not null, or an event that tells of one.
    ErrorObject,
    /// The body says `success: false`, or its code is not `success`.
    NotSuccess,
    /// The status word in the body is one of failure.
    FailureStatus,
    /// The body says that the work still goes on (a response in the background).
    Unfinished,
    /// The answer to a submitted video names no job.
    NoTask,
    /// The answer holds no image.
    NoImages,
    /// The event stream stopped before its end marker.
    NoEndMarker,
}

impl Reason {
    /// The word for this reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::GatewayStatus => "gateway-status",
            Self::Empty => "empty",
            Self::NotJson => "not-json",
            Self::ErrorObject => "error-object",
            Self::NotSuccess => "not-success",
            Self::FailureStatus => "failure-status",
            Self::Unfinished => "unfinished",
            Self::NoTask => "no-task",
            Self::NoImages => "no-images",
            Self::NoEndMarker => "no-end-marker",
        }
    }
}

/// An answer that arrived to its last byte.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its HTTP status.
    pub status: StatusCode,
    /// Its `Content-Type`, as it came.
    pub content_type: Option<&'a str>,
    /// Its body, as far as it was looked at.
    pub body: BodySummary<'a>,
}

/// A body as far as it is known at its end.
#[derive(Clone, Copy, Debug)]
pub enum BodySummary<'a> {
    /// Every byte. Needed of JSON, and of every answer that is not 2xx.
    Whole(&'a [u8]),
    /// An event stream that a scanner followed.
    Stream(StreamEnd),
    /// A binary body that is not looked into, by its length in bytes.
    Opaque(u64),
}

/// Does an unknown outcome of this kind of call have to be remembered? Where it does not, the call
/// counts as failed.
pub fn unknown_matters(kind: Kind) -> bool {
    match kind {
        Kind::Video | Kind::Images | Kind::Audio => true,
        Kind::Embeddings | Kind::Chat => false,
    }
}

/// Judges the answer to a generation of `kind` on `path`.
///
/// MONEY: what is no success is not paid for, and runs again. Hence on a dear kind an answer that
/// says 2xx but cannot be read is not a failure: the run it stands for probably happened.
pub fn judge(kind: Kind, path: &str, answer: &Answer<'_>) -> Verdict {
    // A part of an answer (206) is no answer that suits every client.
    if !answer.status.is_success() || answer.status == StatusCode::PARTIAL_CONTENT {
        return refused(kind, answer);
    }
    let format = Format::of(answer.content_type);
    match answer.body {
        BodySummary::Whole([]) | BodySummary::Opaque(0) => Verdict::Failed(Reason::Empty),
        BodySummary::Stream(end) => stream(kind, end),
        BodySummary::Whole(body) if format == Format::Events => {
            let mut scanner = EventScanner::new(path);
            scanner.push(body);
            stream(kind, scanner.end())
        }
        BodySummary::Whole(body) => whole(kind, format, body),
        BodySummary::Opaque(_) if may_be_opaque(kind, format) => Verdict::Success,
        BodySummary::Opaque(_) => unreadable(kind, Reason::NotJson),
    }
}

/// What a content type promises.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Events,
    /// A page for people: no API answers with one.
    Page,
    Image,
    Other,
}

impl Format {
    fn of(content_type: Option<&str>) -> Self {
        let essence = content_type.unwrap_or_default().split(';').next();
        let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Self::Json,
            "text/event-stream" => Self::Events,
            "text/html" => Self::Page,
            other if other.ends_with("+json") => Self::Json,
            other if other.starts_with("image/") => Self::Image,
            _ => Self::Other,
        }
    }
}

/// An answer that is not 2xx.
fn refused(kind: Kind, answer: &Answer<'_>) -> Verdict {
    let lost = match answer.status.as_u16() {
        408 | 502 | 504 | 524 => true,
        500 => match answer.body {
            BodySummary::Whole(body) => tells_of_lost_upstream(body),
            BodySummary::Stream(_) | BodySummary::Opaque(_) => false,
        },
        _ => false,
    };
    if lost && unknown_matters(kind) {
        Verdict::Unknown(Reason::GatewayStatus)
    } else {
        Verdict::Failed(Reason::Status)
    }
}

/// Does a 500 say that the gateway sent the request on and did not understand, or did not get, the
/// answer? Its `code` stands at the top or in `error`.
fn tells_of_lost_upstream(body: &[u8]) -> bool {
    let Some([code, error]) = top::members(body, ["code", "error"]) else {
        return false;
    };
    let inner = error.and_then(|error| {
        let [code] = top::members(error.get().as_bytes(), ["code"])?;
        code
    });
    [code, inner].into_iter().flatten().any(|code| {
        matches!(
            top::text(code).as_deref(),
            Some(
                "do_request_failed"
                    | "read_response_body_failed"
                    | "unmarshal_response_body_failed"
                    | "invalid_response"
            )
        )
    })
}

fn stream(kind: Kind, end: StreamEnd) -> Verdict {
    match end {
        StreamEnd::Complete => Verdict::Success,
        StreamEnd::Incomplete => unreadable(kind, Reason::NoEndMarker),
        StreamEnd::Error => Verdict::Failed(Reason::ErrorObject),
    }
}

/// Is a body of this kind and format good without being JSON?
fn may_be_opaque(kind: Kind, format: Format) -> bool {
    match (kind, format) {
        (Kind::Audio, Format::Other | Format::Image) | (Kind::Images, Format::Image) => true,
        (Kind::Audio, Format::Json | Format::Events | Format::Page)
        | (Kind::Images, Format::Json | Format::Events | Format::Page | Format::Other)
        | (Kind::Video | Kind::Embeddings | Kind::Chat, _) => false,
    }
}

/// A 2xx answer that says neither yes nor no.
fn unreadable(kind: Kind, reason: Reason) -> Verdict {
    if unknown_matters(kind) {
        Verdict::Unknown(reason)
    } else {
        Verdict::Failed(reason)
    }
}

fn whole(kind: Kind, format: Format, body: &[u8]) -> Verdict {
    let names = ["error", "success", "status", "data"];
    let Some([error, success, status, data]) = top::members(body, names) else {
        return if may_be_opaque(kind, format) {
            Verdict::Success
        } else {
            not_an_object(kind, body)
        };
    };
    if error.is_some_and(top::is_set) {
        return Verdict::Failed(Reason::ErrorObject);
    }
    if success.is_some_and(|success| success.get() == "false") {
        return Verdict::Failed(Reason::NotSuccess);
    }
    let state = status
        .and_then(top::text)
        .map(|word| State::from_word(&word));
    if state.is_some_and(State::is_failure) {
        return Verdict::Failed(Reason::FailureStatus);
    }
    match kind {
        Kind::Video => submitted(body),
        // Another shape than OpenAI's may hold images all the same; an empty list holds none.
        Kind::Images if data.is_some_and(holds_nothing) => Verdict::Failed(Reason::NoImages),
        // A response in the background is answered before it is made, and may still fail.
        Kind::Chat if matches!(state, Some(State::Waiting | State::Working)) => {
            Verdict::Failed(Reason::Unfinished)
        }
        Kind::Images | Kind::Audio | Kind::Embeddings | Kind::Chat => Verdict::Success,
    }
}

/// A body that is JSON but no object, or no JSON.
fn not_an_object(kind: Kind, body: &[u8]) -> Verdict {
    let is_json = serde_json::from_slice::<&RawValue>(body).is_ok();
    match kind {
        Kind::Video if is_json => Verdict::Failed(Reason::NoTask),
        Kind::Images if is_json => Verdict::Failed(Reason::NoImages),
        // A bare list of vectors, or of words.
        Kind::Embeddings | Kind::Audio if is_json => Verdict::Success,
        Kind::Video | Kind::Images | Kind::Audio | Kind::Embeddings | Kind::Chat => {
            unreadable(kind, Reason::NotJson)
        }
    }
}

fn submitted(body: &[u8]) -> Verdict {
    let Ok(answer) = serde_json::from_slice(body) else {
        return Verdict::Unknown(Reason::NotJson);
    };
    if task::accepted(&answer).is_some() {
        Verdict::Success
    } else if task::state(&answer).is_some_and(State::is_failure) {
        Verdict::Failed(Reason::FailureStatus)
    } else if task::is_refusal(&answer) {
        Verdict::Failed(Reason::NotSuccess)
    } else if matches!(task::state(&answer), Some(State::Waiting | State::Working)) {
        // A job has begun, in a shape that does not tell us which.
        Verdict::Unknown(Reason::NoTask)
    } else {
        Verdict::Failed(Reason::NoTask)
    }
}

/// Is `data` an empty list, or null?
fn holds_nothing(data: &RawValue) -> bool {
    !top::is_set(data)
        || serde_json::from_str::<Vec<&RawValue>>(data.get()).is_ok_and(|items| items.is_empty())
}

#[cfg(test)]
mod tests;
