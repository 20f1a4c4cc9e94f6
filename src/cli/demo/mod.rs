//! `reprise demo`: sandbox and proxy in one process, real HTTP between them and their clients.
//!
//! [`tour`] sends the requests and tells what became of each; [`client`] is who sends them.

mod client;
mod tour;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Failure, runtime, signals};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{self, Config, Sources};
use crate::sandbox::{Options, Sandbox};

#[derive(Args)]
pub(super) struct DemoArgs {
    /// End after the tour
    #[arg(long)]
    exit: bool,
    /// Where to listen; any free port when it is taken
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
}

/// Gives the tour, and stays to be tried unless told to end.
pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let data = Scratch::new()?;
    runtime()?.block_on(async {
        let stop = signals::stop(Arc::default())?;
        let sandbox = Sandbox::start(Options::default()).await?;
        let listen = free_or_any(args.listen).await;
        let config = configuration(listen, &sandbox, &data.0)?;
        let key = SecretString::from("no-key-needed");
        let app = App::bind(config.clone(), key, Clock::system()).await?;
        let base = format!("http://{}/v1", app.addr());
        let serving = tokio::spawn(app.run(stop.clone()));
        let toured = give_tour(&base, &sandbox, (&config, &stop)).await;
        if toured.is_ok() && !args.exit && !stop.is_cancelled() {
            print!("{}", tour::farewell(&base, &sandbox.base_url()));
            stop.cancelled().await;
        }
        stop.cancel();
        let _ = serving.await;
        sandbox.stop().await;
        toured
    })
}

async fn give_tour(
    base: &str,
    sandbox: &Sandbox,
    (config, stop): (&Config, &CancellationToken),
) -> Result<(), Failure> {
    tokio::select! {
        toured = tour::give(base, sandbox, config) => {
            toured.map_err(|error| Failure::Runtime(format!("the tour broke off: {error}")))
        }
        () = stop.cancelled() => Ok(()),
    }
}

/// Nothing of the user's own configuration: a demo must not spend, nor write where it is kept.
fn configuration(listen: SocketAddr, sandbox: &Sandbox, dir: &Path) -> Result<Config, Failure> {
    let sources = Sources {
        listen: Some(listen.to_string()),
        upstream: Some(sandbox.base_url()),
        data_dir: Some(dir.join("data")),
        cwd: dir.to_owned(),
        ..Sources::default()
    };
    let mut config = config::load(&sources)?.config;
    config.cache.min_free = 0;
    // The simulated storage is on this machine.
    let loopback = std::net::Ipv4Addr::LOCALHOST;
    config.media.allow = vec![config::Network::of(loopback.into())];
    config.jobs.min_poll_interval = std::time::Duration::from_millis(250);
    Ok(config)
}

async fn free_or_any(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted).await {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// A folder that goes when the demo does.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("reprise-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
