//! The floor of what passes through: a server, a pooled client, both bodies streamed.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::served;

/// A client that keeps its connections.
pub(super) type Way<B> = Client<HttpsConnector<HttpConnector>, B>;

pub(super) async fn run(upstream: Uri, authority: Option<&Path>) {
    let way: Way<Incoming> =
        Client::builder(TokioExecutor::new()).build(connector(trusting(authority)));
    let upstream = Arc::new(upstream);
    served::serve(move |request| pass(request, way.clone(), upstream.clone())).await;
}

/// Connections to the upstream, with small packets sent at once.
pub(super) fn connector(tls: ClientConfig) -> HttpsConnector<HttpConnector> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http)
}

/// Trusts this authority and nobody else.
pub(super) fn trusting(authority: Option<&Path>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(file) = authority {
        roots
            .add(CertificateDer::from_pem_file(file).unwrap())
            .unwrap();
    }
    ClientConfig::builder_with_provider(reprise::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The same place at the upstream.
pub(super) fn moved(asked: &Uri, upstream: &Uri) -> Uri {
    let mut parts = upstream.clone().into_parts();
    let root = || PathAndQuery::from_static("/");
    parts.path_and_query = Some(asked.path_and_query().cloned().unwrap_or_else(root));
    Uri::from_parts(parts).unwrap()
}

async fn pass(
    mut request: Request<Incoming>,
    way: Way<Incoming>,
    upstream: Arc<Uri>,
) -> Response<Either<Incoming, Empty<Bytes>>> {
    *request.uri_mut() = moved(request.uri(), &upstream);
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(CONNECTION);
    match way.request(request).await {
        Ok(mut answer) => {
            answer.headers_mut().remove(CONNECTION);
            answer.map(Either::Left)
        }
        Err(_) => Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(Either::Right(Empty::new()))
            .unwrap(),
    }
}
