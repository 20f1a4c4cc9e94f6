//! `reprise serve`: the proxy, from its configuration to its drained end.

use super::{Failure, admin, log, runtime, signals};
use crate::app::{App, Drained, Secrets};
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Ready, Sources};

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
    log::start(&loaded.config.log);
    keep_to_ourselves();
    runtime()?.block_on(async {
        let stop = signals::stop()?;
        let format = loaded.config.log.format;
        let app = App::bind(loaded.config.clone(), secrets, Clock::system()).await?;
        log::announce(format, &opening(&loaded, &app));
        for key in &loaded.not_yet {
            tracing::warn!("not yet supported in this version, and without effect: {key}");
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
    })
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
fn opening(loaded: &Loaded, app: &App) -> Vec<String> {
    let config = &loaded.config;
    let report = app.report();
    let mut lines = vec![
        format!("reprise {}", env!("CARGO_PKG_VERSION")),
        format!("listening on http://{}", app.addr()),
        format!("upstream {}", config.upstream.base_url),
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
            "admin API http://{}/api (token in {})",
            admin::reachable(app.addr()),
            match &config.console.token_env {
                Some(variable) => variable.clone(),
                None => config.data_dir.join("admin-token").display().to_string(),
            }
        ));
    }
    if let Some(why) = &report.rebuilt {
        lines.push(format!("index rebuilt from the kept files: {why}"));
    }
    lines.push(format!(
        "export OPENAI_BASE_URL=http://{}/v1",
        admin::reachable(app.addr())
    ));
    lines
}

fn clients(config: &Config) -> String {
    match config.clients.len() {
        0 => "open: loopback only".to_owned(),
        1 => "1 key".to_owned(),
        many => format!("{many} keys"),
    }
}
