//! Video jobs: what was submitted, and how it stands.

pub mod dialect;
