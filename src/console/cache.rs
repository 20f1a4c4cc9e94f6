//! What is kept, as the admin API and the commands show and change it.
//!
//! - `listing` all of it, the newest first;
//! - `detail` one generation with everything that is known of it;
//! - `denied` which one is meant, and why it cannot be had or forgotten;
//! - `news` how a long call tells how far it is;
//! - `answers` the part of the API.

mod answers;
mod denied;
mod detail;
mod listing;
mod news;

pub use denied::{Denied, Removed, find, removed};
pub use detail::{Detail, Part, Poll, TaskDetail, body};
pub use listing::{Filter, Listed, each, write};
pub use news::News;
