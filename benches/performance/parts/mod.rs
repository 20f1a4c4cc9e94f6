//! Small programs of ours, each a process of its own: the floors, and the upstream behind everything.
//!
//! A floor does as little as its row allows, written as one would with hyper and tokio: what a system
//! costs beyond it is what the system's own work costs. All run on as many threads as the proxy does.

mod answers;
mod keeping;
mod memory;
mod relay;
mod served;
mod upstream;

use std::path::PathBuf;

use clap::Subcommand;
use http::Uri;

pub(crate) use answers::{Sort, ready, small};
pub(crate) use upstream::{BIG, LARGE_LEN, OPEN, STAMPED};

/// Which of them a process is.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Answers from memory, by the canonical hash of the request.
    Memory,
    /// Passes everything on.
    Relay {
        /// The origin of the upstream.
        upstream: Uri,
        /// The authority to trust, of an upstream with TLS.
        authority: Option<PathBuf>,
    },
    /// Passes on what sled does not have, and has it from then on.
    Keeping {
        /// The origin of the upstream.
        upstream: Uri,
        /// Where sled keeps it.
        folder: PathBuf,
    },
    /// The API behind all of them.
    Upstream {
        /// The certificate and its key, with TLS.
        #[arg(num_args = 2)]
        shown: Vec<PathBuf>,
    },
}

/// Runs until it is killed.
pub(crate) fn run(part: Part) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match part {
            Part::Memory => memory::run().await,
            Part::Relay {
                upstream,
                authority,
            } => relay::run(upstream, authority.as_deref()).await,
            Part::Keeping { upstream, folder } => keeping::run(upstream, &folder).await,
            Part::Upstream { shown } => upstream::run(&shown).await,
        }
    });
}
