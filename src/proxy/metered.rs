//! What a generation has cost that is passed by: read from a copy of its answer, while that streams.
//!
//! Nothing of it is kept. Its line is durable before its last byte is handed on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::answered::Doubtful;
use super::passage::Passage;
use super::verdict::{AT_ONCE, apart};
use super::{Error, Proxy};
use crate::generation::Kind;
use crate::generation::events::EventScanner;
use crate::generation::outcome::{self, Answer, BodySummary, Verdict};
use crate::message::{Body, BodyError, body, coding, headers};
use crate::price::Usage;
use crate::upstream::SendError;

/// So much of an answer is copied to read what was used, in bytes, and of its plain form. A longer one
/// is paid by the estimate, but for an event stream, whose last events say it: of that so much more is
/// kept of its end.
const COPIED: usize = 1024 * 1024;
const LAST: usize = 64 * 1024;
const PLAIN: u64 = 4 * 1024 * 1024;

impl Proxy {
    /// The same answer, which ends when what it has cost is booked.
    ///
    /// # Errors
    /// Those of `answer`.
    pub(super) async fn metered(
        &self,
        answer: Result<Response<Body>, Error>,
        passage: Passage,
        (kind, path): (Kind, String),
    ) -> Result<Response<Body>, Error> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // A request that its client did not send whole was aborted, and is none.
                match &error {
                    Error::Unreachable(_) | Error::PassedThrough(SendError::Client(_)) => {
                        passage.failed().await;
                    }
                    _ => passage.unknown(error.to_string()).await,
                }
                return Err(error);
            }
        };
        if answer.extensions().get::<Doubtful>().is_some() {
            let status = answer.status();
            passage.unknown(format!("upstream answered {status}")).await;
            return Ok(answer);
        }
        if !answer.status().is_success() {
            passage.failed().await;
            return Ok(answer);
        }
        let meter = Meter {
            kind,
            status: answer.status(),
            headers: answer.headers().clone(),
            passage,
            copy: Some(Vec::new()),
            last: Vec::new(),
            cut: false,
            events: events(&answer, &path),
            path,
        };
        if answer.body().is_end_stream() {
            meter.book().await;
            return Ok(answer);
        }
        let tasks = self.tasks.clone();
        Ok(answer.map(|body| {
            body::boxed(Metered {
                body,
                tasks,
                stage: Stage::Passing(Box::new(meter)),
            })
        }))
    }
}

/// What is needed to say what an answer has cost.
struct Meter {
    kind: Kind,
    path: String,
    status: StatusCode,
    headers: HeaderMap,
    passage: Passage,
    /// What has arrived; `None` once that is too much.
    copy: Option<Vec<u8>>,
    /// Of an event stream: what followed that, as far as it is kept.
    last: Vec<u8>,
    /// Something is missing between the two.
    cut: bool,
    /// Of an event stream: how far it is.
    events: Option<Box<EventScanner>>,
}

fn events(answer: &Response<Body>, path: &str) -> Option<Box<EventScanner>> {
    let content_type = headers::text(answer.headers(), "content-type")?;
    let plain = !answer.headers().contains_key(header::CONTENT_ENCODING);
    let streams = plain && content_type.starts_with("text/event-stream");
    streams.then(|| Box::new(EventScanner::new(path)))
}

/// Whether a type says that it is no text at all.
fn is_binary(content_type: &str) -> bool {
    let beginnings = ["audio/", "image/", "video/", "application/octet-stream"];
    beginnings
        .iter()
        .any(|beginning| content_type.starts_with(beginning))
}

impl Meter {
    fn take_in(&mut self, piece: &[u8]) {
        if let Some(events) = &mut self.events {
            events.push(piece);
        }
        let Some(copy) = &mut self.copy else {
            return;
        };
        let (first, rest) = piece.split_at(piece.len().min(COPIED - copy.len()));
        copy.extend_from_slice(first);
        if rest.is_empty() {
            return;
        }
        if self.events.is_none() {
            self.copy = None;
            return;
        }
        self.last.extend_from_slice(rest);
        // Not with every piece: what is moved is no more than has come.
        if self.last.len() > 2 * LAST {
            self.last.drain(..self.last.len() - LAST);
            self.cut = true;
        }
    }

    /// What was copied, in one. Where something is missing, no event goes over the gap.
    fn copied(&mut self) -> Option<Bytes> {
        let mut copy = self.copy.take()?;
        let mut last = self.last.as_slice();
        if self.cut {
            let line = memchr::memchr(b'\n', last).map_or(last.len(), |end| end + 1);
            last = last.get(line..).unwrap_or_default();
            copy.extend_from_slice(b"\n\n");
        }
        copy.extend_from_slice(last);
        Some(copy.into())
    }

    /// The event that ends the stream is here: its client may leave without waiting for the end of the
    /// body.
    fn has_ended(&self) -> bool {
        // Of several pictures each comes with an event that could be the last.
        self.events.as_ref().is_some_and(|events| events.is_over())
    }

    /// The answer is whole.
    async fn book(mut self) {
        let copy = self.copied();
        let len = copy.as_ref().map_or(0, |copy| copy.len() as u64);
        let read = apart(len > AT_ONCE, move || self.read(copy)).await;
        let Ok((meter, verdict, usage)) = read else {
            // It ended in a panic, and its outcome is in doubt.
            return;
        };
        meter.close(verdict, usage).await;
    }

    /// What an answer says.
    fn read(self, copy: Option<Bytes>) -> (Self, Verdict, Usage) {
        let plain = copy.and_then(|copy| coding::plain(&self.headers, &copy, PLAIN));
        let usage = plain.as_ref().map(|plain| Usage::read(self.kind, plain));
        let mut usage = usage.unwrap_or_default();
        usage.failed = false;
        if self.cut {
            // There may have been more of them.
            usage.images = None;
            usage.text = None;
        }
        let verdict = self.judge(plain.as_ref());
        (self, verdict, usage)
    }

    async fn close(self, verdict: Verdict, usage: Usage) {
        match verdict {
            Verdict::Success => {
                let usd = self.passage.cost(&usage);
                self.passage.paid(usd).await;
            }
            Verdict::Failed(_) => self.passage.failed().await,
            Verdict::Unknown(reason) => self.passage.unknown(reason.as_str()).await,
        }
    }

    /// What cannot be read back is taken for what its status says.
    fn judge(&self, plain: Option<&Bytes>) -> Verdict {
        let content_type = headers::text(&self.headers, "content-type");
        let body = match (&self.events, plain) {
            (Some(events), _) => BodySummary::Stream(events.end()),
            (None, Some(plain)) if content_type.is_some_and(is_binary) => {
                BodySummary::Opaque(plain.len() as u64)
            }
            (None, Some(plain)) => BodySummary::Whole(plain),
            (None, None) => return Verdict::Success,
        };
        let answer = Answer {
            status: self.status,
            content_type,
            body,
        };
        outcome::judge(self.kind, &self.path, &answer)
    }

    /// The answer broke off.
    async fn doubt(self) {
        self.passage.unknown("its answer broke off").await;
    }
}

/// A body that is metered while it passes. One that is dropped before its end leaves its outcome unknown.
struct Metered {
    body: Body,
    tasks: TaskTracker,
    stage: Stage,
}

type Piece = Option<Result<Frame<Bytes>, BodyError>>;

enum Stage {
    Passing(Box<Meter>),
    /// The last piece waits until what it has cost is booked.
    Booking(JoinHandle<()>, Piece),
    /// Nothing is left but what has no bytes.
    Booked,
}

impl Metered {
    /// What is left to do when `piece` is the last one that matters.
    fn end(&mut self, piece: Piece) {
        let Stage::Passing(meter) = std::mem::replace(&mut self.stage, Stage::Booked) else {
            return;
        };
        let whole = !matches!(piece, Some(Err(_)));
        let booking = self.tasks.spawn(async move {
            if whole {
                meter.book().await;
            } else {
                meter.doubt().await;
            }
        });
        self.stage = Stage::Booking(booking, piece);
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Piece> {
        loop {
            match &mut self.stage {
                Stage::Booking(booking, piece) => {
                    // It only fails by a panic, which is reported by itself.
                    let _ = ready!(Pin::new(booking).poll(context));
                    let piece = piece.take();
                    self.stage = Stage::Booked;
                    return Poll::Ready(piece);
                }
                Stage::Booked => return Pin::new(&mut self.body).poll_frame(context),
                Stage::Passing(_) => {}
            }
            let piece = ready!(Pin::new(&mut self.body).poll_frame(context));
            let data = piece
                .as_ref()
                .and_then(|piece| piece.as_ref().ok()?.data_ref());
            if let (Stage::Passing(meter), Some(data)) = (&mut self.stage, data) {
                meter.take_in(data);
            }
            let ended = matches!(&self.stage, Stage::Passing(meter) if meter.has_ended());
            let more = matches!(piece, Some(Ok(_)))
                && !ended
                && !self.body.is_end_stream()
                && self.body.size_hint().exact() != Some(0);
            if more {
                return Poll::Ready(piece);
            }
            self.end(piece);
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Booked) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stage {
            // The piece that waits is counted by nobody else.
            Stage::Booking(..) => SizeHint::default(),
            Stage::Passing(_) | Stage::Booked => self.body.size_hint(),
        }
    }
}
