//! The usage in an event stream: the last that is told (HTML standard §9.2.5 for the syntax).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Usage, text, tokens};
use crate::generation::json_members;

/// Reads every event's data.
pub(super) fn read(stream: &[u8]) -> Usage {
    let mut usage = Usage::default();
    each(stream, &mut |data| usage = usage.with(event(data)));
    usage
}

/// The bytes of text that all events bring.
pub(super) fn text(stream: &[u8]) -> u64 {
    let mut bytes = 0_u64;
    each(stream, &mut |data| {
        bytes = bytes.saturating_add(text::bytes(data));
    });
    bytes
}

fn each(stream: &[u8], visit: &mut dyn FnMut(&[u8])) {
    let mut data: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    for line in stream.split(|byte| matches!(byte, b'\n' | b'\r')) {
        match line.strip_prefix(b"data:") {
            Some(more) if data.is_empty() => data = Cow::Borrowed(more),
            Some(more) => data.to_mut().extend_from_slice(more),
            // The line that ends an event. An LF after a CR makes one more, in the middle of an
            // event that has several lines; such an event is read in parts, and says nothing.
            None if line.is_empty() => visit(&std::mem::take(&mut data)),
            None => {}
        }
    }
    visit(&data);
}

/// The events that bring a picture (OpenAI).
const PICTURES: [&str; 2] = ["image_generation.completed", "image_edit.completed"];

/// What one event says, beside those before it.
fn event(data: &[u8]) -> Usage {
    // Most events bring a word of the text, and are not worth reading.
    let has = |word: &str| memchr::memmem::find(data, word.as_bytes()).is_some();
    if !has("\"usage\"") && !PICTURES.into_iter().any(has) {
        return Usage::default();
    }
    let names = ["usage", "response", "message", "type"];
    let Some([usage, response, message, kind]) = json_members(data, names) else {
        return Usage::default();
    };
    let inner = |outer: Option<&RawValue>| {
        let [usage] = json_members(outer?.get().as_bytes(), ["usage"])?;
        usage.map(tokens::read)
    };
    let found = usage.map(tokens::read);
    let found = found.or_else(|| inner(response)).or_else(|| inner(message));
    let kind = kind.map_or("", |kind| kind.get().trim_matches('"'));
    Usage {
        images: PICTURES.contains(&kind).then_some(1),
        ..found.unwrap_or_default()
    }
}
