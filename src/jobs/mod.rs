//! Video jobs: what upstream says about them, and how often it is asked.
//!
//! - [`dialect`] every shape of a submit's and a poll's answer, read in one place;
//! - [`polls`] a poll: one [`question`] to upstream for all who ask within `min_poll_interval`, who
//!   share one [`slot`] and get one [`answer`];
//! - [`watcher`] asks for every running job by itself, in the order of the [`agenda`]: each [`watched`]
//!   job at its own [`pace`], on the [`route`] of its submit, by the last [`word`] that was heard of it;
//! - [`ending`] what the end of a job changes, and who hears of it;
//! - [`last_word`] what upstream says about a job before it is deleted there.

mod agenda;
mod answer;
mod clip;
pub mod dialect;
mod ending;
mod last_word;
mod pace;
mod polls;
mod question;
mod route;
mod slot;
mod watched;
mod watcher;
mod word;

pub use agenda::Prospect;
pub use answer::{PollAnswer, PollError};
pub use ending::{End, Endings, Ends, Outcome};
pub use last_word::LastWord;
pub use polls::{Polled, Polls};
pub use question::Question;
pub use watcher::Watcher;
