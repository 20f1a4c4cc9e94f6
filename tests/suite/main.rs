//! The proxy from outside, in one process: a simulated upstream, the whole proxy on a port of its own,
//! and clients that speak real HTTP to it. One module for each promise.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod clock;
mod credentials;
mod doors;
mod endings;
mod fingerprints;
mod house;
mod jobs;
mod joins;
mod keeping;
mod leaving;
mod media_egress;
mod media_links;
mod media_serve;
mod pass_through;
mod paying_once;
mod reuse;
mod shutdown;
mod tls;
mod unknown;
mod wire;
