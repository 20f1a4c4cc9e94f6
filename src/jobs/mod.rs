//! Video jobs: what upstream says about them, and how often it is asked.
//!
//! - [`dialect`] every shape of a submit's and a poll's answer, read in one place;
//! - [`polls`] a poll: one [`question`] to upstream for all who ask within `min_poll_interval`, who
//!   share one [`slot`] and get one [`answer`];
//! - [`ending`] what the end of a job changes, and who hears of it.

mod answer;
pub mod dialect;
mod ending;
mod polls;
mod question;
mod slot;

pub use answer::{PollAnswer, PollError};
pub use ending::{End, Endings, Ends, Outcome};
pub use polls::{Polled, Polls};
pub use question::Question;
