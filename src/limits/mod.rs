//! What each client may use.
//!
//! - [`budget`] money in a UTC day and month: held by estimate, settled by cost.

mod budget;
mod sums;

pub use budget::{Budgets, Hold, OverBudget, Period};
