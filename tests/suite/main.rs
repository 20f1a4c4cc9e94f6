//! The proxy from outside, in one process: a simulated upstream, the whole proxy on a port of its own,
//! and clients that speak real HTTP to it. One module for each promise.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod abuse;
mod archive;
mod callbacks;
mod clock;
mod codings;
mod credentials;
mod doors;
mod endings;
mod evicting;
mod fingerprints;
mod followed;
mod house;
mod jobs;
mod joins;
mod keeping;
mod leaving;
mod limits;
mod media_egress;
mod media_links;
mod media_serve;
mod money;
mod owners;
mod pass_through;
mod paying_once;
mod reload;
mod retries;
mod reuse;
mod shutdown;
mod tls;
mod unknown;
mod uploads;
mod versions;
mod websocket;
mod wire;
