//! The one paid API behind us: where it is, how to reach it, and with which key.
//!
//! - [`connect`] the connector: TCP, TLS, and one deadline over both;
//! - [`tls`] whom we believe: the system's roots and `ca_file`;
//! - [`failure`] why an answer did not come, and whether anything was sent;
//! - [`scrub`] the key, should an answer show it, replaced before anybody sees it.
//!
//! Every request to the API leaves through [`Upstream::send`], which is the only place where the real
//! key is put in. What goes to other addresses has a way of its own, `egress`, and no key.

mod connect;
mod failure;
mod scrub;
mod tls;

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret, SecretString};

pub use failure::{SendError, SetupError};

use crate::config::{self, BaseUrl};
use crate::message::{Body, Idle};
use connect::Connector;
use scrub::{Scrub, Scrubbed};

/// Headers of one answer. MONEY: one too many costs an answer that was paid for, and hyper's own
/// limit is 100.
const MOST_HEADERS: usize = 1024;

/// What an upstream answer's body is while it arrives.
pub type Received = Scrubbed<Idle<hyper::body::Incoming>>;

/// Which connection a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Any idle one of the pool.
    Pooled,
    /// A new one. MONEY: a kept-alive connection may be closed by the other side in the moment we
    /// write to it, and then nobody knows whether a run began. A handshake is cheap beside a run.
    Fresh,
}

/// The upstream API: its place, its key, and the connections to it.
pub struct Upstream {
    pooled: Client<Connector, Body>,
    fresh: Client<Connector, Body>,
    base: BaseUrl,
    authorization: HeaderValue,
    scrub: Scrub,
    response_timeout: Duration,
    idle_timeout: Duration,
}

impl Upstream {
    /// Prepares the connections; none is opened yet.
    ///
    /// # Errors
    /// When `ca_file` or the system's roots cannot be read, or the key cannot be a header's value.
    pub fn new(settings: &config::Upstream, key: &SecretString) -> Result<Self, SetupError> {
        let connector = connect::connector(settings)?;
        let client = |idle_connections: usize| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(Duration::from_secs(30))
                .pool_max_idle_per_host(idle_connections)
                .http1_preserve_header_case(true)
                .http1_max_headers(MOST_HEADERS)
                .build(connector.clone())
        };
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| SetupError::Key)?;
        authorization.set_sensitive(true);
        Ok(Self {
            pooled: client(usize::MAX),
            fresh: client(0),
            base: settings.base_url.clone(),
            authorization,
            scrub: Scrub::new(key),
            response_timeout: settings.response_timeout,
            idle_timeout: settings.idle_timeout,
        })
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// `request`'s URI is what the client asked for below `/v1` (a path that starts with `/`, and a
    /// query): it is appended to `base_url` byte for byte. Credentials and `Host` are put in here;
    /// the caller has taken the client's own out.
    ///
    /// # Errors
    /// [`SendError`] tells whether anything can have been sent.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request upstream. Paid calls are sent from a task that no
    /// client owns.
    pub async fn send(
        &self,
        mut request: Request<Body>,
        reuse: Reuse,
    ) -> Result<Response<Received>, SendError> {
        *request.uri_mut() = self.place(request.uri())?;
        *request.version_mut() = http::Version::HTTP_11;
        let headers = request.headers_mut();
        headers.remove(header::HOST);
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        let client = match reuse {
            Reuse::Pooled => &self.pooled,
            Reuse::Fresh => &self.fresh,
        };
        let answer = tokio::time::timeout(self.response_timeout, client.request(request)).await;
        match answer {
            Ok(Ok(response)) => {
                let idle = |body| Idle::new(body, self.idle_timeout, "upstream");
                Ok(self.scrub.clean(response.map(idle)).await)
            }
            Ok(Err(error)) => Err(SendError::of_client(&error)),
            Err(_) => Err(SendError::TimedOut(self.response_timeout)),
        }
    }

    /// SECURITY: scheme and authority are ours alone; only path and query come from the client.
    fn place(&self, asked: &Uri) -> Result<Uri, SendError> {
        let rest = asked.path_and_query().map_or("", PathAndQuery::as_str);
        self.base.with(rest).map_err(SendError::of_address)
    }
}
