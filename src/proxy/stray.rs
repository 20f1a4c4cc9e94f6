//! A path that is none of ours.

use http::request::Parts;

use super::Error;
use super::paths::printable;
use crate::generation;

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
        path: printable(path),
        hint,
    }
}
