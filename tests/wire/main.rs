//! The proxy's door, knocked on with raw sockets: what is said too slowly, too ambiguously, too
//! largely or not at all; and what must not come out of it.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod crowd;
mod early;
mod frames;
mod framing;
mod house;
mod http2;
mod key;
mod leave;
mod loops;
mod probes;
mod program;
mod refusals;
mod sizes;
mod slow;
mod upstream;
