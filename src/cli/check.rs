//! `reprise check`: the configuration, and every problem with it; with `--online` the upstream key too.

mod online;

use clap::Args;
use serde_json::{Value, json};

use super::output::print;
use super::{Failure, ServeArgs};
use crate::config::{self, Problem, Problems, Ready, Sources};
use online::Verdict;

#[derive(Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    /// Ask the upstream whether it takes the key, by one request that costs nothing
    #[arg(long)]
    online: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads what `serve` would read, and asks upstream if that is wanted.
pub(super) fn run(args: &CheckArgs, sources: &Sources) -> Result<(), Failure> {
    let ready = match config::load_to_serve(sources) {
        Ok(ready) => ready,
        Err(problems) => {
            if args.json {
                print(&format!("{}\n", broken(&problems)))?;
            }
            return Err(problems.into());
        }
    };
    let verdict = if args.online {
        Some(online::ask(&ready)?)
    } else {
        None
    };
    if args.json {
        print(&format!("{}\n", fine(&ready, verdict.as_ref())))?;
    } else {
        print(&offline(&ready))?;
    }
    match verdict {
        Some(verdict) if !verdict.works => Err(Failure::Runtime(verdict.words)),
        Some(verdict) if !args.json => {
            let notes: Vec<&str> = verdict.notes.iter().map(String::as_str).collect();
            let lines = [&[verdict.words.as_str()], notes.as_slice()].concat();
            print(&format!("{}\n", lines.join("\n")))
        }
        Some(_) | None => Ok(()),
    }
}

/// What there is to say before anything is asked.
fn offline(ready: &Ready) -> String {
    match &ready.loaded.file {
        Some(file) => format!("{} is fine\n", file.display()),
        None => "no configuration file; flags, environment and defaults are fine\n".to_owned(),
    }
}

fn broken(problems: &Problems) -> Value {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    json!({"ok": false, "problems": lines})
}

fn fine(ready: &Ready, verdict: Option<&Verdict>) -> Value {
    let mut shown = json!({
        "ok": verdict.is_none_or(|verdict| verdict.works),
        "file": ready.loaded.file.as_ref().map(|file| file.display().to_string()),
        "problems": [],
    });
    if let Some(verdict) = verdict {
        shown["online"] = json!({
            "works": verdict.works, "status": verdict.status, "message": verdict.words,
            "models": verdict.models, "notes": verdict.notes,
        });
    }
    shown
}
