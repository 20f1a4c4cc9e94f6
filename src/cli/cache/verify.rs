//! `reprise cache verify`.

use std::ops::ControlFlow;

use clap::Args;
use http::Method;

use super::answer::Answer;
use super::place::{Place, stop, stopped};
use super::print;
use crate::cli::progress::Progress;
use crate::cli::{Failure, output};
use crate::message::body;
use crate::store::{Store, VerifyReport};

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads everything again.
pub(super) async fn run(place: &Place, args: &VerifyArgs) -> Result<(), Failure> {
    let stop = stop()?;
    let report = match place {
        Place::Empty(_) => VerifyReport::default(),
        Place::Ours(store) => {
            let mut progress = Progress::of_bytes("verified", store.kept_bytes());
            store.verify(&mut |more| {
                progress.add(more);
                if stop.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?
        }
        Place::Running(admin) => {
            let asked = (Method::POST, "/api/cache/verify");
            let answer = Answer::to(admin, &stop, asked, body::empty()).await?;
            let progress = Progress::of_bytes("verified", answer.kept);
            answer.news(progress).await?
        }
    };
    if args.json {
        output::json(&report)?;
    } else {
        print::report(&report)?;
    }
    match report.faults {
        _ if report.broken_off => Err(stopped()),
        0 => Ok(()),
        1 => Err(Failure::Runtime(
            "1 file is not what was written: restore it from a backup, or remove the generation"
                .to_owned(),
        )),
        faults => Err(Failure::Runtime(format!(
            "{faults} files are not what was written: restore them from a backup, or remove the \
             generations"
        ))),
    }
}
