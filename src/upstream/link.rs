//! One connection to upstream, and what is known of it beside its bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection has heard.
#[derive(Clone, Default)]
pub(super) struct Link(Arc<Heard>);

#[derive(Default)]
struct Heard {
    /// Something came since something was last written.
    since: AtomicBool,
    /// Something came at all.
    ever: AtomicBool,
    cut: AtomicBool,
    writing: AtomicWaker,
}

impl Link {
    /// Whether upstream answered on this connection before, and nothing of an answer came to what
    /// was written last. Says nothing about HTTP/2, whose frames are not all answers.
    pub(super) fn is_stale(&self) -> bool {
        self.0.ever.load(Ordering::Relaxed) && !self.0.since.load(Ordering::Relaxed)
    }

    /// Ends the connection, also one whose other side takes nothing.
    pub(super) fn cut(&self) {
        self.0.cut.store(true, Ordering::Relaxed);
        self.0.writing.wake();
    }

    fn wrote(
        &self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(_) => self.0.since.store(false, Ordering::Relaxed),
            Poll::Pending => self.0.writing.register(context.waker()),
        }
        if self.0.cut.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        written
    }
}

/// A stream that tells its [`Link`] what it hears.
pub(super) struct Linked<S> {
    stream: S,
    link: Link,
}

impl<S> Linked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            link: Link::default(),
        }
    }

    /// What it tells.
    pub(super) fn link(&self) -> Link {
        self.link.clone()
    }
}

impl<S: Connection> Connection for Linked<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.remaining() < before {
            self.link.0.ever.store(true, Ordering::Relaxed);
            self.link.0.since.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Linked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.link.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.link.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
