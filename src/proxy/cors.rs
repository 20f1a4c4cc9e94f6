//! What a browser asks before and reads after a call from an allowed origin (Fetch, "CORS
//! protocol"). The guard has refused all other origins by then.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::reply::CACHE_STATUS;
use crate::message::{Body, body};

/// The answer to a preflight; `None` when the request is none. The origin's own headers are added
/// by [`allow`].
pub(super) fn preflight(parts: &Parts) -> Option<Response<Body>> {
    let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        CACHE_STATUS,
        HeaderValue::from_static("reprise; detail=preflight"),
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
    if let Some(names) = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    Some(response)
}

/// Lets pages of `origin` read the answer, and the headers that say how it came about.
pub(super) fn allow(headers: &mut HeaderMap, origin: &str) {
    let Ok(origin) = HeaderValue::try_from(origin) else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let readable = "accept-ranges, age, cache-status, content-range, etag, retry-after, retry-after-ms, x-ratelimit-limit-requests, \
                    x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-request-id, \
                    x-should-retry";
    headers.append(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(readable),
    );
}
