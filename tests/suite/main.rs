//! The proxy from outside, in one process: a simulated upstream, the whole proxy on a port of its own,
//! and clients that speak real HTTP to it. One module for each promise.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod clock;
mod endings;
mod fingerprints;
mod house;
mod joins;
mod keeping;
mod leaving;
mod paying_once;
mod reuse;
mod unknown;
