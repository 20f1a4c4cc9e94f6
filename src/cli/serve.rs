//! `reprise serve`: the proxy, from its configuration to its drained end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use super::origin::Origin;
use super::progress::Progress;
use super::{Failure, log, signals};
use crate::app::{App, Drained, Looking, Secrets};
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Ready, Sources};
use crate::server::descriptors;
use crate::server::workers::{Crew, NoWorker, Workers};
use crate::store::Indexing;

/// How long calls that block may go on when everything else has ended.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Serves until a signal.
pub(super) fn run(sources: &Sources) -> Result<(), Failure> {
    let Ready {
        loaded,
        upstream_key,
        admin_token,
        callback_secret,
    } = config::load_to_serve(sources)?;
    let secrets = Secrets {
        upstream_key,
        admin_token,
        callback_secret,
    };
    let voice = log::start(&loaded.config.log);
    let lines = voice.lines();
    keep_to_ourselves();
    let runtime = runtime()?;
    let workers = Workers::start(descriptors::workers())?;
    let asked = Arc::new(Notify::new());
    let log = Box::new(move |log: &config::Log| voice.change(log));
    let looking = Looking::new(sources.clone(), &loaded, asked.clone(), log);
    let crew = workers.crew();
    let ended = runtime.block_on(serve(&loaded, secrets, (looking, asked), crew));
    // A call that the disk does not come back from would hold up the end for ever.
    let end = Instant::now() + LAST_CALLS;
    workers.end(LAST_CALLS);
    runtime.shutdown_timeout(end.saturating_duration_since(Instant::now()));
    lines.flush();
    ended
}

/// The runtime of everything but the connections: who accepts them, follows jobs, fetches files, keeps
/// what is kept within its bounds. One thread has time for all of that.
fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

impl From<NoWorker> for Failure {
    fn from(error: NoWorker) -> Self {
        Self::Runtime(error.to_string())
    }
}

async fn serve(
    loaded: &Loaded,
    secrets: Secrets,
    (looking, asked): (Looking, Arc<Notify>),
    crew: Crew,
) -> Result<(), Failure> {
    let stop = signals::stop(asked)?;
    let format = loaded.config.log.format;
    let tell = Box::new(showing());
    let app = App::bind_telling(loaded.config.clone(), secrets, Clock::system(), tell).await?;
    let app = app.looking_again(looking).with_crew(crew);
    let origin = Origin::of(&app, &loaded.config.allowed_hosts);
    log::announce(format, &opening(loaded, &app, &origin));
    for doubt in origin.doubts {
        tracing::warn!("{doubt}");
    }
    for file in &app.report().damaged {
        tracing::error!(file = %file.display(), "damaged; what it held is not served");
    }
    match app.run(stop).await {
        Drained::Whole => tracing::info!("stopped"),
        Drained::CutOff(0) => tracing::warn!("stopped; some answers had not ended"),
        Drained::CutOff(calls) => tracing::warn!(
            calls,
            "stopped with paid calls under way; their outcome is unknown until it is resolved"
        ),
    }
    Ok(())
}

/// How far an index is that has to be made anew, on a terminal.
fn showing() -> impl Fn(Indexing) {
    let line = Mutex::new(Progress::counting("making the index: files read"));
    move |indexing| {
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are, if the rest is like what was read.
        let all = (indexing.files * 100).checked_div(indexing.percent);
        line.of(all.unwrap_or(0));
        line.to(indexing.files);
    }
}

/// SECURITY: what this process writes is nobody else's to read, files that sled makes included; and
/// its memory, which holds the upstream key, goes into no core file.
fn keep_to_ourselves() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "a crash could leave the upstream key in a core file");
    }
}

/// The first lines on start.
fn opening(loaded: &Loaded, app: &App, origin: &Origin) -> Vec<String> {
    let config = &loaded.config;
    let report = app.report();
    let mut lines = vec![
        format!("reprise {}", env!("CARGO_PKG_VERSION")),
        format!("listening on {}", origin.listening),
        upstream(config),
        format!(
            "data in {} ({} generations kept, {} unresolved)",
            config.data_dir.display(),
            report.generations,
            report.intents
        ),
        format!("clients: {}", clients(config)),
    ];
    if config.console.enabled {
        lines.push(format!(
            "console {}/, admin API below /api (token in {})",
            origin.reachable,
            match &config.console.token_env {
                Some(variable) => variable.clone(),
                None => config.data_dir.join("admin-token").display().to_string(),
            }
        ));
    }
    if let Some(why) = &report.rebuilt {
        lines.push(format!("index rebuilt from the kept files: {why}"));
    }
    lines.push(format!("export OPENAI_BASE_URL={}/v1", origin.reachable));
    lines
}

fn upstream(config: &Config) -> String {
    let url = &config.upstream.base_url;
    match config.upstream.proxies.on_the_way_to(url) {
        Ok(Some(detour)) => format!("upstream {url} through the proxy {detour}"),
        Ok(None) | Err(_) => format!("upstream {url}"),
    }
}

fn clients(config: &Config) -> String {
    match config.clients.len() {
        0 => "open: loopback only".to_owned(),
        1 => "1 key".to_owned(),
        many => format!("{many} keys"),
    }
}
