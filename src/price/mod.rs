//! What generations cost; pure.

mod usd;

pub use usd::Usd;
