//! `reprise cache`: what is kept, looked at, forgotten, checked and carried.
//!
//! - `place` where it is: at a running proxy, or in the directory;
//! - `look` list and show, `forget` remove and purge, `verify`, `carry` export and import;
//! - `key` which generation a request is;
//! - `answer` long answers of a proxy, `print` what is said.

mod answer;
mod carry;
mod forget;
mod key;
mod look;
mod place;
mod print;
mod target;
mod upload;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, log, runtime};
use crate::config::{self, Log, LogFormat, Sources};
use crate::console::cache::Denied;
use place::Place;

#[derive(Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
    /// Where what was paid for is kept [env: `REPRISE_DATA_DIR`]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum CacheCommand {
    /// Show what is kept, the newest first
    List(look::ListArgs),
    /// Show everything that is known about one generation
    Show(look::ShowArgs),
    /// Forget generations, so that the next identical requests run again
    Remove(forget::RemoveArgs),
    /// Forget everything that is finished
    Purge(forget::PurgeArgs),
    /// Read everything again, and say what is not as it was written; changes nothing
    Verify(verify::VerifyArgs),
    /// Write everything that is kept into one file
    Export(carry::ExportArgs),
    /// Take over what an export holds
    Import(carry::ImportArgs),
    /// Print the key of a request: what identical requests have in common
    Key(key::KeyArgs),
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::Runtime(denied.to_string())
    }
}

/// Runs one of the commands about what is kept.
pub(super) fn run(args: CacheArgs, sources: &Sources) -> Result<(), Failure> {
    if let CacheCommand::Key(args) = &args.command {
        return key::run(args, sources);
    }
    let config = config::load(sources)?.config;
    if let CacheCommand::Purge(args) = &args.command {
        args.ask(&config.data_dir)?;
    }
    log::start(&Log {
        format: LogFormat::Text,
        level: "warn".to_owned(),
    });
    runtime()?.block_on(async {
        let place = Place::find(&config, &sources.env).await?;
        match args.command {
            CacheCommand::List(args) => look::list(&place, args).await,
            CacheCommand::Show(args) => look::show(&place, &args).await,
            CacheCommand::Remove(args) => forget::remove(&place, &args).await,
            CacheCommand::Purge(args) => forget::purge(&place, &args).await,
            CacheCommand::Verify(args) => verify::run(&place, &args).await,
            CacheCommand::Export(args) => carry::export(&place, &args).await,
            CacheCommand::Import(args) => carry::import(place, &args, &config).await,
            CacheCommand::Key(_) => Ok(()),
        }
    })
}
