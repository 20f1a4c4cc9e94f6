//! What the fuzz targets share: a second opinion on everything that decides about money.
//!
//! A target that only waits for a panic finds little. So each one knows the rules in a second,
//! slower form, written from the documentation and not from the code, and compares:
//!
//! - [`tree`] JSON as a tree, and its canonical text;
//! - [`spelling`] the same JSON written in another way;
//! - [`parts`] forms;
//! - [`asked`] the generation that a body asks for.

pub mod asked;
pub mod parts;
mod reading;
pub mod spelling;
pub mod tree;
