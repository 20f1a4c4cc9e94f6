//! Headers that belong to one connection, and headers that belong to one exchange.

use http::header::{self, AsHeaderName, HeaderMap, HeaderName, HeaderValue};

/// Where the page that asks came from, what for, and how (W3C, Fetch Metadata). A constant is looked up
/// without reading its letters each time.
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What a browser wants the answer for.
pub const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// How a browser has come to ask.
pub const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Headers that a proxy never passes on (RFC 9110 §7.6.1), whatever `Connection` says.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes out the hop-by-hop headers and every header that `Connection` lists.
///
/// SECURITY: call it after the proxy has read its own credentials and directives, since a client
/// may list `Authorization` there.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// Takes out of trailers what may not be one (RFC 9110 §6.5.1): framing, routing, credentials, and
/// what changes how the message before them is read.
///
/// SECURITY: credentials are taken from a request's head; one in its trailers would go upstream
/// beside the real key.
pub fn remove_misplaced(trailers: &mut HeaderMap) {
    const MISPLACED: [&str; 22] = [
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "idempotency-key",
        "max-forwards",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "www-authenticate",
        "x-api-key",
        "x-goog-api-key",
        "x-should-retry",
    ];
    remove_hop_by_hop(trailers);
    for name in MISPLACED {
        trailers.remove(name);
    }
    let prefixed: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("reprise-") || name.starts_with("sec-") || name.starts_with("proxy-")
        })
        .cloned()
        .collect();
    for name in prefixed {
        trailers.remove(name);
    }
}

/// Whether a response header speaks of one exchange only, so that it must not be kept with an
/// answer and shown to somebody else later: cookies, dates, request ids, rate limits, framing.
pub fn is_per_exchange(name: &HeaderName) -> bool {
    const EXACT: [&str; 14] = [
        "age",
        "alt-svc",
        "cache-status",
        "cf-ray",
        "content-length",
        "date",
        "openai-processing-ms",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "server-timing",
        "set-cookie",
        "x-oneapi-request-id",
        "x-request-id",
    ];
    let text = name.as_str();
    EXACT.contains(&text)
        || text.starts_with("x-ratelimit-")
        || text.starts_with("anthropic-ratelimit-")
        || text.starts_with("ratelimit")
        || HOP_BY_HOP.contains(name)
}

/// The value of a header as text; `None` when absent or not visible ASCII.
pub fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A whole number as the value of a header.
pub fn number(number: u64) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    // Digits are always a value.
    HeaderValue::from_str(digits.format(number)).unwrap_or_else(|_| HeaderValue::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn headers_of_one_hop_go_and_all_others_stay_in_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-private, Keep-Alive"),
            ("connection", "authorization"),
            ("x-private", "1"),
            ("authorization", "Bearer x"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-kept", "a"),
            ("x-kept", "b"),
        ] {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        assert_eq!(left, [("x-kept", &b"a"[..]), ("x-kept", &b"b"[..])]);
    }

    #[test]
    fn what_speaks_of_one_exchange_is_told_from_what_speaks_of_the_answer() {
        for name in [
            "set-cookie",
            "date",
            "x-request-id",
            "x-ratelimit-limit-requests",
            "te",
        ] {
            assert!(is_per_exchange(&name.parse().unwrap()), "{name}");
        }
        for name in [
            "content-type",
            "x-new-api-other-ratios",
            "cache-control",
            "etag",
        ] {
            assert!(!is_per_exchange(&name.parse().unwrap()), "{name}");
        }
    }
}
