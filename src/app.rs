//! The only place that wires everything: a configuration becomes a bound [`App`], which runs until
//! it is told to stop, and then drains. Meanwhile [`again`] looks whether the configuration has
//! changed, and [`reload`] tells every part what it is to be now.

mod again;
mod figures;
mod opening;
mod parts;
mod reload;
mod renewal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{SecretSlice, SecretString};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, Live, Problems};
use crate::console::Console;
use crate::fault;
use crate::ledger::{Ledger, LedgerError};
use crate::media::Archive;
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::server::workers::Crew;
use crate::server::{Patience, Phase, Routes, Server, descriptors};
use crate::store::{Keeper, OpenReport, Shelf, StoreError};
use crate::tls::Identity;
use crate::upstream::{SetupError, Upstream};
use again::Again;
pub use again::Looking;
use figures::Sources;
pub use opening::Tell;
use opening::{announce, front, listen, token};
use parts::{Kept, Money, Outside};
use reload::Known;
pub use reload::{Changed, Reload};
use renewal::Renewal;

/// How long the index may take to be written out at the end.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Everything that is needed to serve, with its socket bound and its store open.
pub struct App {
    server: Server,
    routes: Arc<Routes>,
    proxy: Live<Proxy>,
    kept: Kept,
    outside: Outside,
    tasks: TaskTracker,
    addr: SocketAddr,
    report: OpenReport,
    running: Live<Config>,
    reload: Option<Reload>,
    again: Option<Again>,
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
    /// The ledger cannot be read: budgets would begin anew.
    #[error("{0}; without the ledger nobody knows what was spent")]
    Ledger(#[from] LedgerError),
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
        Self::bind_telling(config, secrets, clock, Box::new(|_| ())).await
    }

    /// As [`bind`](Self::bind); `tell` hears how far an index is that has to be made anew.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_telling(
        config: Config,
        secrets: impl Into<Secrets>,
        clock: Clock,
        tell: Tell,
    ) -> Result<Self, StartError> {
        let secrets = secrets.into();
        let config = Arc::new(config);
        let upstream = Arc::new(Upstream::new(&config.upstream, &secrets.upstream_key)?);
        let known = Known::of(&config.upstream, &secrets);
        let front = front(config.tls.clone()).await?;
        let (kept, report, spent) = Kept::open(&config, &clock, tell).await?;
        let metrics = Metrics::new();
        kept.ledger.count_in(&metrics);
        let token = token(&config, &secrets, &kept.store).await;
        let (listener, addr) = listen(config.listen).await?;
        let (mut settings, patience) = (config.server, Patience::of(&config));
        settings.max_connections = descriptors::connections(settings.max_connections);
        let outside = Outside::new((&config, &secrets), &kept.shelf, &upstream, &clock)?;
        let money = Money::take_up(&config, &kept, spent, &clock).await?;
        let tasks = TaskTracker::new();
        let proxy = parts::proxy(
            (config.clone(), upstream.clone()),
            (&kept, &outside, &money),
            (&metrics, &tasks),
            clock.clone(),
        );
        proxy.reconcile(money.booked).await?;
        fault::point("reconciled");
        let (running, proxy) = (Live::new(config), Live::new(proxy));
        let (shelf, ledger) = (kept.shelf.clone(), kept.ledger.clone());
        let secure = front.is_some();
        let console = Live::new(
            token.map(|token| Console::new(proxy.clone(), shelf, ledger, &token, secure)),
        );
        let sources = Sources {
            kept: (&kept.shelf, &kept.keeper, &kept.ledger),
            outside: (&outside.archive, &outside.callbacks),
            proxy: &proxy,
        };
        let page = sources.page(&metrics, clock.now());
        let routes = Arc::new(Routes::new(proxy.clone(), console.clone(), page));
        let tls = front.as_ref().map(|front| front.config());
        let server = Server::new(listener, routes.clone(), &settings, patience, tls);
        announce(kept.store.clone(), addr, front.as_deref()).await;
        let reload = Reload {
            running: running.clone(),
            known,
            upstream,
            store: kept.store.clone(),
            shelf: kept.shelf.clone(),
            ledger: kept.ledger.clone(),
            proxy: proxy.clone(),
            console,
            terms: server.terms(),
            limits: money.limits,
            books: money.books,
            keeper: kept.keeper.clone(),
            callbacks: outside.callbacks.clone(),
            archive: outside.archive.clone(),
            front: front.clone(),
        };
        let renewal = front.map(|front| Renewal::new(front, kept.store.clone(), addr, clock));
        Ok(Self {
            server,
            routes,
            proxy,
            kept,
            outside,
            tasks,
            addr,
            report,
            running,
            reload: Some(reload),
            again: None,
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

    /// Has the configuration looked at every 2 s, and whenever `looking` says so; the certificate too.
    #[must_use]
    pub fn looking_again(mut self, looking: Looking) -> Self {
        let renewal = self.renewal.as_ref().map(Renewal::asked);
        let reload = self.reload.take();
        self.again = reload.map(|reload| Again::new(looking, reload, renewal));
        self
    }

    /// Serves its connections on the threads of `crew`, which are to end behind it.
    #[must_use]
    pub fn with_crew(mut self, crew: Crew) -> Self {
        self.server = self.server.with_crew(crew);
        self
    }

    /// What gives everything that runs another configuration, for whoever brings one; once.
    pub fn take_reload(&mut self) -> Option<Reload> {
        self.reload.take()
    }

    /// What was found in the data directory.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Who fetches the files behind the links of results.
    pub fn archive(&self) -> &Arc<Archive> {
        &self.outside.archive
    }

    /// What keeps what is kept within its bounds.
    pub fn keeper(&self) -> &Arc<Keeper> {
        &self.kept.keeper
    }

    /// Serves until `stop`, then lets paid calls and answers end within `shutdown_grace`, and
    /// writes out what is only in memory.
    pub async fn run(self, stop: CancellationToken) -> Drained {
        self.routes.enter(Phase::Ready);
        self.tasks.spawn(self.outside.callbacks.run(stop.clone()));
        let watcher = self.proxy.load().watcher();
        self.tasks.spawn(watcher.run(stop.clone()));
        self.tasks.spawn(self.kept.keeper.clone().run(stop.clone()));
        self.tasks.spawn(self.kept.ledger.clone().run(stop.clone()));
        self.tasks
            .spawn(self.outside.archive.clone().run(stop.clone()));
        let tasks = self.tasks.clone();
        let rest = async move {
            tasks.close();
            tasks.wait().await;
        };
        if let Some(renewal) = self.renewal {
            self.tasks.spawn(renewal.run(stop.clone()));
        }
        if let Some(again) = self.again {
            self.tasks.spawn(again.run(stop.clone()));
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
        let grace = self.running.load().shutdown_grace;
        let whole = tokio::time::timeout(grace, drained).await.is_ok();
        serving.abort();
        let proxy = self.proxy.load();
        proxy.cut_tunnels();
        let under_way = proxy.under_way();
        write_out(&self.kept.shelf, &self.kept.ledger).await;
        if whole {
            Drained::Whole
        } else {
            Drained::CutOff(under_way)
        }
    }
}

/// Writes out what is only in memory, if the disk takes it.
async fn write_out(shelf: &Shelf, ledger: &Arc<Ledger>) {
    let (noted, index) = tokio::join!(
        tokio::time::timeout(LAST_WRITE, ledger.flush()),
        tokio::time::timeout(LAST_WRITE, shelf.flush()),
    );
    // A failure is logged where it happens.
    if noted.is_err() {
        tracing::warn!("the ledger was not written out in time: the disk does not answer");
    }
    match index {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the index could not be written out; it is rebuilt at the next start");
        }
        Err(_) => {
            tracing::warn!("the index was not written out in time: the disk does not answer");
        }
    }
}
