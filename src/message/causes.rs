//! Errors as one line.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes, each said once: the outer ones mostly say only that something failed.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}
