//! The sandbox from outside, over real sockets.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod answers;
mod call;
mod clips;
mod jobs;
mod prices;
mod realtime;
mod script;
mod wire;
