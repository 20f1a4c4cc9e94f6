//! The simulated RelayDance: an upstream that costs nothing.
//!
//! It serves `reprise sandbox`, `reprise demo`, and every test as the scripted upstream, over real
//! sockets (HTTP/1.1 and HTTP/2 on one port, TLS when asked for), and it imitates the quirks of the real
//! service as well as its shapes: integer ids beside task ids, failures with status 200, links that die.
//!
//! A request's way: `server` reads it whole, `seen` writes it down, `script` says what shall go wrong
//! and where it waits, `route` finds who answers, and `delivery` puts the answer on the wire.
//! What would have been paid for is counted by `bill`. Every run differs from every other in its bytes,
//! so that a test can tell a kept answer from a second run.

mod answer;
mod assets;
mod audio;
mod bill;
mod chat;
mod delivery;
mod echo;
mod embeddings;
mod form;
mod frames;
mod ids;
mod images;
mod jobs;
mod messages;
mod models;
mod options;
mod poll;
mod realtime;
mod refusal;
mod responses;
mod route;
mod script;
mod seen;
mod server;
mod storage;
mod video;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use bill::{Bill, Charge};
pub use options::{Options, PollShape, SubmitShape};
pub use script::{FaultBuilder, Gate};
pub use seen::Seen;

use crate::clock::Clock;

/// Everything that requests share.
struct World {
    options: Options,
    clock: Clock,
    /// What result links start with when `options` do not say.
    origin: String,
    ids: ids::Ids,
    till: bill::Till,
    jobs: jobs::Jobs,
    storage: storage::Storage,
    visits: seen::Visits,
    script: Arc<script::Script>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Locks, whatever happened to an earlier holder: nothing here is left half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle on a running sandbox. It runs until [`stop`](Self::stop) or the end of its runtime.
#[derive(Clone)]
pub struct Sandbox {
    world: Arc<World>,
    addr: SocketAddr,
    scheme: &'static str,
}

impl World {
    fn bill(&self) -> Bill {
        self.till.total(self.jobs.refunded())
    }
}

impl Sandbox {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(options: Options) -> io::Result<Sandbox> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self::serve(options, listener, None).await)
    }

    /// Starts on a bound socket, with TLS when there is a configuration for it (its ALPN list says
    /// whether HTTP/2 is offered).
    // Async, because it has to be called inside a runtime.
    #[allow(clippy::unused_async)]
    pub async fn serve(
        options: Options,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Sandbox {
        let addr = listener
            .local_addr()
            .unwrap_or_else(|_| (Ipv4Addr::UNSPECIFIED, 0).into());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let world = Arc::new(World {
            jobs: jobs::Jobs::new(options.job_time),
            storage: storage::Storage::new(options.link_lifetime),
            origin: format!("{scheme}://{addr}"),
            options,
            clock: Clock::system(),
            ids: ids::Ids::new(),
            till: bill::Till::default(),
            visits: seen::Visits::default(),
            script: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let tls = tls.map(TlsAcceptor::from);
        world
            .tasks
            .spawn(server::accept(world.clone(), listener, tls));
        Sandbox {
            world,
            addr,
            scheme,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client takes as its base URL: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("{}://{}/v1", self.scheme, self.addr)
    }

    /// The runs that would have been paid for so far.
    pub fn bill(&self) -> Bill {
        self.world.bill()
    }

    /// Each of those runs, the oldest first; the last 100,000.
    pub fn charges(&self) -> Vec<Charge> {
        self.world.till.charges()
    }

    /// The last 10,000 requests, oldest first, each written down once its body was read.
    pub fn requests(&self) -> Vec<Seen> {
        self.world.visits.all()
    }

    /// How many of [`requests`](Self::requests) have a route (`POST /v1/chat`) that starts with the
    /// prefix; one that starts with a slash means any method. So for gates and faults.
    pub fn count(&self, route_prefix: &str) -> usize {
        self.world.visits.count(route_prefix)
    }

    /// Holds matching requests until the gate is released or dropped. They are counted at the gate when
    /// their body was read and their run was billed.
    pub fn hold(&self, route_prefix: &str) -> Gate {
        self.world.script.hold(route_prefix, None)
    }

    /// Holds the event streams that answer matching requests after so many events (comments do not
    /// count) until the gate is released or dropped.
    pub fn hold_stream(&self, route_prefix: &str, after_events: usize) -> Gate {
        self.world.script.hold(route_prefix, Some(after_events))
    }

    /// Makes something go wrong; see [`FaultBuilder`].
    pub fn on(&self, route_prefix: &str) -> FaultBuilder {
        self.world.script.on(route_prefix)
    }

    /// Ends every running job now.
    pub fn finish_jobs(&self) {
        self.world.jobs.finish();
    }

    /// How long jobs take that are submitted from now on.
    pub fn set_job_time(&self, job_time: Duration) {
        self.world.jobs.set_job_time(job_time);
    }

    /// How long result links work from now on, those that were handed out before included.
    pub fn set_link_lifetime(&self, lifetime: Duration) {
        self.world.storage.set_lifetime(lifetime);
    }

    /// Closes the listener and every connection, and waits (at most five seconds) until they are gone.
    pub async fn stop(self) {
        self.world.stop.cancel();
        self.world.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.world.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("sandbox tasks were still running when it stopped");
        }
    }
}
