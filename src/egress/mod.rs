//! The one way out to addresses that answers and clients name: the links of a result, the
//! addresses of callbacks. Whoever names them may mean harm, so nothing is taken on trust:
//!
//! - [`destination`] reads a link once, by the rules of browsers; `http` and `https` only;
//! - [`connect`] looks its name up itself, once, checks **every** address, and connects to a checked
//!   one only, so that a name cannot mean one machine while it is checked and another afterwards
//!   (DNS rebinding); host and server name stay what the link says;
//! - [`allowed`] and [`reserved`] say which addresses are fine;
//! - [`failure`] says in plain words why nothing came back.
//!
//! SECURITY: no credential ever goes this way, no proxy of the environment is asked, no redirect is
//! followed: it is handed to the caller, whose next step is checked like the first.

mod allowed;
mod connect;
mod destination;
mod failure;
mod reserved;

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use crate::message::{Body, Idle, headers};
pub use allowed::Allowed;
use connect::Connector;
pub use destination::Destination;
pub use failure::{EgressError, Refusal};

/// Headers of an answer, and the bytes of its head.
const MOST_HEADERS: usize = 100;
const LARGEST_HEAD: usize = 64 * 1024;

/// An answer's body while it arrives. Its size is up to whoever reads it.
pub type Received = Idle<hyper::body::Incoming>;

/// How long the other side may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the connection stands: look-up, TCP and TLS together.
    pub connect: Duration,
    /// From then until the head of the answer.
    pub head: Duration,
    /// Between two pieces of its body.
    pub idle: Duration,
}

/// Whom a name means. Blocks, and is asked once for each connection.
pub trait Names: Send + Sync + 'static {
    /// The addresses of `host`, the preferred ones first.
    ///
    /// # Errors
    /// When there are none, or nobody can tell.
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The names that the system knows.
#[derive(Clone, Copy, Debug)]
pub struct SystemNames;

impl Names for SystemNames {
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect())
    }
}

/// The way out.
pub struct Egress {
    client: Client<Connector, Body>,
    allowed: Arc<Allowed>,
    patience: Patience,
}

impl Egress {
    /// A way out to the public internet and `allowed`; `tls` says whom to believe.
    pub fn new(tls: ClientConfig, allowed: Allowed, patience: Patience) -> Self {
        Self::with_names(tls, allowed, patience, Arc::new(SystemNames))
    }

    /// The same, with names of one's own.
    pub fn with_names(
        tls: ClientConfig,
        allowed: Allowed,
        patience: Patience,
        names: Arc<dyn Names>,
    ) -> Self {
        let allowed = Arc::new(allowed);
        let connector = Connector::new(tls, names, allowed.clone(), patience.connect);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Every request gets a connection whose address was checked for it.
            .pool_max_idle_per_host(0)
            .http1_max_headers(MOST_HEADERS)
            .http1_max_buf_size(LARGEST_HEAD)
            .build(connector);
        Self {
            client,
            allowed,
            patience,
        }
    }

    /// Whether a destination may be gone to as far as its letters tell, without asking anybody.
    ///
    /// # Errors
    /// What it is: a private address, however it is written, or a name of this machine.
    pub fn check_letters(&self, to: &Destination) -> Result<(), Refusal> {
        self.allowed.check_letters(to)
    }

    /// Sends one request and waits for the head of its answer, whatever its status: a redirect is
    /// handed back too ([`Destination::redirected`]).
    ///
    /// The request's URI is not looked at; credentials, cookies and hop-by-hop headers are taken
    /// out of it.
    ///
    /// # Errors
    /// [`EgressError`] says why in plain words, without the link's path.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection.
    pub async fn send(
        &self,
        to: &Destination,
        mut request: Request<Body>,
    ) -> Result<Response<Received>, EgressError> {
        self.check_letters(to)?;
        *request.uri_mut() = to.uri().clone();
        *request.version_mut() = Version::HTTP_11;
        let sent = request.headers_mut();
        headers::remove_hop_by_hop(sent);
        for name in [header::HOST, header::AUTHORIZATION, header::COOKIE] {
            sent.remove(name);
        }
        let limit = self.patience.connect.saturating_add(self.patience.head);
        match tokio::time::timeout(limit, self.client.request(request)).await {
            Ok(Ok(answer)) => {
                let idle = |body| Idle::new(body, self.patience.idle, "the other side");
                Ok(answer.map(idle))
            }
            Ok(Err(error)) => Err(EgressError::of_client(&error)),
            Err(_) => Err(EgressError::TimedOut(limit)),
        }
    }
}
