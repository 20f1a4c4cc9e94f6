//! What an answer that has arrived says about its run.
//!
//! A large one is read on a thread that may take its time, so that nobody else's answer waits
//! meanwhile.

use bytes::Bytes;
use http::StatusCode;

use super::bodies::Bodies;
use super::lead::Run;
use super::record::Showing;
use crate::generation::Kind;
use crate::generation::events::StreamEnd;
use crate::generation::outcome::{self, Answer, BodySummary, Verdict};
use crate::jobs::dialect;
use crate::message::headers;
use crate::once::{Live, Recorder};

/// The largest JSON answer that is read to judge it.
pub(super) const LARGEST_JUDGED: u64 = 128 * 1024 * 1024;

/// So much of an answer, in bytes, is read where it arrives.
pub(super) const AT_ONCE: u64 = 64 * 1024;

/// What the answer says about the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It ran, and the answer is complete.
    Success,
    /// It did not run, or ended without a result that anybody pays for.
    Refused,
    /// A whole answer that leaves it open: why.
    Unknown(String),
    /// An answer that broke off after the run was accepted: how.
    Cut(String),
}

/// The verdict about an answer that has arrived, and the id of the job that was submitted, if one was.
pub(super) async fn judge(
    (run, bodies): (&Run, &Bodies),
    answer: &Live,
    (recorder, showing): (&Recorder, &Showing),
) -> (Judged, Option<String>) {
    let len = recorder.recording().len();
    let _room = match showing {
        Showing::Whole if len <= LARGEST_JUDGED => bodies.judging(len).await,
        Showing::Whole | Showing::AllButLast | Showing::Events(_) => None,
    };
    let unread = |error: String| Judged::Unknown(format!("it cannot be read back: {error}"));
    let seen = match showing {
        Showing::Events(scanner) => Seen::Stream(scanner.end()),
        Showing::AllButLast => Seen::Opaque(len),
        Showing::Whole => match recorder.whole(LARGEST_JUDGED).await {
            Ok(Some(bytes)) => Seen::Whole(bytes),
            Ok(None) => Seen::Opaque(len),
            Err(error) => return (unread(error.to_string()), None),
        },
    };
    let large = matches!(&seen, Seen::Whole(bytes) if bytes.len() as u64 > AT_ONCE);
    let judging = Judging {
        kind: run.kind,
        path: run.path.clone(),
        status: answer.status,
        content_type: headers::text(&answer.headers, "content-type").map(str::to_owned),
        seen,
    };
    match apart(large, move || judging.verdict()).await {
        Ok(verdict) => verdict,
        Err(error) => (unread(error), None),
    }
}

/// An answer and what is needed to judge it, for whichever thread does.
struct Judging {
    kind: Kind,
    path: String,
    status: StatusCode,
    content_type: Option<String>,
    seen: Seen,
}

/// What was seen of an answer's body.
enum Seen {
    Whole(Bytes),
    Stream(StreamEnd),
    Opaque(u64),
}

impl Judging {
    fn verdict(&self) -> (Judged, Option<String>) {
        let (body, task) = match &self.seen {
            Seen::Whole(bytes) if self.kind == Kind::Video => {
                (BodySummary::Whole(bytes), dialect::read_submit(bytes))
            }
            Seen::Whole(bytes) => (BodySummary::Whole(bytes), None),
            Seen::Stream(end) => (BodySummary::Stream(*end), None),
            Seen::Opaque(len) => (BodySummary::Opaque(*len), None),
        };
        let answer = Answer {
            status: self.status,
            content_type: self.content_type.as_deref(),
            body,
        };
        let judged = match outcome::judge(self.kind, &self.path, &answer) {
            Verdict::Success => Judged::Success,
            Verdict::Failed(_) => Judged::Refused,
            Verdict::Unknown(reason) => Judged::Unknown(reason.as_str().to_owned()),
        };
        (judged, task)
    }
}

/// Does work on a thread that may take its time, where that is needed.
pub(super) async fn apart<T: Send + 'static>(
    needed: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    if !needed {
        return Ok(work());
    }
    let working = tokio::task::spawn_blocking(work);
    working.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_its_time_is_done_elsewhere() {
        let here = std::thread::current().id();
        let where_done = |needed| apart(needed, || std::thread::current().id());
        assert_eq!(where_done(false).await, Ok(here));
        assert_ne!(where_done(true).await, Ok(here));
    }
}
