//! What a request holds while it waits for somebody else's run, which may take minutes.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Extensions, Uri};

use super::Told;
use super::asked::Wanted;

/// The largest body that is copied, in bytes: that of a larger one is not in the buffer of its head.
const SMALL: usize = 8 * 1024;

impl Wanted {
    /// Keeps of the request what a run would need, in memory of its own. As it came it is slices of the
    /// buffer that it was read into, and each of them holds all of that: 8 KiB for each who waits.
    pub(super) fn own(&mut self) {
        let (asked, body) = (&mut self.asked, &mut self.body);
        if body.len() <= SMALL {
            *body = Bytes::copy_from_slice(body);
        }
        let parts = &mut asked.parts;
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
        for uri in [&mut parts.uri, &mut asked.target] {
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
    use crate::config::{Ttl, UnknownOutcome};
    use crate::generation::Kind;
    use crate::once::{Freshness, Query};
    use crate::proxy::asked::Asked;
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
        let body = buffer.slice(33..);
        let identity = crate::generation::Request {
            kind: Kind::Chat,
            path: "/v1/chat/completions",
            query: None,
            scope: None,
            take: 1,
            headers: &headers,
            body: &body,
        };
        let identity = identity.identify();
        let mut wanted = Wanted {
            query: Query {
                key: identity.fingerprint,
                freshness: Freshness::default(),
                ttl: Ttl::Forever,
                unknown_outcome: UnknownOutcome::Rerun,
            },
            asked: Box::new(Asked {
                kind: Kind::Chat,
                parts: Box::new(parts),
                target,
                client: Client {
                    name: "local".into(),
                },
            }),
            body,
            identity,
        };
        wanted.own();
        assert_eq!(wanted.body, "{\"model\":1}");
        let asked = wanted.asked;
        assert_eq!(asked.parts.uri, "/v1/chat/completions?a=b");
        assert_eq!(asked.target, asked.parts.uri);
        assert_eq!(asked.parts.headers, headers);
        assert!(asked.parts.headers["x-two"].is_sensitive());
        drop(headers);
        assert!(buffer.is_unique(), "something still holds the buffer");
    }
}
