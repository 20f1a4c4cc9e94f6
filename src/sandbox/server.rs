//! Accepting connections, reading requests, and cutting connections on demand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Ask, Body};
use super::delivery::Delivery;
use super::script::Word;
use super::wire::{Plug, Tasks, Wire};
use super::{World, echo, realtime, route};

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
    let wire = Wire::new(tcp, plug.clone());
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
        () = plug.pulled() => {}
        () = served => {}
    }
}

async fn serve<S>(world: Arc<World>, plug: Arc<Plug>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let over = CancellationToken::new();
    let tasks = Tasks::new(world.tasks.clone(), over.clone());
    let _over = over.drop_guard();
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

/// One request's way, from its first byte to the last of its answer.
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
        trailers: HeaderMap::new(),
        request_id: world.ids.request(world.clock.now()),
    };
    let came = if echo::is_live(&ask) || realtime::is_asked(&ask) {
        Came::Live(echo::Live { incoming, upgrade })
    } else {
        match read(incoming, &mut ask).await {
            Some(came) => came,
            // Half a request counts for nothing, and nobody is left to read this.
            None => return Ok(Response::new(super::delivery::empty())),
        }
    };
    let ticket = world.visits.record(&head, &ask.body);
    let words = world.script.take(&ask.route());
    let mut answer = at_the_gate(&world, &ask, came, &words).await;
    before_head(&words, &plug).await;
    if !route::is_storage(&ask.path) {
        let name = HeaderName::from_static("x-oneapi-request-id");
        answer = answer.header(name, &ask.request_id);
    }
    let delivery = Delivery {
        words,
        holds: world.script.holds(&ask.route()),
        gap: world.options.stream_gap,
        head_only: ask.method == Method::HEAD,
    };
    Ok(delivery.pack(answer, ticket))
}

/// How a request's body came.
enum Came {
    Whole,
    Live(echo::Live),
    TooLarge,
}

/// Reads a body whole; `None` when its requester left in the middle.
async fn read(mut incoming: Incoming, ask: &mut Ask) -> Option<Came> {
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) if body.len() + data.len() > MAX_BODY => return Some(Came::TooLarge),
            Ok(data) => body.extend_from_slice(&data),
            Err(other) => ask.trailers = other.into_trailers().unwrap_or_default(),
        }
    }
    ask.body = body.freeze();
    Some(Came::Whole)
}

/// Runs the request and waits at its gates; what is paid is billed before it waits, what only reads
/// shows how things are once it may go on.
async fn at_the_gate(world: &World, ask: &Ask, came: Came, words: &[Word]) -> Answer {
    let reads = matches!(ask.method, Method::GET | Method::HEAD);
    if reads {
        wait(world, ask).await;
    }
    let unbilled = words
        .iter()
        .any(|word| matches!(word, Word::Answer { billed: false, .. }));
    let answer = match came {
        // The fault's own answer stands here in a moment.
        Came::Whole | Came::Live(_) if unbilled => Answer::empty(StatusCode::OK),
        Came::Whole => route::answer(world, ask).await,
        Came::Live(live) if realtime::is_asked(ask) => realtime::answer(world, ask, live.upgrade),
        Came::Live(live) => echo::live(world, ask, live),
        Came::TooLarge => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            ask.refuse(status, "read_request_body_failed", "request body too large")
        }
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
