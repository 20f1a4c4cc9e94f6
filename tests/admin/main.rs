//! What a person does about a proxy: the admin API, and the commands that use it. The real program
//! before the simulated upstream, with a home of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod api;
mod browser;
mod call;
mod carrying;
mod deciding;
mod dying;
mod kept;
mod listing;
mod purging;
mod stats;
mod usage;
mod world;
