//! What results link to.
//!
//! Upstream's links die after a day, and some sooner. So the files behind them are kept, and an
//! answer points to the kept copies:
//!
//! - [`links`] finds the links of a finished answer, [`rewrite()`] replaces them in its bytes; pure;
//! - [`name`] is the name of a kept file in a link, [`types`] what its ending means; pure;
//! - [`range`] reads which part of a file is asked for, and under which condition; pure;
//! - [`serve()`] answers with the file or that part of it.

pub mod links;
mod name;
pub mod range;
mod rewrite;
mod serve;
pub mod types;

pub use name::Name;
pub use rewrite::rewrite;
pub use serve::{Shown, attachment, serve};
