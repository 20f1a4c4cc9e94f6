//! A request's body on its way to upstream, and whose turn it is.
//!
//! The time for an answer begins with the last byte of the request. Before it, whoever is to move
//! has its own limit: a client that falls silent ends its body with an error, an upstream that takes
//! nothing is found out here.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::SendError;
use super::go_ahead::{GoAhead, Pause};
use super::link::Link;
use crate::message::{Body, BodyError, causes, headers};

/// The largest piece that is handed over at once: 64 KiB. What is handed over counts as taken.
const PIECE: usize = 64 * 1024;

/// The body as the connection to upstream gets it.
pub(super) struct Upload {
    way: Arc<Way>,
    /// Before the first piece.
    pause: Option<Pause>,
}

/// The same body as it is watched. Dropped, it ends an upload that is still under way: the answer is
/// complete then, or nobody waits for it.
pub(super) struct Watch {
    way: Arc<Way>,
    link: Option<Link>,
    go_ahead: GoAhead,
}

/// How long upstream may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the last byte of the request to the head of its answer.
    pub(super) answer: Duration,
    /// Between two pieces of the request.
    pub(super) piece: Duration,
    /// The body waits for upstream's 100; that is neither side's time.
    pub(super) expects_100: bool,
}

struct Way {
    state: Mutex<State>,
    over: Notify,
    /// When the client's next piece came while nobody was asking for it. Beside the state, since a
    /// body may wake its reader while it is read.
    came: Mutex<Option<Instant>>,
}

/// Notes that the client has moved, and wakes the connection to upstream.
struct Came {
    way: Arc<Way>,
    connection: Waker,
}

impl Wake for Came {
    fn wake(self: Arc<Self>) {
        self.way.came().get_or_insert_with(Instant::now);
        self.connection.wake_by_ref();
    }
}

struct State {
    /// `None` once it is over, or given up.
    body: Option<Body>,
    /// What has come of it and was not handed over.
    rest: Bytes,
    turn: Turn,
    waker: Option<Waker>,
}

/// Who is to move, and since when.
enum Turn {
    /// Nothing was asked for: there is no connection yet.
    Unasked(Instant),
    Client,
    Upstream(Instant),
    /// All of it was taken.
    Over(Instant),
    /// The client broke off: how.
    Broken(String),
    /// Nobody wants the rest.
    GivenUp,
}

/// Two ends of the same body. If `pauses`, it is asked for when the watch says so, or after a second.
pub(super) fn watched(body: Body, pauses: bool) -> (Upload, Watch) {
    let now = Instant::now();
    let go_ahead = GoAhead::default();
    let pause = (pauses && !body.is_end_stream()).then(|| Pause::until(go_ahead.clone()));
    let turn = if body.is_end_stream() {
        Turn::Over(now)
    } else {
        Turn::Unasked(now)
    };
    let way = Arc::new(Way {
        state: Mutex::new(State {
            body: Some(body),
            rest: Bytes::new(),
            turn,
            waker: None,
        }),
        over: Notify::new(),
        came: Mutex::new(None),
    });
    let watch = Watch {
        way: way.clone(),
        link: None,
        go_ahead,
    };
    (Upload { way, pause }, watch)
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came(&self) -> MutexGuard<'_, Option<Instant>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is to move, since when, for how long at most, and what it is when that is over.
    fn due(&self, limits: Limits) -> (Instant, Duration, SendError) {
        let stalled = SendError::Stalled(limits.piece);
        match (&self.state().turn, &*self.came()) {
            (Turn::Unasked(at) | Turn::Over(at), _) => {
                (*at, limits.answer, SendError::TimedOut(limits.answer))
            }
            (Turn::Upstream(at), _) | (Turn::Client, Some(at)) => (*at, limits.piece, stalled),
            (Turn::Client | Turn::Broken(_) | Turn::GivenUp, _) => {
                (Instant::now(), limits.piece, stalled)
            }
        }
    }

    fn end(&self, state: &mut State) {
        if !matches!(state.turn, Turn::Over(_) | Turn::Broken(_) | Turn::GivenUp) {
            state.turn = Turn::Over(Instant::now());
            self.over.notify_one();
        }
    }
}

impl Watch {
    /// The connection that the upload goes over, to be ended with it.
    pub(super) fn over(&mut self, link: Option<Link>) {
        self.link = link;
    }

    /// Whether nothing more of the request is to be sent.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.way.state().turn, Turn::Over(_))
    }

    /// What ends the pause before the first piece.
    pub(super) fn go_ahead(&self) -> GoAhead {
        self.go_ahead.clone()
    }

    /// How the client broke off, if it did.
    pub(super) fn broken(&self) -> Option<String> {
        match &self.way.state().turn {
            Turn::Broken(how) => Some(how.clone()),
            Turn::Unasked(_) | Turn::Client | Turn::Upstream(_) | Turn::Over(_) | Turn::GivenUp => {
                None
            }
        }
    }

    /// Ready once upstream took too long over the request or over its answer.
    pub(super) async fn overdue(&self, limits: Limits) -> SendError {
        loop {
            let (since, limit, late) = self.way.due(limits);
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return late;
            }
            // Nobody says when it is another's turn; this is early enough to see it.
            tokio::select! {
                () = tokio::time::sleep(left.min(limits.piece)) => {}
                () = self.way.over.notified() => {}
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.way.state();
        if matches!(state.turn, Turn::Over(_) | Turn::Broken(_)) {
            return;
        }
        state.turn = Turn::GivenUp;
        // The client's connection learns by this that the rest is not wanted.
        let body = state.body.take();
        let waker = state.waker.take();
        drop(state);
        drop(body);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.go_ahead.give();
        if let Some(link) = &self.link {
            link.cut();
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut state = self.way.state();
        let body = state.body.take();
        self.way.end(&mut state);
        drop(state);
        drop(body);
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll(context));
            self.pause = None;
        }
        *self.way.came() = None;
        let mut state = self.way.state();
        let came = Came {
            way: self.way.clone(),
            connection: context.waker().clone(),
        };
        let waker = Waker::from(Arc::new(came));
        let Poll::Ready(piece) = state.poll(&mut Context::from_waker(&waker)) else {
            state.turn = Turn::Client;
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        match &piece {
            Some(Ok(_)) if !state.is_whole() => state.turn = Turn::Upstream(Instant::now()),
            Some(Ok(_)) | None => self.way.end(&mut state),
            Some(Err(error)) if state.body.is_some() => state.turn = Turn::Broken(causes(&**error)),
            Some(Err(_)) => {}
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.way.state().is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.way.state();
        let to_come = state
            .body
            .as_ref()
            .and_then(|body| body.size_hint().exact());
        to_come.map_or_else(SizeHint::default, |to_come| {
            SizeHint::with_exact(to_come + state.rest.len() as u64)
        })
    }
}

impl State {
    /// Whether all of it was handed over.
    fn is_whole(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if !self.rest.is_empty() {
                let length = self.rest.len().min(PIECE);
                return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))));
            }
            let Some(body) = &mut self.body else {
                let error = "the rest of the request is not wanted any more";
                return Poll::Ready(Some(Err(error.into())));
            };
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => {
                        if let Some(trailers) = sendable(other) {
                            return Poll::Ready(Some(Ok(trailers)));
                        }
                    }
                },
                end @ (Some(Err(_)) | None) => return Poll::Ready(end),
            }
        }
    }
}

/// SECURITY: what may not be a trailer, credentials first, does not become one behind our back.
/// `None` when nothing is left.
fn sendable(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::remove_misplaced(&mut trailers);
            (!trailers.is_empty()).then(|| Frame::trailers(trailers))
        }
        Err(data) => Some(data),
    }
}
