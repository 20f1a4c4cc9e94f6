//! Accepting connections, reading requests, and cutting connections on demand.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Answer, Ask, Body};
use super::delivery::Delivery;
use super::script::Word;
use super::{World, echo, route};

/// The largest request body that is read.
const MAX_BODY: usize = 128 * 1024 * 1024;
/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;

/// Accepts until `world.stop` is cancelled.
pub(super) async fn accept(world: Arc<World>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let accepted = tokio::select! {
            () = world.stop.cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            None => return,
            Some((permit, Ok((tcp, peer)))) => {
                let connection = connection(world.clone(), tcp, tls.clone(), peer);
                world.tasks.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Some((_, Err(error))) => {
                tracing::warn!(%error, "sandbox cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(world: Arc<World>, tcp: TcpStream, tls: Option<TlsAcceptor>, peer: SocketAddr) {
    // Only costs latency when it fails.
    let _ = tcp.set_nodelay(true);
    let plug = Arc::new(Plug::default());
    let wire = Wire {
        tcp,
        plug: plug.clone(),
    };
    let served = async {
        match tls {
            None => serve(world.clone(), plug.clone(), wire).await,
            Some(tls) => {
                match tokio::time::timeout(Duration::from_secs(10), tls.accept(wire)).await {
                    Ok(Ok(stream)) => serve(world.clone(), plug.clone(), stream).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                }
            }
        }
    };
    tokio::select! {
        () = world.stop.cancelled() => {}
        () = plug.pulled.cancelled() => {}
        () = served => {}
    }
}

async fn serve<S>(world: Arc<World>, plug: Arc<Plug>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let tasks = Tasks(world.tasks.clone());
    let service = service_fn(move |request| handle(world.clone(), plug.clone(), request));
    let mut builder = auto::Builder::new(tasks);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_mins(1))
        .max_headers(512);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(64 * 1024);
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "sandbox connection ended");
    }
}

async fn handle(
    world: Arc<World>,
    plug: Arc<Plug>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, incoming) = request.into_parts();
    let mut ask = Ask {
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers.clone(),
        body: Bytes::new(),
        request_id: world.ids.request(world.clock.now()),
    };
    let (live, too_large) = if echo::is_live(&ask) {
        (Some(echo::Live { incoming, upgrade }), false)
    } else {
        match read(incoming).await {
            Ok(body) => {
                ask.body = body;
                (None, false)
            }
            Err(Unread::TooLarge) => (None, true),
            // The requester is gone, so nobody sees this answer.
            Err(Unread::Broken) => return Ok(Response::new(super::delivery::empty())),
        }
    };
    let ticket = world.visits.record(&head, &ask.body);
    let route = ask.route();
    let words = world.script.take(&route);
    let answer = if too_large {
        ask.refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "read_request_body_failed",
            "request body too large",
        )
    } else {
        at_the_gate(&world, &ask, live, &words).await
    };
    before_head(&words, &plug).await;
    let holds = world.script.holds(&route);
    let head_only = ask.method == Method::HEAD;
    let gap = world.options.stream_gap;
    let answer = if route::is_storage(&ask.path) {
        answer
    } else {
        answer.header(
            HeaderName::from_static("x-oneapi-request-id"),
            &ask.request_id,
        )
    };
    Ok(Delivery {
        words,
        holds,
        gap,
        head_only,
    }
    .pack(answer, ticket))
}

/// Runs the request and waits at its gates; what is paid is billed before it waits, what only reads
/// shows how things are once it may go on.
async fn at_the_gate(
    world: &Arc<World>,
    ask: &Ask,
    live: Option<echo::Live>,
    words: &[Word],
) -> Answer {
    let reads = matches!(ask.method, Method::GET | Method::HEAD);
    if reads {
        wait(world, ask).await;
    }
    let unbilled = words
        .iter()
        .any(|word| matches!(word, Word::Answer { billed: false, .. }));
    let answer = match live {
        _ if unbilled => Answer::empty(StatusCode::OK),
        Some(live) => echo::live(world, ask, live),
        None => route::answer(world, ask).await,
    };
    if !reads {
        wait(world, ask).await;
    }
    answer
}

async fn wait(world: &World, ask: &Ask) {
    for hold in world.script.holds(&ask.route()) {
        if hold.after_events.is_none() {
            hold.pass().await;
        }
    }
}

/// The faults that come before the head.
async fn before_head(words: &[Word], plug: &Plug) {
    for word in words {
        match word {
            Word::Delay(by) => tokio::time::sleep(*by).await,
            Word::CloseBeforeHead => plug.pull(false).await,
            Word::Reset => plug.pull(true).await,
            Word::StallAfter(_)
            | Word::CutAfter(_)
            | Word::Answer { .. }
            | Word::WithoutDone
            | Word::ErrorEvent => {}
        }
    }
}

enum Unread {
    TooLarge,
    Broken,
}

async fn read(mut incoming: Incoming) -> Result<Bytes, Unread> {
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let data = frame
            .map_err(|_| Unread::Broken)?
            .into_data()
            .unwrap_or_default();
        if body.len() + data.len() > MAX_BODY {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&data);
    }
    Ok(body.freeze())
}

/// Ends one connection from inside a request.
#[derive(Debug, Default)]
struct Plug {
    pulled: CancellationToken,
    reset: AtomicBool,
}

impl Plug {
    /// Closes the connection, with a TCP RST when `reset`; never returns.
    async fn pull(&self, reset: bool) {
        self.reset.store(reset, Ordering::Release);
        self.pulled.cancel();
        pending::<()>().await;
    }
}

/// A TCP stream that is reset instead of closed when its plug says so.
struct Wire {
    tcp: TcpStream,
    plug: Arc<Plug>,
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

/// Runs hyper's own tasks (HTTP/2 streams) where `stop` waits for them.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
