//! What anybody may read at the upstream's host: asked for without a key.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response};
use tokio::time::timeout;

use super::outgoing::Outgoing;
use super::pool::Pool;
use super::upload::Limits;
use super::{Reuse, SendError, SetupError, attempt};
use crate::config;
use crate::message::{body, causes};

/// How long the whole of it may take, once there is a connection.
const WITHIN: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes: a price list of a few thousand models.
const LARGEST: usize = 8 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PublicError {
    /// The connection cannot even be prepared.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// It did not come, or not whole.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Asks for `path` at the root of the upstream's host, which is not below its `base_url`. Follows no
/// redirect. `path` starts with a slash.
///
/// SECURITY: no key goes along.
///
/// # Errors
/// [`PublicError`]; an HTTP error is an answer.
pub async fn ask(
    settings: &config::Upstream,
    path: &'static str,
) -> Result<Response<Bytes>, PublicError> {
    let pool = Pool::new(settings, &Outgoing::default())?;
    let mut request = Request::new(body::empty());
    *request.uri_mut() = Uri::builder()
        .scheme(settings.base_url.scheme().clone())
        .authority(settings.base_url.authority().clone())
        .path_and_query(PathAndQuery::from_static(path))
        .build()
        .map_err(SendError::of_address)?;
    let headers = request.headers_mut();
    let plain = HeaderValue::from_static("identity");
    headers.insert(header::ACCEPT_ENCODING, plain);
    let agent = HeaderValue::from_static(concat!("reprise/", env!("CARGO_PKG_VERSION")));
    headers.insert(header::USER_AGENT, agent);
    let limits = Limits {
        answer: settings.response_timeout.min(WITHIN),
        piece: settings.idle_timeout.min(WITHIN),
        expects_100: false,
    };
    let sent = attempt::attempt((&pool, Reuse::Fresh), request, limits).await;
    let (head, arriving) = sent.map_err(|failed| failed.error)?.into_parts();
    let read = timeout(WITHIN, Limited::new(arriving, LARGEST).collect()).await;
    let read = read.map_err(|_| SendError::TimedOut(WITHIN))?;
    let body = read.map_err(|error| SendError::Cut(causes(&*error)))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
