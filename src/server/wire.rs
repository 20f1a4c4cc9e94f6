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

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Patience;
use super::deadline::Deadline;
use super::framing::{Framing, Place};
use super::tally::Tally;

/// How long a connection may wait for its next request: longer than the pools of clients keep one
/// (90 s for Go's and for hyper's, less for Python's and Node's), so that it is the client who
/// closes it, and no request meets a connection that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_mins(2);

/// How long, and for how many bytes, a client is listened to that still sends when its answer is
/// complete. Closing at once would reset the connection, and take the answer away with what the
/// client has not read yet (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

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
}

struct Lingering {
    shut: bool,
    heard: usize,
    time: Deadline<()>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, tally: Arc<Tally>, patience: Patience) -> Self {
        Self {
            stream,
            framing: Framing::default(),
            tally,
            patience,
            reading: Deadline::new(),
            writing: Deadline::new(),
            lingering: Lingering {
                shut: false,
                heard: 0,
                time: Deadline::new(),
            },
            ended: false,
        }
    }

    /// What is expected of the client now, and for how long.
    fn expected(&mut self) -> Option<((Place, u64), Duration)> {
        if self.tally.is_upgraded() {
            self.framing.leave();
        }
        let heads = self.framing.heads();
        if !self.tally.has_answered(heads) {
            return None;
        }
        let place = self.framing.place();
        let limit = match place {
            Place::Opening | Place::Head => self.patience.head,
            Place::Between => KEEP_ALIVE,
            Place::Body | Place::Beyond => return None,
        };
        Some(((place, heads), limit))
    }

    /// Whether the client is in the middle of something that nobody will read.
    fn is_speaking(&self) -> bool {
        match self.framing.place() {
            Place::Head | Place::Body => !self.ended,
            Place::Opening | Place::Between | Place::Beyond => false,
        }
    }

    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            // A client that still takes its answer is not idle.
            self.reading.forget();
            self.writing.forget();
            return written;
        }
        ready!(self.writing.poll((), self.patience.body, context));
        Poll::Ready(Err(too_slow("the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Ready once the client has ended, or was listened to for long enough.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 8 * 1024];
        while self.lingering.heard < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.lingering.heard += buffer.filled().len();
                }
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return self.lingering.time.poll((), LINGER, context),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            let new = buffer.filled().get(before..).unwrap_or_default();
            this.ended |= new.is_empty();
            this.framing.read(new);
            this.tally.note(&this.framing);
            return Poll::Ready(read);
        }
        let Some((what, limit)) = this.expected() else {
            this.reading.forget();
            return Poll::Pending;
        };
        ready!(this.reading.poll(what, limit, context));
        Poll::Ready(Err(too_slow(match what.0 {
            Place::Between => "the connection was idle for long",
            Place::Opening | Place::Head | Place::Body | Place::Beyond => {
                "the request's head took longer than server.header_timeout"
            }
        })))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.lingering.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.lingering.shut = true;
        }
        if self.is_speaking() {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
