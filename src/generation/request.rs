//! When two requests are the same generation.

use blake3::Hasher;
use blake3::hazmat::HasherExt as _;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};

use super::facts::Facts;
use super::{Extent, Fingerprint, Kind, json, multipart, query, raw};

/// What the hash is for, with the version of its format: the key that BLAKE3 derives from
/// `reprise 2026-11 generation key, format 1`, which need not be derived for every request. A new one
/// makes every kept generation unfindable, so it changes only where the old one would give a wrong answer.
const CONTEXT: [u8; 32] = [
    0x0f, 0xcf, 0x7e, 0x7a, 0xbd, 0xbb, 0xff, 0xef, 0x47, 0xae, 0x95, 0x0c, 0x45, 0xa6, 0xdc, 0x5f,
    0x8c, 0xbb, 0x16, 0xc4, 0xce, 0xde, 0x0a, 0x7e, 0xe2, 0x34, 0x74, 0x9e, 0xa9, 0xdc, 0xc8, 0x53,
];

/// Room for the parts of most requests, in bytes.
const GATHERED: usize = 512;

/// Request headers that change what is generated. Others do not.
const COUNTED_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-beta"),
];

/// A request for a generation, as far as its identity goes.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub kind: Kind,
    /// The path as it came, with `/v1/`.
    pub path: &'a str,
    /// The query as it came, without `?`. A credential in it does not count.
    pub query: Option<&'a str>,
    /// The client that shares nothing with others; `None` when generations are shared.
    pub scope: Option<&'a str>,
    /// Which deliberate repetition of the same request; 1 is the first, and the same as none.
    pub take: u32,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a Bytes,
}

/// What a request is, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The generation's name.
    pub fingerprint: Fingerprint,
    /// The top-level `model`, at most 256 bytes; of a form, the field of that name.
    pub model: Option<String>,
    /// An event stream is asked for.
    pub stream: bool,
    /// A JSON body with a top-level `temperature` of 0, or a `seed` that is not null.
    pub deterministic: bool,
    /// How much it asks for.
    pub extent: Extent,
}

/// Begins a part: what it is, and how long.
fn begin(parts: &mut Vec<u8>, tag: u8, len: usize) {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    parts.push(tag);
    parts.extend_from_slice(&len.to_le_bytes());
}

/// The body as it counts.
enum Meaning {
    Json(Vec<u8>),
    Form(blake3::Hash),
    Raw,
}

impl Request<'_> {
    /// Names the generation. Takes time in proportion to the body, a few milliseconds for 10 MB:
    /// call it off the async threads when the body is large.
    ///
    /// A JSON body counts by its meaning, whatever its content type says (`curl -d` says it is a
    /// form); a multipart body by its parts; any other, or one in a content encoding, by its bytes. What it
    /// says of itself is read in any case, as far as it can be.
    pub fn identify(&self) -> Identity {
        let (meaning, facts) = self.read_body();
        // Hashed in one go: most parts are a few bytes long.
        let mut parts = Vec::with_capacity(GATHERED);
        let mut put = |tag: u8, bytes: &[u8]| {
            begin(&mut parts, tag, bytes.len());
            parts.extend_from_slice(bytes);
        };
        put(b'k', self.kind.as_str().as_bytes());
        put(b'p', self.path.as_bytes());
        if let Some(query) = self.query.and_then(query::without_key) {
            put(b'q', query.as_bytes());
        }
        if let Some(scope) = self.scope {
            put(b'c', scope.as_bytes());
        }
        put(b't', &self.take.to_le_bytes());
        for name in COUNTED_HEADERS {
            for value in self.headers.get_all(&name) {
                put(b'h', name.as_str().as_bytes());
                put(b'v', value.as_bytes());
            }
        }
        for encoding in self.encodings() {
            put(b'e', encoding);
        }
        let raw = match meaning {
            Meaning::Json(encoding) => {
                put(b'j', &encoding);
                None
            }
            Meaning::Form(digest) => {
                put(b'm', digest.as_bytes());
                None
            }
            Meaning::Raw => Some(self.body),
        };
        let mut hasher = Hasher::new_from_context_key(&CONTEXT);
        if let Some(body) = raw {
            begin(&mut parts, b'r', body.len());
            hasher.update(&parts).update(body);
        } else {
            hasher.update(&parts);
        }
        let extent = facts.extent(self.kind);
        Identity {
            extent,
            fingerprint: Fingerprint::from_bytes(*hasher.finalize().as_bytes()),
            model: facts.model,
            stream: facts.stream,
            deterministic: facts.deterministic,
        }
    }

    fn read_body(&self) -> (Meaning, Facts) {
        if self.body.is_empty() {
            return (Meaning::Raw, Facts::unread(self.body));
        }
        let content_type = self.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        // Of several, a gateway in Go sees the first.
        if let Some(coding) = self.encodings().next() {
            let plain = raw::plain(self.body, coding);
            return (Meaning::Raw, raw::facts(&plain, content_type, self.kind));
        }
        if let Some(form) = content_type.filter(|value| is_form(value)) {
            if let Some(reading) = multipart::read(self.body, form, self.kind) {
                return (Meaning::Form(reading.digest), reading.facts);
            }
        } else if let Some(reading) = json::read(self.body, self.kind) {
            return (Meaning::Json(reading.encoding), reading.facts);
        }
        (Meaning::Raw, raw::facts(self.body, content_type, self.kind))
    }

    /// The body's content encodings that change its bytes.
    fn encodings(&self) -> impl Iterator<Item = &[u8]> {
        let values = self.headers.get_all(CONTENT_ENCODING).iter();
        values
            .map(|value| value.as_bytes().trim_ascii())
            .filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case(b"identity"))
    }
}

fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("multipart/form-data")
}

#[cfg(test)]
mod tests;
