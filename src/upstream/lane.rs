//! One HTTP/1.1 connection to upstream, moved on by whoever uses it.
//!
//! hyper gives a connection as two halves: one that takes requests, and a future that reads and
//! writes. That future is usually a task of its own, and then every answer, and every piece of a
//! stream, is handed from one task to another. Here it is polled where the answer is waited for: what
//! has arrived is there at once, and no thread wakes another one for it.
//!
//! An answer's body is [`Carried`] with its connection, which goes back to the [`IdleLanes`] when all
//! of the body was read. Dropped before, it closes the connection.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use http_body::{Body as _, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use tokio::time::Instant;

use super::MOST_HEADERS;
use super::connect::Stream;
use super::idle::IdleLanes;
use super::link::Link;

use super::upload::Upload;

/// A connection that nobody else uses.
pub(super) struct Lane {
    requests: SendRequest<Upload>,
    /// `None` once it has ended. What it ends with is told to whoever waits for an answer.
    wire: Option<Box<Connection<Stream, Upload>>>,
    link: Link,
    /// Where its socket is watched.
    home: ThreadId,
    rests: Instant,
}

/// An answer's body, and the connection that it comes over.
pub(super) struct Carried {
    body: Incoming,
    /// `None` once it went back, has a task of its own, or never was ours to move on.
    lane: Option<(Lane, Option<IdleLanes>)>,
}

impl Lane {
    /// Speaks HTTP/1.1 on a new connection; nothing is written yet.
    pub(super) async fn open(stream: Stream, link: Link) -> hyper::Result<Self> {
        let mut protocol = Builder::new();
        protocol
            .preserve_header_case(true)
            .max_headers(MOST_HEADERS);
        let (requests, wire) = protocol.handshake(stream).await?;
        Ok(Self {
            requests,
            wire: Some(Box::new(wire)),
            link,
            home: thread::current().id(),
            rests: Instant::now(),
        })
    }

    /// Sends a request whose answer may be 101: the connection is left to whoever takes it then.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) async fn leave(
        mut self,
        request: Request<Upload>,
    ) -> Result<Response<Carried>, TrySendError<Request<Upload>>> {
        if let Some(wire) = self.wire.take() {
            tokio::spawn(wire.with_upgrades());
        }
        let answer = self.requests.try_send_request(request).await?;
        Ok(answer.map(Carried::alone))
    }

    /// What is known of the connection.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The thread that hears of its socket first.
    pub(super) fn home(&self) -> ThreadId {
        self.home
    }

    /// Sends a request, and waits for the head of its answer. With `idle` the connection is used again.
    ///
    /// # Errors
    /// With the request itself as long as nothing of it can have been written.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn ask(
        mut self,
        request: Request<Upload>,
        idle: Option<IdleLanes>,
    ) -> Result<Response<Carried>, TrySendError<Request<Upload>>> {
        let mut answer = std::pin::pin!(self.requests.try_send_request(request));
        let answer = std::future::poll_fn(|context| {
            // Nothing is there before the connection was moved on.
            self.drive(context);
            answer.as_mut().poll(context)
        });
        let answer = answer.await?;
        Ok(answer.map(|body| Carried::over(body, self, idle)))
    }

    /// Reads and writes what can be read and written.
    fn drive(&mut self, context: &mut Context<'_>) {
        let Some(wire) = &mut self.wire else { return };
        if Pin::new(wire.as_mut()).poll(context).is_ready() {
            self.wire = None;
        }
    }

    /// Whether another request can be sent on it, now that nothing is under way. Its socket wakes
    /// nobody any more.
    pub(super) fn is_free(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.wire.is_some() && self.requests.is_ready()
    }

    /// Lets what is under way come to its end, and the connection with it: it takes nothing more.
    fn end_apart(self) {
        let Self { requests, wire, .. } = self;
        // hyper ends a connection that nobody can send on.
        drop(requests);
        if let Some(wire) = wire {
            tokio::spawn(wire);
        }
    }

    /// Notes that it is not in use from now on.
    pub(super) fn rest(&mut self) {
        self.rests = Instant::now();
    }

    /// How long it has not been in use.
    pub(super) fn resting(&self) -> Duration {
        self.rests.elapsed()
    }
}

impl Carried {
    /// The body of an answer whose connection has a task of its own.
    pub(super) fn alone(body: Incoming) -> Self {
        Self { body, lane: None }
    }

    fn over(body: Incoming, lane: Lane, idle: Option<IdleLanes>) -> Self {
        let lane = Some((lane, idle));
        let mut carried = Self { body, lane };
        carried.settle();
        carried
    }

    /// Gives the connection a task: it has to go on with its request also while nobody reads the
    /// answer.
    pub(super) fn go_apart(&mut self) {
        if let Some((lane, _)) = self.lane.take() {
            lane.end_apart();
        }
    }

    /// Gives the connection back once all of the body was read.
    fn settle(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        let Some((mut lane, idle)) = self.lane.take() else {
            return;
        };
        match idle {
            // The end of the request may be still to be written.
            _ if !lane.is_free() => lane.end_apart(),
            Some(idle) => idle.put(lane),
            None => {}
        }
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((lane, _)) = &mut self.lane else {
            return Pin::new(&mut self.body).poll_frame(context);
        };
        // Asks for a piece, which is what makes the connection read one; nobody else can bring it.
        let mut nobody = Context::from_waker(Waker::noop());
        let piece = Pin::new(&mut self.body).poll_frame(&mut nobody);
        if piece.is_ready() {
            return piece;
        }
        lane.drive(context);
        Pin::new(&mut self.body).poll_frame(context)
    }
}

impl http_body::Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let piece = self.poll_body(context);
        match &piece {
            Poll::Ready(None) => self.give_back(),
            // Nothing comes behind trailers, and nobody asks for it.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.give_back(),
            Poll::Ready(Some(_)) => self.settle(),
            Poll::Pending => {}
        }
        piece
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
