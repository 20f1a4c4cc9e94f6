//! The connector: the way to upstream, straight or through a proxy, then TLS where the scheme says
//! so, all of it under one deadline.

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::link::Linked;
use super::outgoing::{Known, Outgoing};
use super::tunnel::tunnel;
use super::{Obstacle, SetupError};
use crate::config::{self, Detour};
use crate::message::{Peer, causes};
use crate::tls;

/// What leads to upstream, or to the proxy before it.
type Line = MaybeHttpsStream<Tcp>;
pub(super) type Stream = TokioIo<Linked<TokioIo<MaybeHttpsStream<Line>>>>;

/// What a connection may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaking {
    /// HTTP/2 where upstream offers it.
    Both,
    /// HTTP/1.1, which can be left for another protocol.
    Http1,
}

/// A connection that [`Outgoing`] knows.
type Tcp = Known<TokioIo<TcpStream>>;

/// Opens connections to the upstream; `connect_timeout` covers name, TCP, proxy and TLS together.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    /// Offers what is to be spoken.
    upstream: TlsConnector,
    /// Offers HTTP/1.1: a proxy is asked for its tunnel in that.
    proxy: TlsConnector,
    detour: Option<Detour>,
    limit: Duration,
    outgoing: Outgoing,
}

pub(super) fn connector(
    settings: &config::Upstream,
    outgoing: Outgoing,
    speaking: Speaking,
) -> Result<Connector, SetupError> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_mins(1)));
    tcp.enforce_http(false);
    let config = tls::client(settings.ca_file.as_deref())?;
    let offering = |protocols: &[&str]| {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        let mut config = config.clone();
        config.alpn_protocols = protocols.collect();
        TlsConnector::from(Arc::new(config))
    };
    Ok(Connector {
        tcp,
        upstream: match speaking {
            Speaking::Both => offering(&["h2", "http/1.1"]),
            Speaking::Http1 => offering(&["http/1.1"]),
        },
        proxy: offering(&["http/1.1"]),
        detour: settings.proxies.on_the_way_to(&settings.base_url)?,
        limit: settings.connect_timeout,
        outgoing,
    })
}

impl Connector {
    /// A new connection to the host of an address.
    pub(super) async fn stream(self, uri: Uri) -> Result<Stream, Obstacle> {
        let stream = self.connect(uri).await?;
        Ok(TokioIo::new(Linked::new(TokioIo::new(stream))))
    }

    async fn connect(mut self, uri: Uri) -> Result<MaybeHttpsStream<Line>, Obstacle> {
        let within = Within {
            end: Instant::now() + self.limit,
            limit: self.limit,
        };
        let line = match self.detour.take() {
            Some(detour) => self
                .detour(&detour, &uri, &within)
                .await
                .map_err(|obstacle| Obstacle(format!("the proxy {detour} {obstacle}")))?,
            None => Line::Http(self.open(uri.clone(), &within).await?),
        };
        if uri.scheme() == Some(&Scheme::HTTPS) {
            secure(&self.upstream, &uri, line, &within).await
        } else {
            Ok(MaybeHttpsStream::Http(line))
        }
    }

    /// A tunnel through the proxy. MONEY: it is asked for also where upstream has no TLS: what a
    /// proxy says before the tunnel stands is not upstream's answer, and nothing was sent.
    async fn detour(
        &mut self,
        detour: &Detour,
        to: &Uri,
        within: &Within,
    ) -> Result<Line, Obstacle> {
        let tcp = self.open(detour.uri.clone(), within).await?;
        let line = if detour.uri.scheme() == Some(&Scheme::HTTPS) {
            secure(&self.proxy, &detour.uri, tcp, within)
                .await
                .map_err(|obstacle| Obstacle(format!("cannot be spoken to: {obstacle}")))?
        } else {
            Line::Http(tcp)
        };
        let asking = tunnel(line, to, detour.authorization.as_ref());
        within.wait("did not answer CONNECT", asking).await?
    }

    async fn open(&mut self, uri: Uri, within: &Within) -> Result<Tcp, Obstacle> {
        let opened = within.wait("no connection", self.tcp.call(uri)).await?;
        let tcp = opened.map_err(|error| Obstacle(causes(&error)))?;
        let (from, to) = (tcp.inner().local_addr(), tcp.inner().peer_addr());
        let ends = from.ok().zip(to.ok()).map(|(from, to)| Peer { from, to });
        Ok(self.outgoing.known(tcp, ends))
    }
}

async fn secure<T>(
    connector: &TlsConnector,
    to: &Uri,
    stream: T,
    within: &Within,
) -> Result<MaybeHttpsStream<T>, Obstacle>
where
    T: Read + Write + Unpin,
{
    let host = to.host().unwrap_or_default().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Obstacle("its host is no name that a certificate can have".to_owned()))?;
    let handshake = connector.connect(name, TokioIo::new(stream));
    let secured = within
        .wait("no end of the TLS handshake", handshake)
        .await?;
    secured
        .map(MaybeHttpsStream::from)
        .map_err(|error| Obstacle(why_insecure(&error)))
}

fn why_insecure(error: &io::Error) -> String {
    tls::why(error).unwrap_or_else(|| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "it closed the connection in the middle of the TLS handshake".to_owned()
        }
        _ => causes(error as &dyn Error),
    })
}

/// The time that is left.
struct Within {
    end: Instant,
    limit: Duration,
}

impl Within {
    async fn wait<T>(&self, what: &str, step: impl Future<Output = T>) -> Result<T, Obstacle> {
        let late = |_| Obstacle(format!("{what} within {} s", self.limit.as_secs_f32()));
        timeout_at(self.end, step).await.map_err(late)
    }
}
