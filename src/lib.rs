//! Reprise: a local, OpenAI-compatible caching proxy.
pub mod clock;
pub mod config;
pub mod generation;
pub mod jobs;
pub mod message;
pub mod sandbox;
pub mod store;
