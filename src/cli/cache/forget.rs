//! `reprise cache remove` and `purge`.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::json;

use super::answer::Answer;
use super::place::{Place, stop, stopped};
use super::print;
use crate::cli::admin::segment;
use crate::cli::progress::Progress;
use crate::cli::{Failure, output};
use crate::clock::Clock;
use crate::config;
use crate::console::cache::{Denied, Removed, find, removed};
use crate::generation::Kind;
use crate::message::body;
use crate::store::{self, Purge, Purged};

#[derive(Args)]
pub(super) struct RemoveArgs {
    /// The keys, or at least 8 digits of each
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct PurgeArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only this kind: video, images, audio, embeddings or chat
    #[arg(long)]
    kind: Option<Kind>,
    /// Only what is at least so old: 30d, 12h
    #[arg(long, value_name = "AGE", value_parser = config::parse_duration)]
    older_than: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl PurgeArgs {
    /// Asks a person whether it is meant so.
    ///
    /// # Errors
    /// When it is not, or nobody can be asked.
    pub(super) fn ask(&self, dir: &Path) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let mut to = std::io::stderr().lock();
        let input = std::io::stdin();
        if !(input.is_terminal() && to.is_terminal()) {
            return Err(Failure::Usage(
                "what is purged has to be paid for again, and there is no terminal to ask on: say \
                 --yes if it is to go"
                    .to_owned(),
            ));
        }
        let kind = self.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
        let age = self.older_than.map(|_| " of that age").unwrap_or_default();
        let dir = dir.display();
        write!(
            to,
            "Forget every finished {kind}generation{age} in {dir}? What is asked for again is paid \
             for again. [y/N] "
        )?;
        to.flush()?;
        let mut answer = String::new();
        input.read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Runtime("nothing was forgotten".to_owned())),
        }
    }
}

/// Forgets some. One that cannot go does not keep the others.
pub(super) async fn remove(place: &Place, args: &RemoveArgs) -> Result<(), Failure> {
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    for key in &args.keys {
        match remove_one(place, key).await {
            Ok(removed) => gone.push(removed),
            Err(failure) => failed.push(failure.to_string()),
        }
    }
    if args.json {
        output::json(&gone)?;
    } else {
        print::removed(&gone)?;
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::Runtime(failed.join("\nreprise: ")))
    }
}

async fn remove_one(place: &Place, key: &str) -> Result<Removed, Failure> {
    match place {
        Place::Empty(_) => Err(Denied::None(key.to_owned()).into()),
        Place::Ours(store) => {
            let key = find(store.as_ref(), key)?;
            Ok(removed(store.as_ref(), key)?)
        }
        Place::Running(admin) => admin.delete(&format!("/api/cache/{}", segment(key))).await,
    }
}

/// Forgets all that is finished and meant.
pub(super) async fn purge(place: &Place, args: &PurgeArgs) -> Result<(), Failure> {
    let stop = stop()?;
    let mut progress = Progress::counting("generations forgotten:");
    let done: Purged = match place {
        Place::Empty(_) => Purged::default(),
        Place::Ours(store) => {
            let what = Purge {
                kind: args.kind,
                older_than: args.older_than,
            };
            let now = Clock::system().now();
            store::purge(store.as_ref(), None, &what, now, &mut |more| {
                progress.add(more);
                if stop.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?
        }
        Place::Running(admin) => {
            let seconds = args.older_than.map(|age| age.as_secs());
            let what = json!({"kind": args.kind, "older_than_seconds": seconds}).to_string();
            let asked = (Method::POST, "/api/cache/purge");
            let answer = Answer::to(admin, &stop, asked, body::full(what)).await?;
            answer.news(progress).await?
        }
    };
    if args.json {
        output::json(&done)?;
    } else {
        print::purged(&done)?;
    }
    if stop.is_cancelled() {
        return Err(stopped());
    }
    Ok(())
}
