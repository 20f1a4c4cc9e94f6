//! The only place that wires everything: a configuration becomes a bound [`App`], which runs until
//! it is told to stop, and then drains.

mod renewal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{SecretSlice, SecretString};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::callbacks::{self, Callbacks};
use crate::clock::Clock;
use crate::config::{self, Config, Problem, Problems};
use crate::console::Console;
use crate::egress::{Allowed, Egress};
use crate::fault;
use crate::jobs::Ends;
use crate::media::{self, Archive, Settled};
use crate::proxy::{Means, Proxy};
use crate::server::{Patience, Phase, Routes, Server, descriptors};
use crate::store::{DiskStore, Keeper, OpenReport, Rules, Served, Shelf, StoreError};
use crate::tls::{self, Front, Identity};
use crate::upstream::{SetupError, Upstream};
use renewal::Renewal;

/// How long the index may take to be written out at the end.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Everything that is needed to serve, with its socket bound and its store open.
pub struct App {
    server: Server,
    routes: Arc<Routes>,
    proxy: Arc<Proxy>,
    shelf: Shelf,
    keeper: Arc<Keeper>,
    callbacks: Option<Arc<Callbacks>>,
    archive: Arc<Archive>,
    tasks: TaskTracker,
    addr: SocketAddr,
    report: OpenReport,
    grace: Duration,
    renewal: Option<Renewal>,
}

/// What the program knows and nobody else may: no configuration holds it.
pub struct Secrets {
    /// The key that pays upstream.
    pub upstream_key: SecretString,
    /// The token of the admin API; `None`: the one in the data directory, made when there is none.
    pub admin_token: Option<SecretString>,
    /// What callbacks are signed with; `None`: they are not.
    pub callback_secret: Option<SecretSlice<u8>>,
}

impl From<SecretString> for Secrets {
    fn from(upstream_key: SecretString) -> Self {
        Self {
            upstream_key,
            admin_token: None,
            callback_secret: None,
        }
    }
}

/// Why the program cannot start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {addr}: {source}; stop what listens there, or choose another --listen"
    )]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The certificate cannot be served with.
    #[error(transparent)]
    Certificate(Problems),
    /// The way to upstream cannot be prepared.
    #[error(transparent)]
    Upstream(#[from] SetupError),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was under way came to its end.
    Whole,
    /// The grace was over first. So many paid calls were still under way, whose outcome is unknown
    /// now; beside them connections whose answers had not ended.
    CutOff(usize),
}

impl App {
    /// Opens the store and binds the socket. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// When the store, the address, the certificate or the way to upstream cannot be had.
    pub async fn bind(
        config: Config,
        secrets: impl Into<Secrets>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let secrets = secrets.into();
        let config = Arc::new(config);
        let upstream = Arc::new(Upstream::new(&config.upstream, &secrets.upstream_key)?);
        let front = front(config.tls.clone()).await?;
        let (store, report) = open(config.data_dir.clone(), clock.clone()).await?;
        let store = Arc::new(store);
        let token = match secrets.admin_token {
            _ if !config.console.enabled => None,
            Some(token) => Some(token),
            None => kept_token(store.clone()).await,
        };
        let shelf = Shelf::new(store.clone());
        let rules = Rules::of(&config.cache);
        let keeper = Arc::new(Keeper::new(shelf.clone(), clock.clone(), rules));
        let (listener, addr) = listen(config.listen).await?;
        let tasks = TaskTracker::new();
        let grace = config.shutdown_grace;
        let (mut settings, patience) = (config.server, Patience::of(&config));
        settings.max_connections = descriptors::connections(settings.max_connections);
        let signer = secrets.callback_secret.as_ref().map(callbacks::Signer::new);
        let callbacks = callbacks::of(&config, signer, &shelf, &clock).map_err(SetupError::from)?;
        let ends = callbacks.iter().map(|calls| calls.clone() as Arc<dyn Ends>);
        let archive = archive(&config, &shelf, &upstream, (&clock, callbacks.as_ref()))?;
        let proxy = Proxy::new(Means {
            config,
            shelf: shelf.clone(),
            upstream,
            clock: clock.clone(),
            tasks: tasks.clone(),
            ends: ends.collect(),
            callbacks: callbacks.clone(),
            archive: archive.clone(),
        });
        proxy.reconcile().await?;
        fault::point("reconciled");
        let console =
            token.map(|token| Console::new(proxy.clone(), shelf.clone(), &token, front.is_some()));
        let routes = Arc::new(Routes::new(proxy.clone(), console));
        let tls = front.as_ref().map(|front| front.config());
        let server = Server::new(listener, routes.clone(), &settings, patience, tls);
        announce(store.clone(), addr, front.as_deref()).await;
        let renewal = front.map(|front| Renewal::new(front, store, addr, clock));
        Ok(Self {
            server,
            routes,
            proxy,
            shelf,
            keeper,
            callbacks,
            archive,
            tasks,
            addr,
            report,
            grace,
            renewal,
        })
    }

    /// Where clients reach it, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Who it is to clients that come over TLS; `None`: it serves plain HTTP.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        let renewal = self.renewal.as_ref();
        renewal.map(Renewal::identity)
    }

    /// Has the files of the certificate looked at whenever `asked` says so, beside every 2 s.
    #[must_use]
    pub fn renewing_on(mut self, asked: Arc<Notify>) -> Self {
        if let Some(renewal) = &mut self.renewal {
            renewal.look_on(asked);
        }
        self
    }

    /// What was found in the data directory.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Who fetches the files behind the links of results.
    pub fn archive(&self) -> &Arc<Archive> {
        &self.archive
    }

    /// What keeps what is kept within its bounds.
    pub fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Serves until `stop`, then lets paid calls and answers end within `shutdown_grace`, and
    /// writes out what is only in memory.
    pub async fn run(self, stop: CancellationToken) -> Drained {
        self.routes.enter(Phase::Ready);
        if let Some(callbacks) = self.callbacks {
            self.tasks.spawn(callbacks.run(stop.clone()));
        }
        self.tasks.spawn(self.proxy.watcher().run(stop.clone()));
        self.tasks.spawn(self.keeper.clone().run(stop.clone()));
        self.tasks.spawn(self.archive.clone().run(stop.clone()));
        let tasks = self.tasks.clone();
        let rest = async move {
            tasks.close();
            tasks.wait().await;
        };
        if let Some(renewal) = self.renewal {
            self.tasks.spawn(renewal.run(stop.clone()));
        }
        let mut serving = tokio::spawn(self.server.run(stop.clone(), rest));
        stop.cancelled().await;
        self.routes.enter(Phase::Draining);
        let drained = async {
            // A panic of the accept loop ends the wait as well; there is nothing more to serve.
            let _ = (&mut serving).await;
            self.tasks.close();
            self.tasks.wait().await;
        };
        let whole = tokio::time::timeout(self.grace, drained).await.is_ok();
        serving.abort();
        self.proxy.cut_tunnels();
        let under_way = self.proxy.under_way();
        write_out(&self.shelf).await;
        if whole {
            Drained::Whole
        } else {
            Drained::CutOff(under_way)
        }
    }
}

/// Writes out what is only in memory, if the disk takes it.
async fn write_out(shelf: &Shelf) {
    match tokio::time::timeout(LAST_WRITE, shelf.flush()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the index could not be written out; it is rebuilt at the next start");
        }
        Err(_) => {
            tracing::warn!("the index was not written out in time: the disk does not answer");
        }
    }
}

/// Who fetches files, and tells callbacks when those of a job are there.
fn archive(
    config: &Config,
    shelf: &Shelf,
    upstream: &Arc<Upstream>,
    (clock, callbacks): (&Clock, Option<&Arc<Callbacks>>),
) -> Result<Arc<Archive>, SetupError> {
    let allowed = Allowed::new(config.media.allow.clone(), "media.allow");
    let listener = callbacks.map(|callbacks| callbacks.clone() as Arc<dyn Settled>);
    Ok(Archive::new(media::Means {
        shelf: shelf.clone(),
        upstream: upstream.clone(),
        egress: Egress::new(tls::client(None)?, allowed, media::PATIENCE),
        base: config.upstream.base_url.clone(),
        settings: config.media.clone(),
        min_free: config.cache.min_free,
        clock: clock.clone(),
        listener,
    }))
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listening = async {
        let listener = TcpListener::bind(addr).await?;
        listener.local_addr().map(|addr| (listener, addr))
    };
    listening
        .await
        .map_err(|source| StartError::Listen { addr, source })
}

async fn open(
    dir: std::path::PathBuf,
    clock: Clock,
) -> Result<(DiskStore, OpenReport), StoreError> {
    let opening = tokio::task::spawn_blocking(move || DiskStore::open(&dir, clock));
    opening
        .await
        .unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string())))
}

/// The token in the data directory. Without one there is no admin API; all else goes on.
async fn kept_token(store: Arc<DiskStore>) -> Option<SecretString> {
    let token = tokio::task::spawn_blocking(move || store.admin_token());
    let token = token
        .await
        .unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string())));
    token
        .inspect_err(|error| tracing::error!(%error, "there is no admin token: /api is not served"))
        .ok()
}

/// Reads the certificate, if there is one.
async fn front(files: Option<config::Tls>) -> Result<Option<Arc<Front>>, StartError> {
    let Some(files) = files else {
        return Ok(None);
    };
    let opening =
        tokio::task::spawn_blocking(move || Front::open(&files.cert_file, &files.key_file));
    let opened = opening
        .await
        .map_err(|error| StoreError::Panicked(error.to_string()))?;
    let front = opened
        .map_err(|flaws| StartError::Certificate(flaws.into_iter().map(Problem::of).collect()))?;
    Ok(Some(Arc::new(front)))
}

/// Notes where this process serves, for the commands.
async fn announce(store: Arc<DiskStore>, addr: SocketAddr, front: Option<&Front>) {
    let certificate = front.map(|front| front.identity().fingerprint());
    let served = Served { addr, certificate };
    // It only fails by a panic, after which the commands do not find this process.
    let _ = tokio::task::spawn_blocking(move || store.announce(served)).await;
}
