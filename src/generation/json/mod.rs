//! A JSON body by its meaning: an encoding that is the same however the body is written.
//!
//! Object members are sorted, white space is gone, a string is its decoded text, a number its
//! decimal value. `serde_json` is not used because it keeps the last of two equal keys and rounds
//! 9007199254740993 to a double: two seeds would share one kept video.
//!
//! The [`reader`] walks the grammar and accepts what `serde_json` accepts (and 1e400). It builds no
//! tree: [`number`] and [`text`] read the leaves, [`encoding`] folds each value into a few bytes as
//! soon as it is complete. Work is linear in the body; memory beyond it is a few kilobytes for each
//! level of nesting, and for objects what their members need to be sorted.

mod encoding;
mod number;
mod reader;
mod text;

pub(super) use reader::read;

/// Why a body is hashed as its raw bytes: it is no JSON, has a repeated key, is nested too deeply
/// or holds more members than are worth sorting. Which of these makes no difference.
#[derive(Debug)]
struct NotCanonical;

#[cfg(test)]
mod tests;
