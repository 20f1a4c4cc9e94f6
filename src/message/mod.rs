//! HTTP messages: bodies and headers, without a word about what they mean to us.
//!
//! - [`causes()`] an error and its causes as one line, [`said()`] what a panic has said;
//! - [`body`] one body type for every answer the proxy gives;
//! - [`coding`] content codings undone, within bounds;
//! - [`gather`] pieces that are ready together, as one;
//! - [`headers`] which headers belong to one connection only, and how to take them out;
//! - [`idle`] a body that may not fall silent;
//! - [`one_line()`] a stranger's words, safe to show;
//! - [`peek()`], [`beginning`] a look at the beginning of a body.

pub mod body;
mod causes;
pub mod coding;
pub mod gather;
pub mod headers;
pub mod idle;
mod one_line;
mod peek;

pub use body::{Body, BodyError};
pub use causes::{causes, said};
pub use gather::Gather;
pub use idle::{Idle, Silence};
pub use one_line::one_line;
pub use peek::{beginning, peek};

/// Marks a request that came with `Transfer-Encoding` and `Content-Length`, as an extension of it:
/// the connection has seen both, and the header map holds only the one that was used.
#[derive(Clone, Copy, Debug)]
pub struct TwoLengths;

/// Marks a request whose target had a fragment (`#…`), which the parsed target no longer has.
#[derive(Clone, Copy, Debug)]
pub struct Fragment;

/// Who sent a request, as an extension of it: both ends of its connection. One alone is no name:
/// two connections may share it while their other ends differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's end.
    pub from: std::net::SocketAddr,
    /// Our end.
    pub to: std::net::SocketAddr,
}
