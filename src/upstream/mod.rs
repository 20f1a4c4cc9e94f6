//! The one paid API behind us: where it is, how to reach it, and with which key.
//!
//! - [`attempt`] one request on one connection;
//! - [`pool`] the connections, and which of them a request is given;
//! - [`idle`] those that nobody uses at the moment;
//! - [`lane`] a connection of HTTP/1.1, moved on by whoever uses it;
//! - [`connect`] the connector: TCP, TLS, and one deadline over both;
//! - [`link`] what is known of one connection;
//! - [`go_ahead`] the pause before a body whose client waits for 100;
//! - [`upload`] a request's body on its way, and how long each side may take;
//! - [`tunnel`] the way through a proxy, where the environment names one;
//! - [`outgoing`] our open connections, to recognise a request that comes back to us;
//! - [`failure`] why an answer did not come, and whether anything was sent;
//! - [`public`] what anybody may read there, asked for without the key;
//! - [`received`] an answer's body while it arrives;
//! - [`scrub`] the key, should an answer show it, replaced before anybody sees it.
//!
//! Every request to the API itself leaves through [`Upstream::send`], which is the only place where the real
//! key is put in. What goes to other addresses has a way of its own, `egress`, and no key.

mod attempt;
mod connect;
mod failure;
mod go_ahead;
mod idle;
mod lane;
mod link;
mod outgoing;
mod pool;
pub mod public;
mod received;
mod scrub;
mod tunnel;
mod upload;

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};

pub use failure::{SendError, SetupError};

use crate::config::{self, BaseUrl};
use crate::message::{Body, Peer};
use attempt::Failed;
use failure::Obstacle;
use outgoing::Outgoing;
use pool::Pool;
use received::Arriving;
use scrub::{Scrub, Scrubbed};
use upload::Limits;

/// Headers of one answer. MONEY: one too many costs an answer that was paid for, and hyper's own
/// limit is 100.
const MOST_HEADERS: usize = 384;

/// How long an HTTP/2 connection that a request waits on may be silent before it is asked for a sign
/// of life, and how long that may take: a connection that died without a word would swallow every
/// request that shares it. An answer may take its time; pings are answered meanwhile.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// What an upstream answer's body is while it arrives.
pub type Received = Scrubbed<Arriving>;

/// Which connection a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Any idle one of the pool.
    Pooled,
    /// A new one. MONEY: a kept-alive connection may be closed by the other side in the moment we
    /// write to it, and then nobody knows whether a run began. A handshake is cheap beside a run.
    Fresh,
    /// A new one that speaks HTTP/1.1 and may be left for another protocol.
    Upgrade,
}

/// The upstream API: its place, its key, and the connections to it.
pub struct Upstream {
    pool: Pool,
    base: BaseUrl,
    authorization: HeaderValue,
    scrub: Scrub,
    limits: Limits,
    outgoing: Outgoing,
}

impl Upstream {
    /// Prepares the connections; none is opened yet.
    ///
    /// # Errors
    /// When `ca_file` or the system's roots cannot be read, the environment names a proxy that
    /// cannot be used, or the key cannot be a header's value.
    pub fn new(settings: &config::Upstream, key: &SecretString) -> Result<Self, SetupError> {
        Self::beside(settings, key, Outgoing::default())
    }

    /// One with other settings or another key, and connections of its own. It recognises those of
    /// this one as ours too, for as long as requests go on over them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn renewed(
        &self,
        settings: &config::Upstream,
        key: &SecretString,
    ) -> Result<Self, SetupError> {
        Self::beside(settings, key, self.outgoing.clone())
    }

    fn beside(
        settings: &config::Upstream,
        key: &SecretString,
        outgoing: Outgoing,
    ) -> Result<Self, SetupError> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| SetupError::Key)?;
        authorization.set_sensitive(true);
        Ok(Self {
            pool: Pool::new(settings, &outgoing)?,
            base: settings.base_url.clone(),
            authorization,
            scrub: Scrub::new(key),
            limits: Limits {
                answer: settings.response_timeout,
                piece: settings.idle_timeout,
                expects_100: false,
            },
            outgoing,
        })
    }

    /// Whether this is the other side of one of our own open connections, so that what comes over it
    /// was sent by us.
    pub fn is_ours(&self, peer: &Peer) -> bool {
        self.outgoing.has(peer)
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// `request`'s URI is what the client asked for below `/v1` (a path that starts with `/`, and a
    /// query): it is appended to `base_url` byte for byte. Credentials and `Host` are put in here;
    /// the caller has taken the client's own out.
    ///
    /// A GET, HEAD or OPTIONS without a body is sent once more when the idle connection that it was
    /// given turns out to be closed; nothing else ever is. 101 answers [`Reuse::Upgrade`] alone.
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
        // What asks for a connection of its own, a generation, is in hand already.
        let expects_100 = reuse == Reuse::Pooled && headers.contains_key(header::EXPECT);
        let limits = Limits {
            expects_100,
            ..self.limits
        };
        let again = attempt::repeatable(&request);
        let sent = attempt::attempt((&self.pool, reuse), request, limits).await;
        let answer = match (sent, again) {
            (Err(Failed { stale: true, .. }), Some(again)) if reuse == Reuse::Pooled => {
                Box::pin(attempt::attempt((&self.pool, Reuse::Fresh), again, limits)).await
            }
            (answer, _) => answer,
        };
        let answer = answer.map_err(|failed| failed.error)?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS && reuse != Reuse::Upgrade {
            let reason = "it changed to another protocol without being asked".to_owned();
            return Err(SendError::Cut(reason));
        }
        Ok(self.scrub.clean(answer).await)
    }

    /// SECURITY: scheme and authority are ours alone; only path and query come from the client.
    fn place(&self, asked: &Uri) -> Result<Uri, SendError> {
        let rest = asked.path_and_query().map_or("", PathAndQuery::as_str);
        self.base.with(rest).map_err(SendError::of_address)
    }
}
