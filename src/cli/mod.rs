//! The commands, one file each.
//!
//! A command returns what went wrong as a [`Failure`], and this page turns it into the exit code:
//! 0 fine, 1 something failed while running, 2 bad usage or bad configuration.

mod admin;
mod cache;
mod check;
mod completions;
mod demo;
mod jobs;
mod keys;
mod log;
mod origin;
mod output;
mod prices;
mod progress;
mod sandbox;
mod serve;
mod signals;
mod stats;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::StartError;
use crate::config::edit::EditError;
use crate::config::{Problem, Problems, Sources};
use crate::store::StoreError;

/// So many letters of a failure are printed: there may be a line for each of a thousand clients.
const LONGEST_FAILURE: usize = 256 * 1024;

/// A local, OpenAI-compatible caching proxy: an identical generation is paid for once.
#[derive(Parser)]
#[command(name = "reprise", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Args)]
struct Common {
    /// The configuration file (environment: `REPRISE_CONFIG`; default: ./proxy.toml if there is one)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// What `serve` takes.
#[derive(Args, Default, Clone)]
struct ServeArgs {
    /// Where to listen (environment: `REPRISE_LISTEN`; default: 127.0.0.1:8787)
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The upstream's base URL (environment: `REPRISE_UPSTREAM`; default: <https://relaydance.com/v1>)
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where to keep what was paid for (environment: `REPRISE_DATA_DIR`)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The form of the log
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy (the default)
    Serve(ServeArgs),
    /// Show what it does: no key, no network, no cost
    Demo(demo::DemoArgs),
    /// A simulated RelayDance, to develop against at no cost
    Sandbox(sandbox::SandboxArgs),
    /// Read the configuration and say everything that is wrong with it
    Check(check::CheckArgs),
    /// The keys of clients, kept in proxy.toml
    Keys(keys::KeysArgs),
    /// What runs, and what has an unknown outcome
    Jobs(jobs::JobsArgs),
    /// What is kept
    Cache(cache::CacheArgs),
    /// Print what completes this command in a shell
    Completions(completions::CompletionsArgs),
    /// What was paid, and what was saved
    Stats(stats::StatsArgs),
    /// What models cost
    Prices(prices::PricesArgs),
}

/// Why a command did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Bad usage or bad configuration: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Something failed while running: exit code 1.
    #[error("{0}")]
    Runtime(String),
    /// Whoever read what is printed has seen enough and gone: nothing of ours has failed.
    #[error("nobody reads what is printed")]
    Unread,
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Usage(problems.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Usage(problem.to_string())
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Problems(_) | EditError::Uneditable(_) => Self::Usage(error.to_string()),
            EditError::Unwritten { .. } => Self::Runtime(error.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Certificate(_) | StartError::Upstream(_) => Self::Usage(error.to_string()),
            StartError::Store(_) | StartError::Ledger(_) | StartError::Listen { .. } => {
                Self::Runtime(error.to_string())
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Runtime(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Unread;
        }
        Self::Runtime(error.to_string())
    }
}

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => serve::run(&sources(&cli.common, &cli.serve)),
        Some(Command::Serve(args)) => serve::run(&sources(&cli.common, &args.or(cli.serve))),
        Some(Command::Check(mut args)) => {
            let serve = std::mem::take(&mut args.serve).or(cli.serve);
            check::run(&args, &sources(&cli.common, &serve))
        }
        Some(Command::Keys(mut args)) => {
            let serve = ServeArgs {
                data_dir: args.data_dir.take().or(cli.serve.data_dir),
                ..ServeArgs::default()
            };
            keys::run(args, &sources(&cli.common, &serve))
        }
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Sandbox(args)) => sandbox::run(&args),
        Some(Command::Jobs(mut args)) => {
            let serve = ServeArgs {
                data_dir: args.data_dir.take().or(cli.serve.data_dir),
                ..ServeArgs::default()
            };
            jobs::run(args, &sources(&cli.common, &serve))
        }
        Some(Command::Cache(mut args)) => {
            let serve = ServeArgs {
                data_dir: args.data_dir.take().or(cli.serve.data_dir),
                ..ServeArgs::default()
            };
            cache::run(args, &sources(&cli.common, &serve))
        }
        Some(Command::Stats(mut args)) => {
            let serve = ServeArgs {
                data_dir: args.data_dir.take().or(cli.serve.data_dir),
                ..ServeArgs::default()
            };
            stats::run(&args, &sources(&cli.common, &serve))
        }
        Some(Command::Prices(args)) => {
            let serve = ServeArgs {
                upstream: args.upstream.clone().or(cli.serve.upstream),
                ..ServeArgs::default()
            };
            prices::run(&args, &sources(&cli.common, &serve))
        }
    };
    match result {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(failure @ Failure::Usage(_)) => failed(&failure, 2),
        Err(failure @ Failure::Runtime(_)) => failed(&failure, 1),
    }
}

fn failed(failure: &Failure, code: u8) -> ExitCode {
    eprintln!("reprise: {}", shown(&failure.to_string()));
    ExitCode::from(code)
}

/// SECURITY: a failure may repeat what upstream or another program said.
fn shown(words: &str) -> String {
    let end = words.char_indices().nth(LONGEST_FAILURE);
    let (said, more) = match end.and_then(|(end, _)| words.get(..end)) {
        Some(said) => (said, "…"),
        None => (words, ""),
    };
    admin::printable(said) + more
}

impl ServeArgs {
    /// Options may stand before or behind the word `serve`.
    fn or(self, before: Self) -> Self {
        Self {
            listen: self.listen.or(before.listen),
            upstream: self.upstream.or(before.upstream),
            data_dir: self.data_dir.or(before.data_dir),
            log_format: self.log_format.or(before.log_format),
        }
    }
}

fn sources(common: &Common, serve: &ServeArgs) -> Sources {
    Sources {
        flag_config: common.config.clone(),
        listen: serve.listen.clone(),
        upstream: serve.upstream.clone(),
        data_dir: serve.data_dir.clone(),
        log_format: serve.log_format.clone(),
        ..Sources::of_process()
    }
}

/// The runtime of the commands that serve.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_steers_no_terminal_and_has_an_end() {
        assert_eq!(shown("one\n\u{1b}[2Jtwo\r"), "one\n?[2Jtwo?");
        let long = "ü".repeat(LONGEST_FAILURE);
        assert_eq!(shown(&long), long);
        assert_eq!(shown(&(long.clone() + "ü")), long + "…");
    }
}
