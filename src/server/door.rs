//! From a socket to a connection that HTTP is spoken on: a TLS handshake where there is a
//! certificate, nothing where there is none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of every TLS handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// How much, in bytes, and for how long a client of plain HTTP is listened to after its answer, so
/// that it gets to read it (RFC 9112 §9.6).
const LINGER_BYTES: u64 = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// What every socket comes through.
pub(super) struct Door {
    tls: Option<(TlsAcceptor, Duration)>,
}

/// A socket that HTTP is spoken on.
pub(super) enum Line {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Door {
    /// With TLS if there is a certificate; `limit` is how long a handshake may take.
    pub(super) fn new(tls: Option<Arc<ServerConfig>>, limit: Duration) -> Self {
        Self {
            tls: tls.map(|tls| (tls.into(), limit)),
        }
    }

    /// The same one, with another limit.
    pub(super) fn renewed(&self, limit: Duration) -> Self {
        let tls = self.tls.as_ref();
        Self {
            tls: tls.map(|(tls, _)| (tls.clone(), limit)),
        }
    }

    /// `None` when there is nobody to speak HTTP with.
    pub(super) async fn open(&self, stream: TcpStream) -> Option<Line> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let Some((tls, limit)) = &self.tls else {
            return Some(Line::Plain(stream));
        };
        match tokio::time::timeout(*limit, handshake(tls, stream)).await {
            Ok(Ok(line)) => return line,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took longer than server.header_timeout"),
        }
        None
    }
}

async fn handshake(tls: &TlsAcceptor, mut stream: TcpStream) -> io::Result<Option<Line>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first.iter().all(u8::is_ascii_uppercase) {
        turn_back(&mut stream).await?;
        return Ok(None);
    }
    if first != [HANDSHAKE] {
        return Ok(None);
    }
    let stream = tls.accept(stream).await?;
    Ok(Some(Line::Secure(Box::new(stream))))
}

/// Tells a client that speaks plain HTTP, whose methods begin with a capital, what to do. What it
/// sent is not looked at: SECURITY: nothing that came in the clear is acted on.
async fn turn_back(stream: &mut TcpStream) -> io::Result<()> {
    const BODY: &str = r#"{"error":{"message":"This port speaks HTTPS: begin the base URL with https:// instead of http://.","type":"invalid_request_error","param":null,"code":"https_required"}}"#;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-should-retry: false\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut scrap = tokio::io::sink();
    let mut rest = stream.take(LINGER_BYTES);
    let listening = tokio::io::copy(&mut rest, &mut scrap);
    // Whether it ends by itself or not, there is nothing more to say.
    let _ = tokio::time::timeout(LINGER, listening).await;
    Ok(())
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
