//! A client's connection as hyper gets it: with an end to every wait, and an end that can be read.
//!
//! hyper has no limit for a connection that says nothing, and only one for a head and the time
//! before it. Here each wait has its own: for the first byte and for the rest of a head
//! [`Patience::head`], for the next request [`KEEP_ALIVE`], for a client that takes nothing of what it
//! is sent [`Patience::body`]. While a request is being answered nothing is expected of a client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::Deadline;
use super::framing::{Framing, Place};
use super::linger::Lingering;
use super::places::Seat;
use super::tally::{Rest, Tally};
use super::workers::Hold;
use super::{Patience, refusal};
use crate::metrics::Metrics;

/// How long a connection may wait for its next request: longer than the pools of clients keep one
/// (90 s for Go's and for hyper's, less for Python's and Node's), so that it is the client who
/// closes it, and no request meets a connection that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_mins(2);

const STALLED: &str = "the client takes nothing of its answer";
const NOT_TAKEN: &str = "the client takes nothing of an answer";
/// In place of a count of requests: no request is waited for, but time passes.
const LOOKING: u64 = u64::MAX;
/// Beside a count of what has left of the last answers, which hyper has whole: a client takes them.
const LEAVING: u64 = 1 << 63;

/// A client's connection.
pub(super) struct Wire<S> {
    stream: S,
    framing: Framing,
    tally: Arc<Tally>,
    patience: Patience,
    reading: Deadline<(Place, u64)>,
    writing: Deadline<()>,
    lingering: Lingering,
    /// The client has said that nothing more comes.
    ended: bool,
    /// How many requests had come when the last of their answers had left for the socket whole.
    /// What hyper writes while this is still the count of requests, it has made up itself.
    clear: Option<u64>,
    /// Goes to the socket before anything else: what is said in hyper's place.
    instead: Bytes,
    /// Their drop is what they are for.
    seat: Option<(Seat, Option<Hold>)>,
    metrics: Metrics,
}

impl<S> Wire<S> {
    /// With the connection's place, and the one on its thread, which it has for as long as the socket is
    /// open: also when another protocol has taken HTTP's place on it.
    pub(super) fn seated(mut self, seat: Seat, hold: Option<Hold>) -> Self {
        self.seat = Some((seat, hold));
        self
    }

    /// With the figures in which it counts what never becomes a request.
    pub(super) fn counted(mut self, metrics: &Metrics) -> Self {
        self.metrics = metrics.clone();
        self
    }

    pub(super) fn new(stream: S, tally: Arc<Tally>, patience: Patience) -> Self {
        Self {
            stream,
            framing: Framing::default(),
            tally,
            patience,
            reading: Deadline::new(),
            writing: Deadline::new(),
            lingering: Lingering::new(),
            ended: false,
            clear: Some(0),
            instead: Bytes::new(),
            seat: None,
            metrics: Metrics::default(),
        }
    }

    /// What is expected of the client now, and for how long.
    fn expected(&mut self) -> Option<((Place, u64), Duration)> {
        if self.tally.is_upgraded() {
            self.framing.leave();
        }
        let place = self.framing.place();
        if place == Place::Beyond {
            return self.expected_of_http2();
        }
        let heads = self.framing.heads();
        if !self.tally.has_answered(heads) {
            // Whatever hyper waits for when it has none in hand, it is to be the next one.
            let idle = self.tally.settled().is_some();
            return idle.then_some(((Place::Head, heads), self.patience.head));
        }
        let limit = match place {
            Place::Opening | Place::Head => self.patience.head,
            Place::Between => KEEP_ALIVE,
            Place::Body | Place::Beyond => return None,
        };
        Some(((place, heads), limit))
    }

    /// The next request, whatever else its client may say; while there are some, a look now and
    /// then whether each answer moves; when hyper has the last of them whole, that they leave.
    fn expected_of_http2(&self) -> Option<((Place, u64), Duration)> {
        if !self.framing.is_http2() || self.tally.is_upgraded() {
            return None;
        }
        Some(match self.tally.settled() {
            Some(_) if self.framing.streams.is_any_open() => {
                let moved = LEAVING | self.framing.streams.moved();
                ((Place::Beyond, moved), self.patience.body)
            }
            Some(requests) => ((Place::Beyond, requests), KEEP_ALIVE),
            None => ((Place::Beyond, LOOKING), self.patience.body / 4),
        })
    }

    /// Nothing is read on once nobody can tell where the next message begins.
    fn check(&self) -> io::Result<()> {
        if self.framing.is_broken() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// What the connection is doing, for whoever needs its place.
    fn rest(&self, place: Option<Place>) -> Rest {
        match place {
            Some(Place::Opening | Place::Head) => Rest::Unspoken,
            // Its last answer may still be on its way out.
            Some(Place::Between) if self.clear.is_some() => Rest::Idle,
            Some(Place::Beyond) if self.is_http2_done() => Rest::Idle,
            Some(Place::Between | Place::Beyond | Place::Body) | None => Rest::Busy,
        }
    }

    /// Whether every request over HTTP/2 has its answer, and each of them has left.
    fn is_http2_done(&self) -> bool {
        self.tally.settled().is_some() && !self.framing.streams.is_any_open()
    }

    /// What is wrong with how long it took.
    fn overdue(&self, what: (Place, u64)) -> Option<&'static str> {
        match what {
            (Place::Beyond, LOOKING) => {
                let stalled = self.tally.paces.stalled(self.patience.body);
                stalled.then_some(NOT_TAKEN)
            }
            (Place::Beyond, LEAVING..) => Some(NOT_TAKEN),
            (Place::Between | Place::Beyond, _) => Some("the connection was idle for long"),
            (Place::Opening | Place::Head | Place::Body, _) => {
                Some("the request's head took longer than server.header_timeout")
            }
        }
    }

    /// Whether the client may be in the middle of something that nobody will read: a request, or a
    /// frame of HTTP/2, such as the window updates for the answer it is reading.
    fn is_speaking(&self) -> bool {
        match self.framing.place() {
            Place::Head | Place::Body | Place::Beyond => !self.ended,
            Place::Opening | Place::Between => false,
        }
    }

    /// Reads along what hyper has written over HTTP/2.
    fn follow(&mut self, written: &Poll<io::Result<usize>>, slices: &[IoSlice<'_>]) {
        if !self.framing.is_http2() {
            return;
        }
        let Poll::Ready(Ok(mut left)) = *written else {
            return;
        };
        let before = self.framing.streams.moved();
        for slice in slices {
            let now = left.min(slice.len());
            left -= now;
            if self.framing.streams.wrote(&slice[..now]) {
                // hyper does not ask for the next request by itself.
                self.tally.wake();
            }
        }
        if self.framing.streams.moved() != before {
            self.tally.quiet.answered();
        }
    }

    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.writing.forget();
            // A client that still takes its answer is not idle.
            if let Some((what @ (Place::Between, _), limit)) = self.expected() {
                self.reading.forget();
                let _ = self.reading.poll(what, limit, context);
            }
            return written;
        }
        ready!(self.writing.poll((), self.patience.body, context));
        Poll::Ready(Err(too_slow(STALLED)))
    }

    /// As [`wrote`](Self::wrote), of what was written before.
    fn sent(
        &mut self,
        sent: Poll<io::Result<()>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if sent.is_ready() {
            self.writing.forget();
            return sent;
        }
        ready!(self.writing.poll((), self.patience.body, context));
        Poll::Ready(Err(too_slow(STALLED)))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Whether `bytes` are an answer that hyper made up; then ours goes instead.
    fn is_hypers_own(&mut self, bytes: &[u8]) -> bool {
        if self.clear.is_none() || self.clear != self.tally.settled() {
            return false;
        }
        let Some(status) = refusal::of_hyper(bytes) else {
            return false;
        };
        self.instead = refusal::instead(status, &self.framing, &self.metrics);
        true
    }

    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.instead);
            match ready!(self.wrote(written, context))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.instead.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            let new = buffer.filled().get(before..).unwrap_or_default();
            this.ended |= new.is_empty();
            if !this.tally.is_upgraded() {
                this.framing.read(new);
                this.tally.note(&this.framing);
                if this.framing.is_http2() {
                    this.tally.quiet.heard();
                }
            }
            this.tally.rest(Rest::Busy);
            return Poll::Ready(read.and(this.check()));
        }
        // hyper does not ask again when the answer is out: it knows that nothing was there.
        this.tally.wake_when_answered(context.waker());
        let expected = this.expected();
        let rest = this.rest(expected.map(|((place, _), _)| place));
        this.tally.rest(rest);
        if rest != Rest::Busy && this.tally.is_shed() {
            return Poll::Ready(Err(too_slow("its place was needed")));
        }
        let Some((what, limit)) = expected else {
            this.reading.forget();
            return Poll::Pending;
        };
        loop {
            ready!(this.reading.poll(what, limit, context));
            if let Some(why) = this.overdue(what) {
                return Poll::Ready(Err(too_slow(why)));
            }
            this.reading.forget();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_hypers_own(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_instead(context))?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.follow(&written, &[IoSlice::new(bytes)]);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.is_hypers_own(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        ready!(self.poll_instead(context))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.follow(&written, slices);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// TLS holds bytes back: what a client does not take may wait here instead of in a write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        // hyper asks for it when it has nothing more to write.
        self.clear = self.tally.settled();
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.sent(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.lingering.shut {
            ready!(self.poll_instead(context))?;
            let shut = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.sent(shut, context))?;
            self.lingering.shut = true;
        }
        // What a client still says in another protocol is read by whoever speaks it.
        if !self.tally.is_upgraded() && self.is_speaking() {
            let this = &mut *self;
            let is_http2 = this.framing.is_http2();
            ready!(this.lingering.poll(&mut this.stream, is_http2, context));
        }
        Poll::Ready(Ok(()))
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests;
