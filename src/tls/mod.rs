//! Certificates: whom we believe, and who we are.
//!
//! - [`client`] the client side of our own connections: the system's roots, and more beside them;
//! - [`pinned`] a client side that believes exactly one certificate;
//! - [`why`] why a connection over TLS did not come about, in plain words;
//! - [`Identity`] a certificate and its key, read from two files and checked;
//! - [`Front`] the server side that shows one, and takes up new files while it serves.
//!
//! Everything here is handed the one [`provider()`]; nothing reads a process-wide default.

mod dates;
mod front;
mod identity;
mod pin;
mod reason;
mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use front::{Front, Look};
pub use identity::{Flaw, Half, Identity};
pub use pin::pinned;
pub use reason::why;
pub use trust::{TrustError, client};

/// The one cryptography provider of this program.
///
/// It is passed on explicitly everywhere: rustls' implicit default panics when two providers are
/// compiled in, which a dependency could bring about.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
