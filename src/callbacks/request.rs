//! Where a submit says who is to be called, and the submit without it.
//!
//! `metadata.callback_url`, where `metadata` is an object or the text of one, or `callback_url` at the
//! top; in a form the fields `callback_url`, `metadata[callback_url]` and `metadata`. RelayDance is
//! written in Go, whose JSON reader takes names in any case.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use super::{form, members};
use crate::generation::{LONGEST_PLAIN, is_called as is};
use crate::message::{coding, headers};

const NAME: &str = "callback_url";
const METADATA: &str = "metadata";
const NESTED: &str = "metadata[callback_url]";

/// No address is longer, in bytes; of what is, this much is taken.
const LONGEST: usize = 16 * 1024;

/// What a submit says about who is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What stands in place of an address, as RelayDance reads it: text, and anything else as JSON.
    /// Null and "" are none.
    pub address: Option<String>,
    /// Whether every reader would find the same. Otherwise upstream may call somebody of whom
    /// nothing is known here.
    pub is_sure: bool,
}

/// What this submit says about callbacks. Takes no copy of a body that is plain; undoing a content coding
/// takes its time, and as much memory as the plain form.
///
/// Of several addresses the one in `metadata` counts, since RelayDance documents that one alone. A
/// content coding that cannot be undone says nothing.
pub fn said(headers: &HeaderMap, body: &Bytes) -> Said {
    let nothing = |is_sure| Said {
        address: None,
        is_sure,
    };
    let Some(body) = coding::plain(headers, body, LONGEST_PLAIN) else {
        return nothing(true);
    };
    let is_named = names(&body);
    if !is_named && memchr::memmem::find(&body, b"\\u").is_none() {
        return nothing(true);
    }
    let found = match form_type(headers) {
        Some(content_type) => of_form(&body, content_type),
        None => of_json(&body),
    };
    found.map_or_else(|| nothing(!is_named), Found::said)
}

/// The same submit, in its plain form, with every mention of an address cut out, and nothing else
/// changed; `None` where [`said`] finds none.
pub fn without(headers: &HeaderMap, body: &Bytes) -> Option<Vec<u8>> {
    let body = coding::plain(headers, body, LONGEST_PLAIN)?;
    match form_type(headers) {
        Some(content_type) => form_without(&body, content_type),
        None => json_without(&body),
    }
}

/// The content type, when it is that of a form.
fn form_type(headers: &HeaderMap) -> Option<&str> {
    let content_type = headers::text(headers, "content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_form = essence.eq_ignore_ascii_case("multipart/form-data");
    is_form.then_some(content_type)
}

/// Whether the name stands somewhere, in any case; its k may be the sign for Kelvin.
fn names(body: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"callbac";
    memchr::memchr2_iter(b'c', b'C', body).any(|at| {
        let found = body.get(at..at + BEGINNING.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(BEGINNING))
    })
}

/// The addresses of one body.
#[derive(Default)]
struct Found {
    nested: Option<String>,
    top: Option<String>,
    /// How often `metadata` and the name at the top stand there.
    all_metadata: usize,
    all_top: usize,
    /// Some `metadata` names an address, or may do so to some readers.
    is_nested: bool,
    is_doubtful: bool,
}

impl Found {
    fn said(self) -> Said {
        let is_repeated = self.all_top > 1 || self.is_nested && self.all_metadata > 1;
        Said {
            address: self.nested.or(self.top),
            is_sure: !is_repeated && !self.is_doubtful,
        }
    }

    /// Of several the last counts, in RelayDance and most readers.
    fn see_metadata(&mut self, object: Option<Inner>, is_doubtful: bool) {
        self.all_metadata += 1;
        self.is_doubtful |= is_doubtful;
        let inner = object.unwrap_or_default();
        self.is_nested |= inner.count > 0;
        self.is_doubtful |= inner.count > 1;
        self.nested = inner.address;
    }

    fn see_top(&mut self, address: Option<String>) {
        self.all_top += 1;
        self.top = address;
    }
}

/// The address in one `metadata`.
#[derive(Default)]
struct Inner {
    count: usize,
    address: Option<String>,
}

fn of_json(body: &[u8]) -> Option<Found> {
    let mut found = Found::default();
    for member in members::members(body)? {
        let value = body.get(member.value)?;
        if is(&member.name, NAME) {
            found.see_top(address(value));
        } else if is(&member.name, METADATA) {
            let text = text_of(value);
            let object = of_object(text.as_deref().map_or(value, str::as_bytes));
            let is_doubtful = object.is_none() && text.is_some_and(|text| names(text.as_bytes()));
            found.see_metadata(object, is_doubtful);
        }
    }
    Some(found)
}

/// The text that a value is, if it may be that of an object with an address.
fn text_of(value: &[u8]) -> Option<String> {
    let is_text = value.first() == Some(&b'"');
    let may_name = || names(value) || memchr::memmem::find(value, b"\\u").is_some();
    (is_text && may_name()).then(|| serde_json::from_slice(value).ok())?
}

fn of_object(object: &[u8]) -> Option<Inner> {
    let mut inner = Inner::default();
    for member in members::members(object)? {
        if is(&member.name, NAME) {
            inner.count += 1;
            inner.address = address(object.get(member.value)?);
        }
    }
    Some(inner)
}

/// What a member says; null and "" say nothing.
fn address(value: &[u8]) -> Option<String> {
    if value.len() > LONGEST {
        return some_text(value);
    }
    let text = match serde_json::from_slice(value).ok()? {
        Value::Null => return None,
        Value::String(text) => text,
        other => other.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

/// The beginning of a text; `None` when it is empty.
fn some_text(bytes: &[u8]) -> Option<String> {
    let beginning = bytes.get(..LONGEST).unwrap_or(bytes);
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(beginning).into_owned())
}

fn of_form(body: &[u8], content_type: &str) -> Option<Found> {
    let mut found = Found::default();
    for part in form::parts(body, content_type)? {
        let content = body.get(part.content)?;
        if is(&part.name, NAME) {
            found.see_top(some_text(content));
        } else if is(&part.name, NESTED) {
            let (count, address) = (1, some_text(content));
            found.see_metadata(Some(Inner { count, address }), false);
        } else if is(&part.name, METADATA) {
            let object = of_object(content);
            let is_doubtful = object.is_none() && names(content);
            found.see_metadata(object, is_doubtful);
        }
    }
    Some(found)
}

fn json_without(body: &[u8]) -> Option<Vec<u8>> {
    let mut changed = Vec::with_capacity(body.len());
    let mut from = 0;
    for member in members::members(body)? {
        let value = body.get(member.value.clone())?;
        if is(&member.name, METADATA)
            && let Some(left) = metadata_without(value)
        {
            changed.extend_from_slice(body.get(from..member.value.start)?);
            changed.extend_from_slice(&left);
            from = member.value.end;
        }
    }
    changed.extend_from_slice(body.get(from..)?);
    let all = members::members(&changed)?;
    Some(members::cut(&changed, &all, |member| {
        is(&member.name, NAME)
    }))
}

/// The value of `metadata` without the address; `None` when it names none.
fn metadata_without(value: &[u8]) -> Option<Vec<u8>> {
    let Some(text) = text_of(value) else {
        return object_without(value);
    };
    let left = object_without(text.as_bytes())?;
    serde_json::to_vec(&String::from_utf8(left).ok()?).ok()
}

fn object_without(object: &[u8]) -> Option<Vec<u8>> {
    let all = members::members(object)?;
    let is_named = all.iter().any(|member| is(&member.name, NAME));
    is_named.then(|| members::cut(object, &all, |member| is(&member.name, NAME)))
}

fn form_without(body: &[u8], content_type: &str) -> Option<Vec<u8>> {
    let mut left = Vec::with_capacity(body.len());
    let mut from = 0;
    for part in form::parts(body, content_type)? {
        let (place, instead) = if is(&part.name, NAME) || is(&part.name, NESTED) {
            (part.whole, Vec::new())
        } else if is(&part.name, METADATA)
            && let Some(instead) = object_without(body.get(part.content.clone())?)
        {
            (part.content, instead)
        } else {
            continue;
        };
        left.extend_from_slice(body.get(from..place.start)?);
        left.extend_from_slice(&instead);
        from = place.end;
    }
    left.extend_from_slice(body.get(from..)?);
    Some(left)
}

#[cfg(test)]
mod tests;
