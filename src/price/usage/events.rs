//! The usage in an event stream: the last that is told (HTML standard §9.2.5 for the syntax).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Usage, tokens};
use crate::generation::json_members;

/// Reads every event's data.
pub(super) fn read(stream: &[u8]) -> Usage {
    let mut usage = Usage::default();
    let mut data: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    for line in stream.split(|byte| matches!(byte, b'\n' | b'\r')) {
        match line.strip_prefix(b"data:") {
            Some(more) if data.is_empty() => data = Cow::Borrowed(more),
            Some(more) => data.to_mut().extend_from_slice(more),
            // The line that ends an event. An LF after a CR makes one more, in the middle of an
            // event that has several lines; such an event is read in parts, and says nothing.
            None if line.is_empty() => usage = usage.with(event(&std::mem::take(&mut data))),
            None => {}
        }
    }
    usage.with(event(&data))
}

/// What one event says, beside those before it.
fn event(data: &[u8]) -> Usage {
    // Most events bring a word of the text, and are not worth reading.
    if memchr::memmem::find(data, b"\"usage\"").is_none() {
        return Usage::default();
    }
    let Some([usage, response, message]) = json_members(data, ["usage", "response", "message"])
    else {
        return Usage::default();
    };
    let inner = |outer: Option<&RawValue>| {
        let [usage] = json_members(outer?.get().as_bytes(), ["usage"])?;
        usage.map(ToOwned::to_owned)
    };
    let found = usage.map(ToOwned::to_owned);
    let found = found.or_else(|| inner(response)).or_else(|| inner(message));
    found.map_or_else(Usage::default, |usage| tokens::read(&usage))
}
