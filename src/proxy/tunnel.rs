//! A `WebSocket`: asked for in HTTP, then bytes both ways that nobody looks into.
//!
//! Only `websocket` is passed on: `Upgrade` belongs to one hop, and a proxy answers for what it
//! forwards (h2c would hide requests from it). The client is let in and its key replaced before
//! upstream hears of it; nothing of the tunnel is read before upstream's 101.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::Instant;

use super::forward::{self, Passing};
use super::{Error, How, Proxy, Told};
use crate::message::{Body, body, headers};
use crate::metrics::Metrics;
use crate::upstream::{Reuse, SendError};

/// The client's side of a WebSocket, when that is what a request asks for.
pub(super) fn asked_for(parts: &mut Parts, body: &Body) -> Option<OnUpgrade> {
    let upgrade = parts.extensions.remove::<OnUpgrade>()?;
    let asked = parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && body.is_end_stream()
        && is_websocket(&parts.headers);
    asked.then_some(upgrade)
}

fn is_websocket(headers: &HeaderMap) -> bool {
    lists(headers, header::UPGRADE, "websocket") && lists(headers, header::CONNECTION, "upgrade")
}

fn lists(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

impl Proxy {
    /// Asks upstream for a WebSocket and joins both sides; any answer but 101 is passed on.
    ///
    /// # Errors
    /// When no answer's head came, or one that changes to something else.
    ///
    /// # Cancel safety
    /// Dropped with its client before upstream's answer, it is cancelled upstream.
    pub(super) async fn upgrade(
        &self,
        parts: Parts,
        target: Uri,
        client: OnUpgrade,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::from_parts(parts, body::empty());
        *request.uri_mut() = target;
        headers::remove_hop_by_hop(request.headers_mut());
        ask_for_websocket(request.headers_mut());
        let told = Told::of(request.extensions());
        let answer = self.send_passing(request, Reuse::Upgrade).await;
        let mut answer = answer.map_err(Error::PassedThrough)?;
        let why = Passing::NO_GENERATION.why;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(forward::passed(answer, why));
        }
        if !is_websocket(answer.headers()) {
            let reason = "it changed to another protocol than websocket".to_owned();
            return Err(Error::PassedThrough(SendError::Cut(reason)));
        }
        let upstream = hyper::upgrade::on(&mut answer);
        let mut answer = forward::passed(answer, why).map(|_| body::empty());
        ask_for_websocket(answer.headers_mut());
        let (limit, cut) = (self.config.upstream.idle_timeout, self.tunnels.clone());
        let mut last = Last::of(told.clone(), self.metrics.clone());
        let open = self.metrics.tunnel_opens();
        self.tasks.spawn(async move {
            let _open = open;
            let joined = async {
                let (client, upstream) = tokio::try_join!(client, upstream)?;
                join((client, upstream), limit, &told).await
            };
            let ended: Option<Result<How, hyper::Error>> = cut.run_until_cancelled(joined).await;
            match ended {
                Some(Ok(how)) => last.word(how),
                Some(Err(error)) => tracing::debug!(%error, "a tunnel did not come about"),
                None => {}
            }
        });
        Ok(answer)
    }
}

/// Tells of a tunnel when it is dropped: it broke off, where nobody says otherwise.
struct Last {
    told: Told,
    metrics: Metrics,
    how: How,
}

impl Last {
    fn of(told: Told, metrics: Metrics) -> Self {
        Self {
            told,
            metrics,
            how: How::Broken,
        }
    }

    /// How it ended. (A method, so that all of it belongs to the task and not a copy of one field.)
    fn word(&mut self, how: How) {
        self.how = how;
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.told.end(&self.metrics, self.how);
    }
}

/// Carries bytes both ways until both sides have ended, one has broken off, or neither said
/// anything for `limit`. A side that ends lets the other one finish.
async fn join(
    (client, upstream): (Upgraded, Upgraded),
    limit: Duration,
    told: &Told,
) -> Result<How, hyper::Error> {
    let heard = Heard(Arc::new(Mutex::new(Instant::now())));
    let mut client = Listened::new(client, heard.clone(), |bytes| told.received(bytes));
    let mut upstream = Listened::new(upstream, heard.clone(), |bytes| told.sent(bytes));
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut upstream) => match ended {
            Ok(_) => return Ok(How::Whole),
            Err(error) => tracing::debug!(%error, "a tunnel broke off"),
        },
        () = heard.silence(limit) => tracing::info!("a tunnel was silent for upstream.idle_timeout"),
    }
    Ok(How::Broken)
}

/// When something was last heard.
#[derive(Clone)]
struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn since(&self) -> Duration {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    /// Ready once nothing was heard for `limit`.
    async fn silence(&self, limit: Duration) {
        loop {
            let left = limit.saturating_sub(self.since());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// One side of a tunnel.
struct Listened<C> {
    stream: TokioIo<Upgraded>,
    heard: Heard,
    /// Counts the bytes that it says.
    count: C,
}

impl<C: Fn(usize)> Listened<C> {
    fn new(stream: Upgraded, heard: Heard, count: C) -> Self {
        Self {
            stream: TokioIo::new(stream),
            heard,
            count,
        }
    }
}

impl<C: Fn(usize) + Unpin> AsyncRead for Listened<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        (self.count)(buffer.filled().len() - before);
        self.heard.note();
        Poll::Ready(Ok(()))
    }
}

impl<C: Unpin> AsyncWrite for Listened<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
