//! Connections to upstream that are used again.
//!
//! HTTP/1.1: those that nobody uses lie in [`IdleLanes`], and the one that was used last is taken first.
//! HTTP/2, where upstream offers it: one connection for everybody.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::{self, HeaderValue};
use http::uri::Uri;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::connect::{self, Connector, Speaking, Stream};
use super::idle::{IDLE, IdleLanes};
use super::lane::{Carried, Lane};
use super::link::Link;
use super::outgoing::Outgoing;
use super::upload::Upload;
use super::{PING_AFTER, PING_WITHIN, Reuse, SendError, SetupError};
use crate::config;
use crate::message::causes;

/// The connection that a request was given, if it got so far.
#[derive(Default)]
pub(super) struct Given(Mutex<Option<Link>>);

impl Given {
    /// What is known of it.
    pub(super) fn link(&self) -> Option<Link> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn is(&self, link: Option<Link>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }
}

/// Every connection to upstream.
pub(super) struct Pool {
    connector: Connector,
    /// Offers HTTP/1.1 alone, which can be left for another protocol.
    plain: Connector,
    place: Uri,
    host: HeaderValue,
    idle: IdleLanes,
    /// The connection of HTTP/2, if upstream speaks that.
    shared: Mutex<Option<Shared>>,
}

#[derive(Clone)]
struct Shared {
    requests: SendRequest<Upload>,
    link: Link,
    asked: Instant,
}

/// A connection for one request.
enum Way {
    Lane(Lane),
    Shared(Shared),
}

impl Pool {
    /// For an upstream; nothing is connected yet.
    ///
    /// # Errors
    /// When the roots cannot be read, or the environment names a proxy that cannot be used.
    pub(super) fn new(
        settings: &config::Upstream,
        outgoing: &Outgoing,
    ) -> Result<Self, SetupError> {
        let speaking = |what| connect::connector(settings, outgoing.clone(), what);
        let base = &settings.base_url;
        let place = Uri::builder()
            .scheme(base.scheme().clone())
            .authority(base.authority().clone())
            .path_and_query("/")
            .build()
            .unwrap_or_default();
        let host = match base
            .authority()
            .port_u16()
            .filter(|_| !base.has_usual_port())
        {
            Some(port) => format!("{}:{port}", base.authority().host()),
            None => base.authority().host().to_owned(),
        };
        Ok(Self {
            connector: speaking(Speaking::Both)?,
            plain: speaking(Speaking::Http1)?,
            place,
            // What may stand in an authority may stand in a header.
            host: HeaderValue::try_from(host).unwrap_or(HeaderValue::from_static("")),
            idle: IdleLanes::default(),
            shared: Mutex::default(),
        })
    }

    /// Sends a request with the whole address as its URI, and waits for the head of the answer. `given`
    /// is told which connection it has.
    ///
    /// MONEY: it is sent on another connection if a used one turns out closed before anything was
    /// written, and never otherwise.
    ///
    /// # Errors
    /// [`SendError::Unreachable`] as long as there was no connection for it.
    ///
    /// # Cancel safety
    /// Dropping the future ends the request.
    pub(super) async fn send(
        &self,
        mut request: Request<Upload>,
        reuse: Reuse,
        given: &Given,
    ) -> Result<Response<Carried>, SendError> {
        let whole = request.uri().clone();
        loop {
            let used = match reuse {
                Reuse::Pooled => self.used(),
                Reuse::Fresh | Reuse::Upgrade => None,
            };
            let is_used = used.is_some();
            let way = match used {
                Some(way) => way,
                // Boxed: it is long, and most requests do without.
                None => match Box::pin(self.open(reuse)).await {
                    Ok(way) => way,
                    // Meanwhile one may have come back.
                    Err(error) if reuse == Reuse::Pooled => self.used().ok_or(error)?,
                    Err(error) => return Err(error),
                },
            };
            given.is(Some(way.link()));
            let sent = match way {
                Way::Lane(lane) => {
                    let path = whole.path_and_query().cloned();
                    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
                    let host = self.host.clone();
                    request.headers_mut().insert(header::HOST, host);
                    match reuse {
                        Reuse::Upgrade => Box::pin(lane.leave(request)).await,
                        Reuse::Fresh => lane.ask(request, None).await,
                        Reuse::Pooled => lane.ask(request, Some(self.idle.clone())).await,
                    }
                }
                Way::Shared(mut shared) => {
                    *request.uri_mut() = whole.clone();
                    request.headers_mut().remove(header::HOST);
                    let sent = shared.requests.try_send_request(request).await;
                    sent.map(|answer| answer.map(Carried::alone))
                }
            };
            let mut error = match sent {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(unsent) = error.take_message() else {
                return Err(SendError::Cut(causes(error.error())));
            };
            given.is(None);
            if !is_used {
                return Err(SendError::of_address(error.into_error()));
            }
            request = unsent;
        }
    }

    /// A connection that was used before.
    fn used(&self) -> Option<Way> {
        if let Some(lane) = self.idle.take() {
            return Some(Way::Lane(lane));
        }
        let mut shared = self.shared();
        let known = shared.take().filter(Shared::is_sound)?;
        let asked = Instant::now();
        let known = shared.insert(Shared { asked, ..known });
        Some(Way::Shared(known.clone()))
    }

    /// A new connection.
    async fn open(&self, reuse: Reuse) -> Result<Way, SendError> {
        let connector = match reuse {
            Reuse::Pooled | Reuse::Fresh => &self.connector,
            Reuse::Upgrade => &self.plain,
        };
        let stream = connector.clone().stream(self.place.clone()).await;
        let stream = stream.map_err(SendError::of_address)?;
        let link = stream.inner().link();
        if !stream.connected().is_negotiated_h2() {
            let lane = Lane::open(stream, link).await;
            return lane.map(Way::Lane).map_err(SendError::of_address);
        }
        let requests = share(stream).await.map_err(SendError::of_address)?;
        let asked = Instant::now();
        let new = Shared {
            requests,
            link,
            asked,
        };
        if reuse == Reuse::Fresh {
            return Ok(Way::Shared(new));
        }
        let mut shared = self.shared();
        let open = shared.take().filter(Shared::is_sound);
        Ok(Way::Shared(shared.insert(open.unwrap_or(new)).clone()))
    }

    fn shared(&self) -> MutexGuard<'_, Option<Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Whether a request may be given to it. One that was silent for long may be dead, and nobody has told us.
    fn is_sound(&self) -> bool {
        !self.requests.is_closed() && self.asked.elapsed() < IDLE
    }
}

impl Way {
    fn link(&self) -> Link {
        match self {
            Self::Lane(lane) => lane.link().clone(),
            Self::Shared(shared) => shared.link.clone(),
        }
    }
}

/// Speaks HTTP/2 on a new connection.
async fn share(stream: Stream) -> hyper::Result<SendRequest<Upload>> {
    let mut protocol = Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_WITHIN);
    let (mut requests, wire) = protocol.handshake(stream).await?;
    tokio::spawn(wire);
    requests.ready().await?;
    Ok(requests)
}

#[cfg(test)]
mod tests;
