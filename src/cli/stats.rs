//! `reprise stats`: what was paid, and what was saved.

mod csv;
mod print;
mod spark;

use std::collections::BTreeMap;
use std::io::IsTerminal;

use clap::Args;

use super::admin::{Admin, Reach};
use super::{Failure, log, output, runtime};
use crate::clock::Clock;
use crate::config::{self, Config, Log, LogFormat, Sources};
use crate::ledger::{self, By, LedgerError, Question, Statistics};
use crate::store::Glance;

#[derive(Args)]
pub(super) struct StatsArgs {
    /// The groups: client, model, kind or day (in UTC)
    #[arg(long, default_value_t)]
    by: By,
    /// Only what was asked for since then: an age (7d, 12h), a day (2026-11-01) or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print CSV, a line for each group
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Where what was paid for is kept [env: `REPRISE_DATA_DIR`]
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<std::path::PathBuf>,
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// Prints statistics.
pub(super) fn run(args: &StatsArgs, sources: &Sources) -> Result<(), Failure> {
    let since = args.since.as_deref();
    let since = since.map(|text| ledger::since(text, Clock::system().now()));
    let since = since
        .transpose()
        .map_err(|error| Failure::Usage(format!("--since: {error}")))?;
    let question = Question { by: args.by, since };
    let config = config::load(sources)?.config;
    log::start(&Log {
        format: LogFormat::Text,
        level: "warn".to_owned(),
    });
    runtime()?.block_on(async {
        let reach = Reach::find(&config, &sources.env).await?;
        let statistics = ask(&reach, &config, &question).await?;
        if args.json {
            return output::json(&statistics);
        }
        if args.csv {
            return output::print(&csv::of(args.by, &statistics.groups));
        }
        if !std::io::stdout().is_terminal() {
            return output::print(&print::columns(&statistics));
        }
        let by_day = Question {
            by: By::Day,
            ..question
        };
        let days = match args.by {
            By::Day => statistics.clone(),
            By::Client | By::Model | By::Kind => ask(&reach, &config, &by_day).await?,
        };
        output::print(&print::table(args.by, &statistics, &days.groups))
    })
}

/// Everything that the proxy with this configuration has booked so far.
pub(super) async fn of_all(config: &Config) -> Result<Statistics, Failure> {
    let reach = Reach::find(config, &BTreeMap::new()).await?;
    let question = Question {
        by: By::Model,
        since: None,
    };
    ask(&reach, config, &question).await
}

async fn ask(reach: &Reach, config: &Config, question: &Question) -> Result<Statistics, Failure> {
    match reach {
        Reach::Running(admin) => ask_proxy(admin, question).await,
        // Reads the files without taking the directory: a proxy may start meanwhile.
        Reach::Stopped => match Glance::at(&config.data_dir)? {
            Some(_) => Ok(Statistics::of_files(&config.data_dir, question)?),
            None => Ok(Statistics::default()),
        },
    }
}

async fn ask_proxy(admin: &Admin, question: &Question) -> Result<Statistics, Failure> {
    admin.get(&format!("/api/stats?{}", question.query())).await
}
