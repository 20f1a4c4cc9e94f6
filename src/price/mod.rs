//! What generations cost; pure.
//!
//! 1. [`Prices`] says what a model costs: what the user wrote, else the built-in [`table`].
//! 2. [`estimate`] says what a request will cost, by its [`Extent`](crate::generation::Extent).
//! 3. [`Usage`] reads what an answer says was used, and [`cost`] makes dollars of it.
//! 4. [`Listed`] is the upstream's own list, and [`Changes`] what it would change.

mod amount;
mod changes;
pub mod form;
mod listed;
mod prices;
pub mod table;
mod usage;
mod usd;

pub use crate::config::Price;
pub use amount::{cost, estimate};
pub use changes::Changes;
pub use listed::{Listed, Unlisted};
pub use prices::{Prices, Source};
pub use usage::Usage;
pub use usd::Usd;

#[cfg(test)]
mod tests;
