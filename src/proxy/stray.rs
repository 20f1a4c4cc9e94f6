//! A path that is none of ours.

use std::time::Duration;

use http::request::Parts;
use http::{Version, header};

use super::Error;
use super::paths::printable;
use crate::generation;
use crate::message::{Body, peek};

/// The largest body that is waited for, in bytes, and how long.
const SMALL: u64 = 16 * 1024;
const WAITING: Duration = Duration::from_millis(500);

/// Waits for the end of a small body: over HTTP/2 an answer in the middle of one resets its stream, and some
/// clients show that instead of the answer. Whoever waits for a word before sends none.
pub(super) async fn take_in(parts: &Parts, body: Body) {
    if parts.version == Version::HTTP_2 && !parts.headers.contains_key(header::EXPECT) {
        peek(body, SMALL, WAITING).await;
    }
}

/// The answer to a path that is none of ours; one that exists below `/v1` says so.
pub(super) fn not_found(parts: &Parts) -> Error {
    let path = parts.uri.path();
    let below = format!("/v1{path}");
    let known = generation::classify(&parts.method, &below).is_some()
        || [
            "/models",
            "/files",
            "/videos",
            "/video",
            "/images",
            "/chat",
            "/audio",
            "/embeddings",
        ]
        .iter()
        .any(|known| path == *known || path.starts_with(&format!("{known}/")));
    let hint = if known {
        format!(" It would be served as {below}: end your client's base URL in /v1.")
    } else {
        " The API is below /v1/.".to_owned()
    };
    Error::NotFound {
        method: parts.method.to_string(),
        path: printable(path).into_owned(),
        hint,
    }
}
