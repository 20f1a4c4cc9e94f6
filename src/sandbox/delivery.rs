//! From an answer to bytes on the wire: pauses, gates and faults.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, unfold};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::answer::{Answer, Body, Event, Payload, Role};
use super::script::{Hold, Word};
use super::seen::Ticket;

/// How one answer goes out.
pub(super) struct Delivery {
    /// What goes wrong.
    pub(super) words: Vec<Word>,
    /// Gates that an event stream has to pass.
    pub(super) holds: Vec<Arc<Hold>>,
    /// Between two events.
    pub(super) gap: Duration,
    /// Only the head is wanted.
    pub(super) head_only: bool,
}

impl Delivery {
    /// Builds the response; `ticket` notices whether it is taken to its end.
    pub(super) fn pack(self, answer: Answer, ticket: Ticket) -> Response<Body> {
        let Answer {
            status,
            mut headers,
            payload,
        } = self.replaced(answer);
        if let Payload::Whole(bytes) = &payload
            && !status.is_informational()
            && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            && !headers.contains_key(CONTENT_LENGTH)
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let nothing = matches!(&payload, Payload::Whole(bytes) if bytes.is_empty());
        let left = if self.head_only || nothing {
            Some(0)
        } else {
            length
        };
        let body = if self.head_only {
            empty()
        } else {
            self.broken(self.body_of(payload))
        };
        let mut response = Response::new(Counted { body, left, ticket }.boxed_unsync());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn replaced(&self, answer: Answer) -> Answer {
        let instead = self.words.iter().find_map(|word| match word {
            Word::Answer {
                status,
                content_type,
                body,
                ..
            } => Some((status, content_type, body)),
            Word::CloseBeforeHead
            | Word::Reset
            | Word::StallAfter(_)
            | Word::CutAfter(_)
            | Word::WithoutDone
            | Word::ErrorEvent
            | Word::Delay(_) => None,
        });
        match instead {
            None => answer,
            Some((status, content_type, body)) => {
                let instead = Answer::empty(*status).carrying(Payload::Whole(body.clone()));
                if content_type.is_empty() {
                    instead
                } else {
                    instead.header(CONTENT_TYPE, content_type)
                }
            }
        }
    }

    fn body_of(&self, payload: Payload) -> Body {
        match payload {
            Payload::Whole(bytes) => Full::new(bytes).map_err(never).boxed_unsync(),
            Payload::Chunks(chunks) => {
                let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
                BodyExt::boxed_unsync(StreamBody::new(stream::iter(frames)))
            }
            Payload::Events(events) => self.paced(self.edited(events)),
            Payload::Live(body) => body,
        }
    }

    /// Takes the end marker away, or breaks the stream off with an error event.
    fn edited(&self, mut events: Vec<Event>) -> Vec<Event> {
        for word in &self.words {
            match word {
                Word::WithoutDone => events.retain(|event| event.role != Role::End),
                Word::ErrorEvent => {
                    let first = events.iter().position(|event| event.role == Role::Part);
                    events.truncate(first.map_or(0, |at| at + 1));
                    let error = json!({"message": "upstream broke off", "type": "upstream_error", "param": "", "code": "stream_error"});
                    let named = events.iter().any(|event| event.text.starts_with("event: "));
                    let name = if named { "event: error\n" } else { "" };
                    let text = format!(
                        "{name}data: {}\n\n",
                        json!({"type": "error", "error": error})
                    );
                    events.push(Event {
                        text,
                        role: Role::Part,
                    });
                }
                Word::CloseBeforeHead
                | Word::Reset
                | Word::StallAfter(_)
                | Word::CutAfter(_)
                | Word::Answer { .. }
                | Word::Delay(_) => {}
            }
        }
        events
    }

    /// One frame an event, with a pause before each but the first, stopping at the gates.
    fn paced(&self, events: Vec<Event>) -> Body {
        let queue: VecDeque<Event> = events.into();
        let (gap, holds) = (self.gap, self.holds.clone());
        let frames = unfold(
            (queue, holds, 0_usize),
            move |(mut queue, holds, sent)| async move {
                for hold in holds.iter().filter(|hold| hold.after_events == Some(sent)) {
                    hold.pass().await;
                }
                let event = queue.pop_front()?;
                if sent > 0 && !gap.is_zero() {
                    tokio::time::sleep(gap).await;
                }
                // A comment is nobody's nth event, and no gate stops twice at the same count.
                let mut holds = holds;
                holds.retain(|hold| hold.after_events != Some(sent));
                let sent = sent + usize::from(event.role != Role::Comment);
                Some((
                    Ok(Frame::data(Bytes::from(event.text))),
                    (queue, holds, sent),
                ))
            },
        );
        BodyExt::boxed_unsync(StreamBody::new(frames))
    }

    /// Stops or cuts the body where a fault says so.
    fn broken(&self, body: Body) -> Body {
        let breaks = self.words.iter().find_map(|word| match word {
            Word::StallAfter(bytes) => Some((*bytes, false)),
            Word::CutAfter(bytes) => Some((*bytes, true)),
            Word::CloseBeforeHead
            | Word::Reset
            | Word::Answer { .. }
            | Word::WithoutDone
            | Word::ErrorEvent
            | Word::Delay(_) => None,
        });
        match breaks {
            None => body,
            Some((left, cut)) => broken_after(body, left, cut),
        }
    }
}

/// Lets `left` bytes of `body` out and then nothing more; with `cut` the body then fails.
fn broken_after(body: Body, left: usize, cut: bool) -> Body {
    let frames = unfold(Some((body, left)), move |state| async move {
        let (mut body, left) = state?;
        let mut data = Bytes::new();
        while left > 0 && data.is_empty() {
            let Some(Ok(frame)) = body.frame().await else {
                break;
            };
            data = frame.into_data().unwrap_or_default();
        }
        if !data.is_empty() {
            data.truncate(left);
            let left = left - data.len();
            return Some((Ok(Frame::data(data)), Some((body, left))));
        }
        if !cut {
            std::future::pending::<()>().await;
        }
        // hyper drops what it has not written when a body fails; while this one is pending it flushes.
        tokio::time::sleep(Duration::from_millis(25)).await;
        Some((Err(io::Error::other("cut off by a fault")), None))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

fn never(never: Infallible) -> io::Error {
    match never {}
}

/// A body of no bytes.
pub(super) fn empty() -> Body {
    Empty::new().map_err(never).boxed_unsync()
}

/// Tells its ticket when the last byte was handed over.
struct Counted {
    body: Body,
    /// Bytes to go, where the head said how many there are.
    left: Option<u64>,
    ticket: Ticket,
}

impl Drop for Counted {
    fn drop(&mut self) {
        // An empty body may never be polled.
        if self.left == Some(0) {
            self.ticket.whole();
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.ticket.whole(),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(length));
            }
            Some(Err(_)) => self.left = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
