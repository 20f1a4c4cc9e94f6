//! What is asked of a run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::parts::Part;
use crate::rows::Row;

/// How fast the proxy is, beside floors of ours and beside nginx and Varnish.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(name = "performance")]
pub(crate) struct Options {
    /// The rows to measure, by name; all when none is named.
    rows: Vec<String>,
    /// Lists the rows.
    #[arg(long)]
    pub(crate) list: bool,
    /// How many times each system has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one turn is, in milliseconds.
    #[arg(long, default_value_t = 1500)]
    millis: u64,
    /// Three short rounds: figures to work with, not to quote.
    #[arg(long)]
    quick: bool,
    /// Only that everything runs and answers right: no figure of it means anything.
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Also what takes long: a store of a million generations.
    #[arg(long)]
    pub(crate) large: bool,
    /// The program to measure, in place of the one that was built beside this.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_reprise"))]
    pub(crate) program: PathBuf,
    /// What the proxy logs; by default a line for each request.
    #[arg(long, default_value = "info")]
    pub(crate) log: String,
    /// Writes the figures to docs/performance.md even when rows were picked.
    #[arg(long)]
    write: bool,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else this program is.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One of the small programs that are measured.
    #[command(hide = true)]
    Part {
        #[command(subcommand)]
        part: Part,
    },
}

impl Options {
    /// The rows to measure, in the order of the table.
    pub(crate) fn rows(&self) -> Vec<Row> {
        for name in &self.rows {
            let known = Row::ALL.iter().any(|row| row.name() == name);
            assert!(known, "no row is named {name}; --list shows them");
        }
        let wanted = |row: &Row| match self.rows.as_slice() {
            [] => self.large || self.smoke || !row.takes_long(),
            names => names.iter().any(|name| name == row.name()),
        };
        Row::ALL.into_iter().filter(wanted).collect()
    }

    pub(crate) fn rounds(&self) -> usize {
        match (self.smoke, self.quick) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => self.rounds,
        }
    }

    /// How long one turn is.
    pub(crate) fn turn(&self) -> Duration {
        Duration::from_millis(match (self.smoke, self.quick) {
            (true, _) => 50,
            (false, true) => 500,
            (false, false) => self.millis,
        })
    }

    /// How many connections ask at once, one load after the other.
    pub(crate) fn crowds(&self) -> &'static [usize] {
        if self.smoke { &[1, 16] } else { &[1, 16, 64] }
    }

    /// `full` of something, or what a smoke test has patience for.
    pub(crate) fn or_few(&self, full: usize, few: usize) -> usize {
        if self.smoke { few } else { full }
    }

    /// Whether the figures go to the page: those of a whole run do.
    pub(crate) fn writes(&self) -> bool {
        self.write || (self.rows.is_empty() && !self.smoke && !self.quick)
    }
}
