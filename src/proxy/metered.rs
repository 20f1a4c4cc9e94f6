//! What a generation has cost that is passed by: read from a copy of its answer, while that streams.
//!
//! Nothing of it is kept, and no note stands for it. Its line is durable before its last byte is handed on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::forward::LeftOpen;
use super::{Error, Proxy};
use crate::books::Stake;
use crate::generation::Kind;
use crate::generation::outcome::{self, Answer, BodySummary, Verdict};
use crate::message::{Body, BodyError, body, coding, headers};
use crate::price::Usage;
use crate::upstream::SendError;

/// So much of an answer is copied to read what was used, in bytes, and of its plain form. A longer one
/// is paid by the estimate.
const COPIED: usize = 1024 * 1024;
const PLAIN: u64 = 4 * 1024 * 1024;

impl Proxy {
    /// The same answer, which ends when what it has cost is booked.
    ///
    /// # Errors
    /// Those of `answer`.
    pub(super) async fn metered(
        &self,
        answer: Result<Response<Body>, Error>,
        stake: Stake,
        (kind, path): (Kind, String),
    ) -> Result<Response<Body>, Error> {
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // A request that its client did not send whole was aborted, and is none.
                match error {
                    Error::Unreachable(_) | Error::PassedThrough(SendError::Client(_)) => {
                        stake.failed();
                    }
                    _ => stake.unknown().await,
                }
                return Err(error);
            }
        };
        let left_open = answer.extensions_mut().remove::<LeftOpen>();
        if left_open.is_some() {
            stake.unknown().await;
            return Ok(answer);
        }
        if !answer.status().is_success() {
            stake.failed();
            return Ok(answer);
        }
        let meter = Meter {
            kind,
            path,
            status: answer.status(),
            headers: answer.headers().clone(),
            stake,
            copy: Some(Vec::new()),
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
    stake: Stake,
    /// What has arrived; `None` once that is too much.
    copy: Option<Vec<u8>>,
}

impl Meter {
    fn take_in(&mut self, piece: &[u8]) {
        let Some(copy) = &mut self.copy else {
            return;
        };
        if copy.len() + piece.len() > COPIED {
            self.copy = None;
        } else {
            copy.extend_from_slice(piece);
        }
    }

    /// The answer is whole.
    async fn book(self) {
        let copy = self.copy.as_ref().map(|copy| Bytes::from(copy.clone()));
        let plain = copy.and_then(|copy| coding::plain(&self.headers, &copy, PLAIN));
        let usage = plain.as_ref().map(|plain| Usage::read(self.kind, plain));
        match plain
            .as_ref()
            .map_or(Verdict::Success, |plain| self.judge(plain))
        {
            Verdict::Success => {
                let usage = Usage {
                    failed: false,
                    ..usage.unwrap_or_default()
                };
                let usd = self.stake.cost(&usage);
                if let Err(error) = self.stake.paid(usd).await {
                    tracing::error!(%error, "a generation that was paid for is not booked yet; its line waits for the disk");
                }
            }
            Verdict::Failed(_) => self.stake.failed(),
            Verdict::Unknown(_) => self.stake.unknown().await,
        }
    }

    /// A stream that has come to its end without breaking off is taken for one that was paid for.
    fn judge(&self, plain: &[u8]) -> Verdict {
        let content_type = headers::text(&self.headers, "content-type");
        let streams = content_type.is_some_and(|text| text.starts_with("text/event-stream"));
        if streams {
            return Verdict::Success;
        }
        let answer = Answer {
            status: self.status,
            content_type,
            body: BodySummary::Whole(plain),
        };
        outcome::judge(self.kind, &self.path, &answer)
    }

    /// The answer broke off.
    async fn doubt(self) {
        self.stake.unknown().await;
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
            let more = matches!(piece, Some(Ok(_)))
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
