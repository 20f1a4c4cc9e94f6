//! Whether the clip of a job is there, asked when no poll of it is answered.
//!
//! The gateway refuses polls with keys that are limited to certain models, by mistake and for ever.
//! It serves a clip only of a job that has succeeded, so the head of that answer is sure; everything
//! else (not done yet, not found, storage gone) says nothing that a decision could rest on.

use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Uri, header};

use super::route;
use crate::message::{body, headers};
use crate::upstream::{Reuse, Upstream};

/// How long to wait for the head.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether upstream serves the clip of the job `task_id`. Takes one byte of it at most.
///
/// # Cancel safety
/// Dropping it cancels the request upstream, which costs nothing.
pub(super) async fn is_served(upstream: &Upstream, task_id: &str) -> bool {
    let Ok(target) = route::content(task_id).parse::<Uri>() else {
        return false;
    };
    let mut request = Request::new(body::empty());
    *request.uri_mut() = target;
    let range = HeaderValue::from_static("bytes=0-0");
    request.headers_mut().insert(header::RANGE, range);
    let asked = tokio::time::timeout(PATIENCE, upstream.send(request, Reuse::Pooled)).await;
    // The body is dropped unread: an old gateway sends all of it.
    let Ok(Ok(answer)) = asked else {
        return false;
    };
    let kind = headers::text(answer.headers(), "content-type").unwrap_or_default();
    matches!(
        answer.status(),
        StatusCode::OK | StatusCode::PARTIAL_CONTENT
    ) && (kind.starts_with("video/") || kind.starts_with("application/octet-stream"))
}
