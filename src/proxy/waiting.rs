//! What a request holds while it waits for somebody else's run, which may take minutes.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Extensions, Uri};

use super::Told;
use super::generate::Asked;

/// The largest body that is copied, in bytes: that of a larger one is not in the buffer of its head.
const SMALL: usize = 8 * 1024;

impl Asked {
    /// Keeps of the request what a run would need, in memory of its own. As it came it is slices of the
    /// buffer that it was read into, and each of them holds all of that: 8 KiB for each who waits.
    pub(super) fn own(&mut self, body: &mut Bytes) {
        if body.len() <= SMALL {
            *body = Bytes::copy_from_slice(body);
        }
        let parts = &mut self.parts;
        // With the others goes hyper's note of how the headers were spelled: a run sends its own.
        let told = Told::of(&parts.extensions);
        parts.extensions = Extensions::new();
        parts.extensions.insert(told);
        for value in parts.headers.values_mut() {
            if let Ok(mut own) = HeaderValue::from_bytes(value.as_bytes()) {
                own.set_sensitive(value.is_sensitive());
                *value = own;
            }
        }
        for uri in [&mut parts.uri, &mut self.target] {
            if let Ok(own) = Uri::try_from(uri.to_string()) {
                *uri = own;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;
    use crate::generation::Kind;
    use crate::proxy::auth::Client;

    #[test]
    fn nothing_is_held_of_the_buffer_and_nothing_is_lost() {
        let buffer = Bytes::from(b"/v1/chat/completions?a=b Bearer-x{\"model\":1}".to_vec());
        let mut value = HeaderValue::from_maybe_shared(buffer.slice(25..33)).unwrap();
        value.set_sensitive(true);
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_maybe_shared(buffer.slice(..24)).unwrap();
        for name in ["x-one", "x-two", "x-one"] {
            request.headers_mut().append(name, value.clone());
        }
        drop(value);
        let (parts, ()) = request.into_parts();
        let (target, headers) = (parts.uri.clone(), parts.headers.clone());
        let mut body = buffer.slice(33..);
        let mut asked = Asked {
            kind: Kind::Chat,
            parts: Box::new(parts),
            target,
            client: Client {
                name: "local".into(),
            },
        };
        asked.own(&mut body);
        assert_eq!(body, "{\"model\":1}");
        assert_eq!(asked.parts.uri, "/v1/chat/completions?a=b");
        assert_eq!(asked.target, asked.parts.uri);
        assert_eq!(asked.parts.headers, headers);
        assert!(asked.parts.headers["x-two"].is_sensitive());
        drop(headers);
        assert!(buffer.is_unique(), "something still holds the buffer");
    }
}
