//! Requests around a body, as short as a target wants to say it.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use reprise::generation::{Identity, Kind, Request};

/// The generation of `kind` that a JSON body asks for.
pub fn json(kind: Kind, body: &[u8]) -> Identity {
    identity(kind, &HeaderMap::new(), body)
}

/// The generation of `kind` that a form with this boundary asks for.
pub fn form(kind: Kind, boundary: &str, body: &[u8]) -> Identity {
    let mut headers = HeaderMap::new();
    let content_type = format!("multipart/form-data; boundary={boundary}");
    if let Ok(value) = HeaderValue::from_str(&content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    identity(kind, &headers, body)
}

/// One of the kinds, by any byte.
pub fn kind(byte: u8) -> Kind {
    Kind::ALL[usize::from(byte) % Kind::ALL.len()]
}

fn identity(kind: Kind, headers: &HeaderMap, body: &[u8]) -> Identity {
    Request {
        kind,
        path: "/v1/x",
        query: None,
        scope: None,
        take: 1,
        headers,
        body: &Bytes::copy_from_slice(body),
    }
    .identify()
}
