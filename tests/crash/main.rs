//! What a crash, a failing disk and damaged files may do to a running proxy, and what they may not.
//!
//! The real program runs as a child on a directory of its own; the sandbox lives in the test and
//! keeps its bill over every kill. Everything here asks the same three questions: was anything paid
//! for twice that nobody asked for twice, is anything gone that a client has seen, and is what is
//! unknown shown as unknown.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `REPRISE_LONG=1` | the long form: 200 random kills, 300 damages, 100 lying disks |
//! | `REPRISE_SEED=…` | one random trial again, by the seed that its failure printed |
//! | `REPRISE_REQUIRE_CLIENTS=1` | a missing C compiler is a failure, not a test left out |
//!
//! ```text
//! REPRISE_LONG=1 cargo test --test crash -- --nocapture
//! ```
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]
#![cfg_attr(
    not(debug_assertions),
    allow(dead_code, reason = "a release build has no fail points to kill at")
)]

mod books;
mod damage;
mod dice;
mod disk;
mod history;
mod home;
mod matrix;
mod panics;
mod passed_by;
mod power;
mod program;
mod random;
mod shim;
mod sort;
mod starts;
mod told;
mod trial;
mod visitor;
mod watched;

/// Whether the long form was asked for.
fn long() -> bool {
    std::env::var_os("REPRISE_LONG").is_some_and(|value| !value.is_empty() && value != "0")
}
