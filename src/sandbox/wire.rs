//! Below HTTP: the socket, the means to cut it, and where its tasks run.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Ends one connection from inside a request.
#[derive(Debug, Default)]
pub(super) struct Plug {
    pulled: CancellationToken,
    reset: AtomicBool,
}

impl Plug {
    /// Closes the connection, with a TCP RST when `reset`; never returns.
    pub(super) async fn pull(&self, reset: bool) {
        self.reset.store(reset, Ordering::Release);
        self.pulled.cancel();
        pending::<()>().await;
    }

    /// Waits until somebody pulls.
    pub(super) async fn pulled(&self) {
        self.pulled.cancelled().await;
    }
}

/// A TCP stream that is reset instead of closed when its plug says so.
pub(super) struct Wire {
    tcp: TcpStream,
    plug: Arc<Plug>,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, plug: Arc<Plug>) -> Self {
        Self { tcp, plug }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.plug.reset.load(Ordering::Acquire)
            && let Err(error) = self.tcp.set_zero_linger()
        {
            tracing::warn!(%error, "sandbox cannot reset a connection");
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

/// Runs hyper's own tasks (HTTP/2 streams): they end with their connection, and `stop` waits for them.
#[derive(Clone)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    over: CancellationToken,
}

impl Tasks {
    /// `over` is cancelled when the connection ends.
    pub(super) fn new(tracker: TaskTracker, over: CancellationToken) -> Self {
        Self { tracker, over }
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let over = self.over.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                _ = future => {}
            }
        });
    }
}
