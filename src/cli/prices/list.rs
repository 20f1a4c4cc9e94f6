//! `reprise prices list`.

use clap::Args;

use super::print;
use crate::cli::Failure;
use crate::config::{self, Sources};
use crate::price::Prices;

#[derive(Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints every price that holds.
pub(super) fn run(args: &ListArgs, sources: &Sources) -> Result<(), Failure> {
    let prices = Prices::new(&config::load(sources)?.config.prices);
    if args.json {
        print::list_json(&prices)
    } else {
        print::list(&prices)
    }
}
