//! The page at `/`: a login, and what the admin API tells as tables. Three files in the program, nothing
//! from elsewhere; the page holds no data, so anybody may have it.

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::refusal::Refusal;
use crate::message::{Body, body, headers};

/// Path, content type, content.
const FILES: [(&str, &str, &str); 3] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/page.html"),
    ),
    (
        "/console.js",
        "text/javascript; charset=utf-8",
        include_str!("page/console.js"),
    ),
    (
        "/console.css",
        "text/css; charset=utf-8",
        include_str!("page/console.css"),
    ),
];

/// SECURITY: what upstream or a client says stays text; nothing in it becomes a script, and nothing
/// leaves for another host.
const RULES: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Whether a path is one of the page's.
pub(super) fn serves(path: &str) -> bool {
    FILES.iter().any(|(name, _, _)| *name == path)
}

/// Answers a request for one of the files.
pub(super) fn answer(parts: &Parts) -> Result<Response<Body>, Refusal> {
    let path = parts.uri.path();
    let (_, content_type, content) = FILES
        .iter()
        .find(|(name, _, _)| *name == path)
        .ok_or_else(|| Refusal::not_found(parts))?;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Refusal::Method(parts.method.to_string()));
    }
    let hash = blake3::hash(content.as_bytes()).to_hex();
    let tag = format!("\"{}\"", hash.get(..16).unwrap_or_default());
    let known = headers::text(&parts.headers, "if-none-match");
    let unchanged = known.is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag));
    let mut response = if unchanged {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(body::full(*content))
    };
    let sent = response.headers_mut();
    sent.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    sent.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        sent.insert(header::ETAG, tag);
    }
    for (name, value) in RULES {
        sent.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
