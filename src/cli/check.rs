//! `reprise check`: the configuration, and every problem with it.

use super::Failure;
use crate::config::{self, Ready, Sources};

/// Reads what `serve` would read.
pub(super) fn run(sources: &Sources) -> Result<(), Failure> {
    let Ready { loaded, .. } = config::load_to_serve(sources)?;
    for key in &loaded.not_yet {
        println!("not yet supported in this version, and without effect: {key}");
    }
    match &loaded.file {
        Some(file) => println!("{} is fine", file.display()),
        None => println!("no configuration file; flags, environment and defaults are fine"),
    }
    Ok(())
}
