//! The real program, as a person or a supervisor runs it: arguments, exit codes, lines, signals,
//! and what is left after `kill -9`.
//!
//! Every test has a home folder and an environment of its own; upstream is the sandbox, inside the
//! test process, so that a gate can hold it while the program dies.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod archive;
mod call;
mod callbacks;
mod check;
mod commands;
mod completions;
mod configuration;
mod crash;
mod ending;
mod exposition;
mod https;
mod keys;
mod large;
mod observing;
mod prices;
mod program;
#[allow(dead_code, reason = "the suite uses more of it")]
#[path = "../suite/house/receiver.rs"]
mod receiver;
mod reload;
mod secrets;
mod start;
mod threads;
