//! Certificates: whom we believe, and who we are.
//!
//! - [`trust`] the client side of every connection of ours: the system's roots, and more beside them.
//!
//! Everything here is handed the one [`provider()`]; nothing reads a process-wide default.

mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use trust::{TrustError, client};

/// The one cryptography provider of this program.
///
/// It is passed on explicitly everywhere: rustls' implicit default panics when two providers are
/// compiled in, which a dependency could bring about.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
