//! The connector: TCP, then TLS where the scheme says so, under one deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::outgoing::{Known, Outgoing};
use super::{SetupError, tls};
use crate::config;
use crate::message::BodyError;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection that [`Outgoing`] knows.
type Ours = Known<Stream>;

/// Opens connections to the upstream; `connect_timeout` covers name, TCP and TLS together.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    limit: Duration,
    outgoing: Outgoing,
}

pub(super) fn connector(
    settings: &config::Upstream,
    outgoing: Outgoing,
) -> Result<Connector, SetupError> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_mins(1)));
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client(settings.ca_file.as_deref())?)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    Ok(Connector {
        https,
        limit: settings.connect_timeout,
        outgoing,
    })
}

impl Service<Uri> for Connector {
    type Response = Ours;
    type Error = BodyError;
    type Future = Pin<Box<dyn Future<Output = Result<Ours, BodyError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let limit = self.limit;
        let outgoing = self.outgoing.clone();
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected.map(|stream| {
                    let address = address(&stream);
                    outgoing.known(stream, address)
                }),
                Err(_) => Err(format!("no connection within {} s", limit.as_secs_f32()).into()),
            }
        })
    }
}

/// Our end of a connection.
fn address(stream: &Stream) -> Option<SocketAddr> {
    let tcp = match stream {
        MaybeHttpsStream::Http(tcp) => tcp.inner(),
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
    };
    tcp.local_addr().ok()
}
