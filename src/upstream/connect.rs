//! The connector: TCP, then TLS where the scheme says so, under one deadline.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::link::Linked;
use super::{SetupError, tls};
use crate::config;
use crate::message::BodyError;

type Stream = TokioIo<Linked<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>>;

/// What a connection may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaking {
    /// HTTP/2 where upstream offers it.
    Both,
    /// HTTP/1.1, which can be left for another protocol.
    Http1,
}

/// Opens connections to the upstream; `connect_timeout` covers name, TCP and TLS together.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    limit: Duration,
}

pub(super) fn connector(
    settings: &config::Upstream,
    speaking: Speaking,
) -> Result<Connector, SetupError> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_mins(1)));
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client(settings.ca_file.as_deref())?)
        .https_or_http()
        .enable_http1();
    let https = match speaking {
        Speaking::Both => https.enable_http2().wrap_connector(tcp),
        Speaking::Http1 => https.wrap_connector(tcp),
    };
    Ok(Connector {
        https,
        limit: settings.connect_timeout,
    })
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BodyError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BodyError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => {
                    connected.map(|stream| TokioIo::new(Linked::new(TokioIo::new(stream))))
                }
                Err(_) => Err(format!("no connection within {} s", limit.as_secs_f32()).into()),
            }
        })
    }
}
