//! Standard output, for what a command was asked for.

use std::io::{self, Write};

use serde::Serialize;

use super::Failure;

/// Writes a text. Unlike with `print!` there is no panic when the reader of a pipe has gone: that is
/// [`Failure::Unread`].
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes one line of JSON.
pub(super) fn json(what: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(what).map_err(|error| Failure::Runtime(error.to_string()))?;
    print(&format!("{text}\n"))
}
