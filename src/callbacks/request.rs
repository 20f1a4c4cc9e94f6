//! Where a submit says who is to be called, and the submit without it.
//!
//! `metadata.callback_url`, where `metadata` is an object or the text of one, or `callback_url` at the
//! top; in a form the fields `callback_url`, `metadata[callback_url]` and `metadata`.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use super::{form, members};
use crate::message::headers;

const NAME: &str = "callback_url";
const METADATA: &str = "metadata";
const NESTED: &str = "metadata[callback_url]";

/// What a submit says about callbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What stands in place of an address: text, and anything else as JSON.
    pub address: String,
    /// The submit's body with every mention of an address cut out, and nothing else changed.
    pub body_without: Bytes,
}

/// What this submit says about callbacks; `None` when it names no address (null and "" are none).
///
/// Of several the one in `metadata` counts, since RelayDance documents that one alone. A body in a
/// content encoding is not looked into.
pub fn asked(headers: &HeaderMap, body: &Bytes) -> Option<Asked> {
    memchr::memmem::find(body, b"callback").or_else(|| memchr::memchr(b'\\', body))?;
    let encoded = headers.get_all(http::header::CONTENT_ENCODING).iter();
    if encoded
        .map(|value| value.as_bytes().trim_ascii())
        .any(|value| !value.is_empty() && !value.eq_ignore_ascii_case(b"identity"))
    {
        return None;
    }
    let content_type = headers::text(headers, "content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let found = if essence.eq_ignore_ascii_case("multipart/form-data") {
        of_form(body, content_type)
    } else {
        of_json(body)
    }?;
    let address = found.nested.or(found.top)?;
    Some(Asked {
        address,
        body_without: found.left.into(),
    })
}

/// The addresses of one body, and what is left of it.
#[derive(Default)]
struct Found {
    nested: Option<String>,
    top: Option<String>,
    left: Vec<u8>,
}

fn of_json(body: &[u8]) -> Option<Found> {
    let all = members::members(body)?;
    let mut found = Found::default();
    // What stands in place of `metadata`, where it changes.
    let mut metadata = None;
    for member in &all {
        let value = body.get(member.value.clone())?;
        if member.name == NAME {
            found.top = address(value);
        } else if member.name == METADATA
            && let Some((address, left)) = of_metadata(value)
        {
            found.nested = address;
            metadata = Some((member.value.clone(), left));
        }
    }
    let Some((place, inner)) = metadata else {
        found.left = members::cut(body, &all, |member| member.name == NAME);
        return Some(found);
    };
    let (before, behind) = (body.get(..place.start)?, body.get(place.end..)?);
    let changed = [before, &inner, behind].concat();
    let all = members::members(&changed)?;
    found.left = members::cut(&changed, &all, |member| member.name == NAME);
    Some(found)
}

/// The address in the value of `metadata`, and that value without it; `None` when it names none.
fn of_metadata(value: &[u8]) -> Option<(Option<String>, Vec<u8>)> {
    if value.first() != Some(&b'"') {
        return of_object(value);
    }
    let text: String = serde_json::from_slice(value).ok()?;
    let (address, left) = of_object(text.as_bytes())?;
    let left = serde_json::to_vec(&String::from_utf8(left).ok()?).ok()?;
    Some((address, left))
}

fn of_object(object: &[u8]) -> Option<(Option<String>, Vec<u8>)> {
    let all = members::members(object)?;
    // Of a repeated name the last counts, as in most readers.
    let named = all.iter().rev().find(|member| member.name == NAME)?;
    let address = address(object.get(named.value.clone())?);
    let left = members::cut(object, &all, |member| member.name == NAME);
    Some((address, left))
}

/// What a member says; null and "" say nothing.
fn address(value: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice(value).ok()? {
        Value::Null => return None,
        Value::String(text) => text,
        other => other.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

fn of_form(body: &[u8], content_type: &str) -> Option<Found> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let mut found = Found::default();
    let mut from = 0;
    for part in form::parts(body, content_type)? {
        let content = body.get(part.content.clone())?;
        let said = || text(content).filter(|text| !text.is_empty());
        match part.name.as_str() {
            NAME => found.top = said(),
            NESTED => found.nested = said(),
            METADATA => {
                let Some((address, left)) = of_object(content) else {
                    continue;
                };
                found.nested = address;
                found
                    .left
                    .extend_from_slice(body.get(from..part.content.start)?);
                found.left.extend_from_slice(&left);
                from = part.content.end;
                continue;
            }
            _ => continue,
        }
        found
            .left
            .extend_from_slice(body.get(from..part.whole.start)?);
        from = part.whole.end;
    }
    found.left.extend_from_slice(body.get(from..)?);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(content_type: &'static str, body: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        let asked = asked(&headers, &Bytes::from(body.to_owned()))?;
        let left = String::from_utf8(asked.body_without.to_vec()).unwrap();
        Some((asked.address, left))
    }

    #[test]
    fn an_address_is_found_and_cut_out_of_json() {
        let table = [
            (r#"{"a":1,"callback_url":"u"}"#, Some(("u", r#"{"a":1}"#))),
            (
                r#"{"metadata":{"callback_url":"u"},"a":1}"#,
                Some(("u", r#"{"metadata":{},"a":1}"#)),
            ),
            (
                r#"{ "a": 1.0, "metadata": {"r": "\u0031", "callback_url" :"u"} }"#,
                Some(("u", r#"{ "a": 1.0, "metadata": {"r": "\u0031"} }"#)),
            ),
            (
                r#"{"metadata":"{\"callback_url\":\"u\",\"r\":1}"}"#,
                Some(("u", r#"{"metadata":"{\"r\":1}"}"#)),
            ),
            (
                r#"{"callback_url":"top","metadata":{"callback_url":"u","b":2}}"#,
                Some(("u", r#"{"metadata":{"b":2}}"#)),
            ),
            (
                r#"{"metadata":{"b":2},"callback_url":"top"}"#,
                Some(("top", r#"{"metadata":{"b":2}}"#)),
            ),
            (
                r#"{"metadata":{"callback_url":""},"callback_url":"top"}"#,
                Some(("top", r#"{"metadata":{}}"#)),
            ),
            (r#"{"callback\u005furl":"u"}"#, Some(("u", "{}"))),
            (r#"{"callback_url":7,"a":1}"#, Some(("7", r#"{"a":1}"#))),
            (r#"{"callback_url":null}"#, None),
            (r#"{"callback_url":""}"#, None),
            (r#"{"metadata":{"x":{"callback_url":"u"}}}"#, None),
            (r#"{"metadata":"callback_url"}"#, None),
            (r#"[{"callback_url":"u"}]"#, None),
            (r#"{"callback_url":"u""#, None),
            (r#"{"a":1}"#, None),
        ];
        for (body, expected) in table {
            let found = ask("application/json", body);
            let found = found.as_ref().map(|(a, b)| (a.as_str(), b.as_str()));
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn an_address_is_found_and_cut_out_of_a_form() {
        let form = |parts: &[(&str, &str)]| -> String {
            let part = |(name, value): &(&str, &str)| {
                format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            parts.iter().map(part).collect::<String>() + "--b--\r\n"
        };
        let ask = |body: &str| ask("multipart/form-data; boundary=b", body);
        let (prompt, size) = (("prompt", "callback_url"), ("size", "1"));
        for name in [NAME, NESTED] {
            let body = form(&[prompt, (name, "u"), size]);
            assert_eq!(ask(&body), Some(("u".to_owned(), form(&[prompt, size]))));
        }
        let text = (METADATA, r#"{"callback_url":"u","a":1}"#);
        let left = (METADATA, r#"{"a":1}"#);
        let body = form(&[(NAME, "top"), text, size]);
        assert_eq!(ask(&body), Some(("u".to_owned(), form(&[left, size]))));
        assert_eq!(ask(&form(&[prompt, size])), None);
        assert_eq!(ask(&form(&[prompt, (NAME, "")])), None);
    }

    #[test]
    fn what_is_packed_is_not_looked_into() {
        let body = Bytes::from_static(br#"{"callback_url":"u"}"#);
        let mut headers = HeaderMap::new();
        assert!(asked(&headers, &body).is_some());
        headers.insert("content-encoding", "gzip".parse().unwrap());
        assert_eq!(asked(&headers, &body), None);
    }
}
