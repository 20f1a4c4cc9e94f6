//! What results link to.
//!
//! Upstream's links die after a day, and some sooner. So the files behind them are kept, and an
//! answer points to the kept copies:
//!
//! - [`links`] finds the links of a finished answer, [`rewrite()`] replaces them in its bytes; pure;
//! - [`name`] is the name of a kept file in a link, [`types`] what its ending means; pure;
//! - [`range`] reads which part of a file is asked for, and under which condition; pure;
//! - [`serve()`] answers with the file or that part of it;
//! - [`archive`] has the files fetched: [`round`] by round of its [`queue`], on a checked [`way`], each by
//!   one [`fetch`], which goes on with a [`part`] and tells by a [`sniff`] what it is;
//! - [`life`] says whether a link still works that nothing was kept of;
//! - [`medium`] is what a record says about all this; pure.

mod archive;
mod fetch;
mod life;
pub mod links;
pub mod medium;
mod name;
mod part;
mod queue;
pub mod range;
mod rewrite;
mod round;
mod serve;
mod sniff;
pub mod types;
mod way;

pub use archive::{Archive, Means, PATIENCE, Rules, Settled, Tally};
pub use life::Life;
pub use name::Name;
pub use rewrite::rewrite;
pub use serve::{Shown, attachment, serve};
