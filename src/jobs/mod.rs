//! Video jobs: what upstream says about them, and how often it is asked.
//!
//! - [`dialect`] every shape of a submit's and a poll's answer, read in one place;
//! - [`polls`] a client's poll: from what is kept when the job is done, else one question to
//!   upstream for all who ask within `min_poll_interval`.

pub mod dialect;
mod polls;

pub use polls::{PollAnswer, PollError, Polled, Polls};
