//! The extent of a body that gets no fingerprint.

use bytes::Bytes;

use super::super::facts::Facts;
use super::super::{Kind, multipart};
use super::Extent;

impl Extent {
    /// What a body says of its size; the defaults where it says nothing that can be read. Takes time
    /// in proportion to the body.
    pub fn read(kind: Kind, body: &Bytes) -> Self {
        Self::with_model(kind, body).1
    }

    /// The same with the model that the body names.
    ///
    /// A form is known by its first line: what it says of its boundary is not asked for.
    pub fn with_model(kind: Kind, body: &Bytes) -> (Option<String>, Self) {
        let form = boundary(body).and_then(|boundary| {
            let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
            multipart::read(body, &content_type, kind)
        });
        let facts = match form {
            Some(reading) => reading.facts,
            None => Facts::of_raw(body, kind),
        };
        let extent = facts.extent(kind);
        (facts.model.or(facts.model_loosely), extent)
    }
}

/// The boundary of a form, from its first line (RFC 2046 §5.1.1: at most 70 characters).
fn boundary(body: &[u8]) -> Option<&str> {
    let line = body.strip_prefix(b"--")?;
    let end = memchr::memchr(b'\r', line.get(..71.min(line.len()))?)?;
    let name = std::str::from_utf8(line.get(..end)?).ok()?;
    (!name.is_empty() && !name.contains(['"', '\\'])).then_some(name)
}
