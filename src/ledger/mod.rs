//! What was paid, and what was saved: one line for each generation, `ledger/YYYY-MM.jsonl`.

mod line;

pub use line::{Line, Outcome};
