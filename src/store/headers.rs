//! Headers as they are kept: those that speak of the answer, none that speaks of one exchange.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::HeaderBytes;
use crate::message::headers;

/// Headers in their order, names in lower case.
pub type StoredHeaders = Vec<(String, HeaderBytes)>;

/// What of an answer's headers is kept with it.
pub fn keepable(all: &HeaderMap) -> StoredHeaders {
    all.iter()
        .filter(|(name, _)| !headers::is_per_exchange(name))
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                HeaderBytes::from(value.as_bytes()),
            )
        })
        .collect()
}

/// Kept headers as they are sent; one that no header can carry is left out.
pub fn restore(stored: &StoredHeaders) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(stored.len() + 4);
    for (name, value) in stored {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_maybe_shared(value.to_shared());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_not_does_not() {
        let mut sent = HeaderMap::new();
        for (name, value) in [
            ("content-type", &b"application/json"[..]),
            ("set-cookie", b"session=1"),
            ("x-twice", b"a"),
            ("x-twice", b"\xff"),
            ("x-request-id", b"req_1"),
        ] {
            sent.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        let back = restore(&keepable(&sent));
        let back: Vec<_> = back
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        let expected = [
            ("content-type", &b"application/json"[..]),
            ("x-twice", b"a"),
            ("x-twice", b"\xff"),
        ];
        assert_eq!(back, expected);
    }
}
