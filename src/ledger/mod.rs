//! What was paid, and what was saved: one line for each generation, `ledger/YYYY-MM.jsonl`.
//!
//! A [`Line`] is appended to the file of the month in which its generation was asked for, and never
//! changed. Several lines of one run stand in one file, and the last counts, so a file is read from
//! its end (`lines`, `seen`).
//!
//! **What costs money is durable before anyone hears of it.** [`Ledger::commit`] queues its line
//! (`queue`), and whoever has the pen (`pen`) writes all that waits with one write and one sync a
//! month: parallel commits share it. What cost nothing is [noted](Ledger::note): written a moment
//! later, in the background, without a sync.
//!
//! **A failing disk loses no line while the process lives.** What could not be written is taken back
//! from the file (`folder`), stays queued, and is written when the disk works again.
//!
//! **A crash tears at most the last line.** The next write to that file begins with a newline, so a
//! torn line stands alone: it is left out and counted, and nothing is lost beside it.
//!
//! Budgets begin with what was [`Spent`], and an outcome that stayed unknown is remembered
//! (`doubts`): a later paid run of the same generation may be a second payment. All sums are made
//! from the files ([`Statistics`]), for whatever [`Question`] there is.

mod doubts;
mod error;
mod folder;
mod line;
mod lines;
mod month;
mod pen;
mod question;
mod queue;
mod seen;
mod spent;
mod statistics;
mod tally;
#[cfg(test)]
mod tests;

pub use error::LedgerError;
pub use line::{Line, Outcome};
pub use pen::Ledger;
pub use question::{By, Question, UnknownGroup, since};
pub use spent::{Held, Spent, Sums};
pub use statistics::Statistics;
pub use tally::{Group, Tally};
