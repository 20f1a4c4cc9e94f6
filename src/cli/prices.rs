//! `reprise prices`: what models cost, and what upstream says they cost now.

mod list;
mod print;
mod update;

use clap::{Args, Subcommand};

use super::Failure;
use crate::config::Sources;

#[derive(Args)]
pub(super) struct PricesArgs {
    #[command(subcommand)]
    command: PricesCommand,
    /// The upstream's base URL (environment: `REPRISE_UPSTREAM`)
    #[arg(long, value_name = "URL", global = true)]
    pub(super) upstream: Option<String>,
}

#[derive(Subcommand)]
enum PricesCommand {
    /// Show every price that holds, and where it comes from
    List(list::ListArgs),
    /// Read upstream's public price list, and write what differs into the configuration file
    Update(update::UpdateArgs),
}

/// Does what is asked for.
pub(super) fn run(args: &PricesArgs, sources: &Sources) -> Result<(), Failure> {
    match &args.command {
        PricesCommand::List(args) => list::run(args, sources),
        PricesCommand::Update(args) => update::run(args, sources),
    }
}
