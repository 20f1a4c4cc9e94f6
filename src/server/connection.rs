//! A connection of which it is known what it speaks, to its end.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::door::Line;
use super::exchange::Service;
use super::preface::{Begun, Speaks};
use super::wire::Wire;
use crate::config;

/// Headers of one request over HTTP/1.1, whatever their size; `max_header_bytes` bounds that.
const MOST_HEADERS: usize = 384;

/// What one HTTP/2 stream may hold of an answer that its client does not take yet, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

type Stream = TokioIo<Begun<Wire<Line>>>;

/// Somebody who speaks HTTP.
pub(super) enum Connection {
    Http1(Pin<Box<http1::UpgradeableConnection<Stream, Service>>>),
    Http2(Pin<Box<http2::Connection<Stream, Service, TokioExecutor>>>),
}

/// How HTTP is spoken.
pub(super) struct Protocol {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Connection {
    /// To its end; once `stop` says so, to the end of the answers that are under way.
    ///
    /// # Errors
    /// When it did not end as HTTP does.
    pub(super) async fn speak(self, stop: CancellationToken) -> hyper::Result<()> {
        match self {
            Self::Http1(connection) => {
                let end = http1::UpgradeableConnection::graceful_shutdown;
                until(connection, stop, end).await
            }
            Self::Http2(connection) => {
                let end = http2::Connection::graceful_shutdown;
                until(connection, stop, end).await
            }
        }
    }
}

async fn until<C: Future>(
    mut connection: Pin<Box<C>>,
    stop: CancellationToken,
    end: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => end(connection.as_mut()),
    }
    connection.await
}

impl Protocol {
    /// Finds out what a client speaks, and has it answered by `service`.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn begin(&self, wire: Wire<Line>, service: Service) -> io::Result<Connection> {
        let (begun, speaks) = Begun::read(wire).await?;
        let stream = TokioIo::new(begun);
        Ok(match speaks {
            Speaks::Http1 => {
                let connection = self.http1.serve_connection(stream, service);
                Connection::Http1(Box::pin(connection.with_upgrades()))
            }
            Speaks::Http2 => {
                let connection = self.http2.serve_connection(stream, service);
                Connection::Http2(Box::pin(connection))
            }
        })
    }

    pub(super) fn new(settings: &config::Server) -> Self {
        let largest = settings.max_header_bytes;
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // The wire keeps time: hyper's limit would also end connections that are idle.
            .header_read_timeout(None)
            .preserve_header_case(true)
            .max_headers(MOST_HEADERS)
            .max_buf_size(largest.max(8192));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            // What is only a little too large gets here, and is told so by us.
            .max_header_list_size(u32::try_from(largest.saturating_mul(2)).unwrap_or(u32::MAX))
            .max_concurrent_streams(100)
            .max_send_buf_size(SEND_BUFFER)
            // Streams that a client opens and resets, or makes us reset, before anyone has looked at
            // them (CVE-2023-44487, CVE-2025-8671); beyond, the connection is closed.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(200)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        Self { http1, http2 }
    }
}
