//! The connector: names are looked up once, every address is checked, and only a checked one is
//! connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::{Allowed, Names};
use crate::message::BodyError;

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 16;

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BodyError>> + Send>>;

/// TCP and TLS under one limit.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<Checked>,
    limit: Duration,
}

/// TCP to checked addresses.
#[derive(Clone)]
struct Checked {
    tcp: HttpConnector<Lookup>,
    allowed: Arc<Allowed>,
}

/// Looks a name up and leaves out the addresses that nobody goes to.
#[derive(Clone)]
struct Lookup {
    names: Arc<dyn Names>,
    allowed: Arc<Allowed>,
}

impl Connector {
    pub(super) fn new(
        mut tls: ClientConfig,
        names: Arc<dyn Names>,
        allowed: Arc<Allowed>,
        limit: Duration,
    ) -> Self {
        let lookup = Lookup {
            names,
            allowed: allowed.clone(),
        };
        let mut tcp = HttpConnector::new_with_resolver(lookup);
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // Shared out among the addresses, so that a dead one leaves time for the next.
        tcp.set_connect_timeout(Some(limit));
        // HTTP/1.1 alone is spoken here, and needs no word about it.
        tls.alpn_protocols.clear();
        Self {
            https: HttpsConnector::from((Checked { tcp, allowed }, tls)),
            limit,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BodyError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {} s", limit.as_secs_f32()).into()),
            }
        })
    }
}

impl Service<Uri> for Checked {
    type Response = TokioIo<TcpStream>;
    type Error = BodyError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // An address needs no look-up, so nothing below would check it.
        let host = uri.host().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
        if let Ok(address) = literal
            && let Err(refusal) = self.allowed.check(address)
        {
            return Box::pin(async move { Err(refusal.into()) });
        }
        let connecting = self.tcp.call(uri);
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let stream = connecting.await?;
            // SECURITY: whatever was looked up, this is where bytes would go.
            allowed.check(stream.inner().peer_addr()?.ip())?;
            Ok(stream)
        })
    }
}

impl Service<Name> for Lookup {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BodyError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { names, allowed } = self.clone();
        Box::pin(async move {
            let looking = tokio::task::spawn_blocking(move || names.addresses(name.as_str()));
            let addresses = checked(looking.await??, &allowed)?;
            Ok(addresses.into_iter())
        })
    }
}

/// The addresses that may be gone to; the port is put in by whoever connects.
fn checked(found: Vec<IpAddr>, allowed: &Allowed) -> Result<Vec<SocketAddr>, BodyError> {
    let mut fine = Vec::new();
    let mut refused = None;
    for address in found.into_iter().take(MOST_ADDRESSES) {
        match allowed.check(address) {
            Ok(()) => fine.push(SocketAddr::new(address, 0)),
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    match refused {
        _ if !fine.is_empty() => Ok(fine),
        Some(refusal) => Err(refusal.into()),
        None => Err(io::Error::other("the name has no address").into()),
    }
}
