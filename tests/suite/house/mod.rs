//! A scripted house: the sandbox as upstream, the proxy in front of it, and clients at its door.
//!
//! ```ignore
//! let mut house = House::new().config(|config| config.cache.min_free = 0).await;
//! let gate = house.hold("POST /v1/images");
//! let first = house.client().post("/v1/images/generations").json(&body).begin();
//! gate.arrived(1).await;
//! gate.release();
//! assert_eq!(first.answer().await.cache_status(), "reprise; fwd=miss; stored");
//! house.restart().await;
//! ```
//!
//! Nothing sleeps, and every wait ends after [`LIMIT`].

mod answer;
mod client;
mod disk;
mod host;
mod receiver;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reprise::app::{App, Changed, Drained, Reload};
use reprise::clock::Clock;
use reprise::config::{self, Config, Sources};
use reprise::media::Archive;
use reprise::sandbox::{self, Options, Sandbox};
use reprise::store::OpenReport;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use answer::{Answer, Broken, Opened};
pub(crate) use client::{Call, Client, Form, Underway};
pub(crate) use disk::{copy, files_below, flip_a_bit};
pub(crate) use host::{Host, Page, Visit};
pub(crate) use receiver::{Receiver, Reply};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// The key that upstream sees, and nobody else.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-of-the-suite";

/// Fails a test that hangs.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what)
        .await
        .expect("nothing happened for a minute")
}

/// Waits until something that nobody announces has come true.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let looking = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(looking).await;
}

/// As [`until`], of something that has to be asked for.
pub(crate) async fn until_async(what: impl AsyncFn() -> bool) {
    let looking = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(looking).await;
}

/// What a test changes in the configuration.
type Change = Box<dyn Fn(&mut Config) + Send>;

/// What a house is built from; await it to have it built.
#[must_use = "a house is built when it is awaited"]
pub(crate) struct Plan {
    options: Options,
    changes: Vec<Change>,
    clock: Clock,
    disk: Option<PathBuf>,
}

impl Plan {
    /// Changes the proxy's configuration, now and at every restart.
    pub(crate) fn config(mut self, change: impl Fn(&mut Config) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Changes how the sandbox behaves.
    pub(crate) fn sandbox(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// The clock the proxy goes by, restarts included.
    pub(crate) fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Starts on a copy of this data directory instead of an empty one.
    pub(crate) fn disk(mut self, dir: &Path) -> Self {
        self.disk = Some(dir.to_owned());
        self
    }

    async fn build(self) -> House {
        let home = tempfile::tempdir().unwrap();
        if let Some(from) = &self.disk {
            copy(from, &home.path().join("data"));
        }
        let sandbox = Sandbox::start(self.options.clone()).await.unwrap();
        let mut house = House {
            sandbox,
            home,
            plan: self,
            serving: None,
        };
        house.start().await;
        house
    }
}

impl IntoFuture for Plan {
    type Output = House;
    type IntoFuture = Pin<Box<dyn Future<Output = House> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { soon(Box::pin(self.build())).await })
    }
}

/// A running proxy with its own upstream and its own data directory.
pub(crate) struct House {
    /// The upstream: gates, faults, the bill, and what arrived.
    pub(crate) sandbox: Sandbox,
    home: TempDir,
    plan: Plan,
    serving: Option<Serving>,
}

struct Serving {
    archive: Arc<Archive>,
    addr: SocketAddr,
    reload: Reload,
    report: OpenReport,
    stop: CancellationToken,
    run: JoinHandle<Drained>,
}

impl House {
    /// Await it for a house with every default, or say first what shall be different.
    #[allow(
        clippy::new_ret_no_self,
        reason = "`House::new().await` is how a test begins"
    )]
    pub(crate) fn new() -> Plan {
        Plan {
            options: Options::default(),
            changes: Vec::new(),
            clock: Clock::system(),
            disk: None,
        }
    }

    /// Somebody new at the door, who speaks HTTP/1.1.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.addr(), false)
    }

    /// Somebody new at the door, who speaks HTTP/2 without TLS.
    pub(crate) fn client_h2(&self) -> Client {
        Client::new(self.addr(), true)
    }

    /// Where the proxy listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.serving.as_ref().expect("the house is shut").addr
    }

    /// Who fetches files for the proxy.
    pub(crate) fn archive(&self) -> &Archive {
        &self.serving.as_ref().expect("the house is shut").archive
    }

    /// The proxy's data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// What the proxy found in its data directory when it started last.
    pub(crate) fn report(&self) -> &OpenReport {
        &self.serving.as_ref().expect("the house is shut").report
    }

    /// The runs that were paid for.
    pub(crate) fn billed(&self) -> u64 {
        self.sandbox.bill().total()
    }

    /// Holds matching requests upstream; see [`Sandbox::hold`].
    pub(crate) fn hold(&self, route_prefix: &str) -> Gate {
        Gate(self.sandbox.hold(route_prefix))
    }

    /// Holds matching event streams upstream; see [`Sandbox::hold_stream`].
    pub(crate) fn hold_stream(&self, route_prefix: &str, after_events: usize) -> Gate {
        Gate(self.sandbox.hold_stream(route_prefix, after_events))
    }

    /// Waits until so many requests wait for the beginning of an answer that is being paid for,
    /// whoever leads among them.
    pub(crate) async fn waiting(&self, requests: usize) {
        let line = format!("reprise_requests_waiting {requests}");
        let client = self.client();
        until_async(async || {
            let figures = client.get("/metrics").send().await.text();
            figures.lines().any(|figure| figure == line)
        })
        .await;
    }

    /// Lets what was sent before go on for a while: these round trips take the same way, body and
    /// store, one after the other. Good for seeing that nothing happens; see [`Self::waiting`] for
    /// those who join.
    pub(crate) async fn settle(&self) {
        let client = self.client();
        for _ in 0..10 {
            let nothing = client
                .post("/v1/embeddings")
                .cache_control("only-if-cached");
            assert_eq!(
                nothing.json_text("{}").send().await.error_code(),
                "not_cached"
            );
        }
    }

    /// Starts the proxy on the data directory as it is now.
    pub(crate) async fn start(&mut self) {
        assert!(self.serving.is_none(), "it runs already");
        let key = SecretString::from(UPSTREAM_KEY);
        let app = App::bind(self.config(), key, self.plan.clock.clone());
        let mut app = soon(app).await.unwrap_or_else(|error| panic!("{error}"));
        let stop = CancellationToken::new();
        self.serving = Some(Serving {
            addr: app.addr(),
            reload: app.take_reload().unwrap(),
            archive: app.archive().clone(),
            report: app.report().clone(),
            run: tokio::spawn(app.run(stop.clone())),
            stop,
        });
    }

    /// Has the running proxy go by another configuration: the one that runs, with this change.
    pub(crate) async fn reload(&mut self, change: impl FnOnce(&mut Config)) -> Changed {
        let serving = self.serving.as_mut().expect("the house is shut");
        let mut config = Config::clone(&serving.reload.running());
        change(&mut config);
        let applied = serving
            .reload
            .apply(config, SecretString::from(UPSTREAM_KEY));
        soon(applied)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks the proxy to stop, without waiting.
    pub(crate) fn begin_shutdown(&self) {
        self.serving
            .as_ref()
            .expect("the house is shut")
            .stop
            .cancel();
    }

    /// Drains the proxy and says how that went.
    pub(crate) async fn shutdown(&mut self) -> Drained {
        self.begin_shutdown();
        let serving = self.serving.take().expect("the house is shut");
        soon(serving.run).await.unwrap()
    }

    /// Drains the proxy and starts it again on the same directory, on another port.
    pub(crate) async fn restart(&mut self) {
        assert_eq!(self.shutdown().await, Drained::Whole);
        self.start().await;
    }

    /// Nobody listens where upstream was.
    pub(crate) async fn stop_sandbox(&self) {
        soon(self.sandbox.clone().stop()).await;
    }

    /// A new sandbox, with a bill of its own, where the old one was.
    pub(crate) async fn replace_sandbox(&mut self) {
        let listener = TcpListener::bind(self.sandbox.addr()).await.unwrap();
        self.sandbox = Sandbox::serve(self.plan.options.clone(), listener, None).await;
    }

    fn config(&self) -> Config {
        let sources = Sources {
            listen: Some("127.0.0.1:0".to_owned()),
            upstream: Some(self.sandbox.base_url()),
            data_dir: Some(self.data_dir()),
            cwd: self.home.path().to_owned(),
            ..Sources::default()
        };
        let mut config = config::load(&sources).unwrap().config;
        // The machine that runs the suite may be short of disk, which is none of its business.
        config.cache.min_free = 0;
        // Tests count what is asked upstream: nobody but their clients asks, unless they say so.
        config.jobs.poll_interval = Duration::from_hours(1);
        config.media.archive = false;
        for change in &self.plan.changes {
            change(&mut config);
        }
        config
    }
}

/// A gate upstream whose waits are bounded. Dropped, it opens.
pub(crate) struct Gate(sandbox::Gate);

impl Gate {
    /// Waits until `n` requests or streams have come to it.
    pub(crate) async fn arrived(&self, n: usize) {
        soon(self.0.arrived(n)).await;
    }

    /// Lets everything go, now and from now on.
    pub(crate) fn release(&self) {
        self.0.release();
    }
}
