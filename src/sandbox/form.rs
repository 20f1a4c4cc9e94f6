//! The fields of a request, whether it came as JSON or as a form.

use std::convert::Infallible;

use futures_util::stream;
use hyper::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::answer::Ask;

/// Parts of one form that are read; one with more is refused.
const PARTS: usize = 1_000;

/// What a request says, by field name.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// JSON values; in a form all are strings, and a repeated field is a list.
    pub(super) fields: Map<String, Value>,
    /// Uploads: field name and length in bytes.
    pub(super) files: Vec<(String, usize)>,
    /// Whether it came as multipart.
    pub(super) multipart: bool,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Json,
    Multipart,
}

impl Form {
    /// Reads a body; what is not declared as multipart is taken for JSON, whatever it is called.
    pub(super) async fn read(ask: &Ask) -> Result<Self, Unreadable> {
        let content_type = ask.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        if content_type
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("multipart/")
        {
            let boundary =
                multer::parse_boundary(content_type).map_err(|_| Unreadable::Multipart)?;
            return Self::from_parts(ask, boundary)
                .await
                .map_err(|_| Unreadable::Multipart);
        }
        match serde_json::from_slice(&ask.body) {
            Ok(Value::Object(fields)) => Ok(Self {
                fields,
                ..Self::default()
            }),
            Ok(_) | Err(_) => Err(Unreadable::Json),
        }
    }

    async fn from_parts(ask: &Ask, boundary: String) -> multer::Result<Self> {
        let body = ask.body.clone();
        let once = stream::once(async move { Ok::<_, Infallible>(body) });
        let mut parts = multer::Multipart::new(once, boundary);
        let mut form = Self {
            multipart: true,
            ..Self::default()
        };
        let mut count = 0;
        while let Some(part) = parts.next_field().await? {
            count += 1;
            if count > PARTS {
                return Err(multer::Error::FieldSizeExceeded {
                    limit: PARTS as u64,
                    field_name: None,
                });
            }
            let name = part.name().unwrap_or_default().to_owned();
            let is_file = part.file_name().is_some();
            let bytes = part.bytes().await?;
            if is_file {
                form.files.push((name, bytes.len()));
            } else {
                form.add(name, String::from_utf8_lossy(&bytes).into_owned().into());
            }
        }
        Ok(form)
    }

    fn add(&mut self, name: String, value: Value) {
        match self.fields.get_mut(&name) {
            None => {
                self.fields.insert(name, value);
            }
            Some(Value::Array(many)) => many.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }

    /// A string field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// A whole number, also when it is written as text.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name).and_then(number)
    }

    /// Whether a field is true, also when it is written as text.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(is_true)
    }

    /// Whether a file was uploaded in this field (`image` is also sent as `image[]`).
    pub(super) fn has_file(&self, field: &str) -> bool {
        self.files
            .iter()
            .any(|(name, _)| name.strip_suffix("[]").unwrap_or(name) == field)
    }
}

/// A whole number, also when it is written as text.
pub(super) fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

/// `true`, also when it is written as text.
pub(super) fn is_true(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| value.as_str() == Some("true"))
}

/// All text in a value, in order: what a nested conversation says.
pub(super) fn said(value: &Value) -> String {
    let mut text = String::new();
    collect(value, &mut text);
    text
}

fn collect(value: &Value, text: &mut String) {
    match value {
        // Only the words: roles and types are the dialect's.
        Value::Object(fields) => {
            for name in ["content", "text", "input"] {
                fields
                    .get(name)
                    .into_iter()
                    .for_each(|value| collect(value, text));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, text)),
        Value::String(piece) => {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(piece);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::Method;
    use hyper::header::{HeaderMap, HeaderValue};
    use serde_json::json;

    use super::*;

    fn ask(content_type: &'static str, body: &'static str) -> Ask {
        Ask {
            method: Method::POST,
            path: "/v1/videos".into(),
            query: String::new(),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]),
            body: Bytes::from_static(body.as_bytes()),
            trailers: HeaderMap::new(),
            request_id: "r".into(),
        }
    }

    #[tokio::test]
    async fn json_and_forms() {
        let json = Form::read(&ask("text/plain", r#"{"n":2,"seconds":"5","stream":true}"#))
            .await
            .unwrap();
        assert_eq!(
            (json.number("n"), json.number("seconds")),
            (Some(2), Some(5))
        );
        assert!(json.is_true("stream") && !json.is_true("n") && !json.multipart);
        let body = "--b\r\ncontent-disposition: form-data; name=\"tag\"\r\n\r\none\r\n\
                    --b\r\ncontent-disposition: form-data; name=\"tag\"\r\n\r\ntwo\r\n\
                    --b\r\ncontent-disposition: form-data; name=\"image[]\"; filename=\"a\"\r\n\r\n123\r\n--b--\r\n";
        let form = Form::read(&ask("multipart/form-data; boundary=b", body))
            .await
            .unwrap();
        assert_eq!(form.fields["tag"], json!(["one", "two"]));
        assert_eq!(form.files, [("image[]".to_owned(), 3)]);
        assert!(form.has_file("image") && !form.has_file("mask"));
    }

    #[tokio::test]
    async fn unreadable_bodies() {
        for (content_type, body, expected) in [
            ("application/json", "{", Unreadable::Json),
            ("application/json", "[]", Unreadable::Json),
            ("application/json", "", Unreadable::Json),
            ("multipart/form-data", "--b--", Unreadable::Multipart),
            (
                "Multipart/form-data; boundary=b",
                "--b\r\n",
                Unreadable::Multipart,
            ),
        ] {
            assert_eq!(
                Form::read(&ask(content_type, body)).await.unwrap_err(),
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn words_of_a_conversation() {
        let messages = json!([{"role": "system", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]);
        assert_eq!(said(&messages), "a\nb");
    }
}
