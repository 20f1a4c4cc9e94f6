//! HTTP messages: bodies and headers, without a word about what they mean to us.
//!
//! - [`body`] one body type for every answer the proxy gives;
//! - [`headers`] which headers belong to one connection only, and how to take them out.

pub mod body;
pub mod headers;

pub use body::{Body, BodyError};
