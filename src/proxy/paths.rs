//! What is said of a path, in lines of the log: as it is, and as one of few patterns.

use std::borrow::Cow;

use crate::message::one_line;

/// The words that paths are made of, in order.
const WORDS: [&str; 64] = [
    "api",
    "assistants",
    "audio",
    "balance",
    "batches",
    "body",
    "cache",
    "cancel",
    "characters",
    "chat",
    "checkpoints",
    "compact",
    "complete",
    "completions",
    "containers",
    "content",
    "conversations",
    "count_tokens",
    "edits",
    "embeddings",
    "events",
    "export",
    "extensions",
    "file_batches",
    "files",
    "fine_tuning",
    "generations",
    "healthz",
    "images",
    "import",
    "input_items",
    "items",
    "jobs",
    "messages",
    "metrics",
    "models",
    "moderations",
    "organization",
    "parts",
    "purge",
    "readyz",
    "realtime",
    "remix",
    "rerank",
    "resolve",
    "responses",
    "results",
    "runs",
    "search",
    "sessions",
    "speech",
    "stats",
    "steps",
    "threads",
    "transcriptions",
    "translations",
    "uploads",
    "usage",
    "v1",
    "variations",
    "vector_stores",
    "verify",
    "video",
    "videos",
];

/// How many segments are told apart.
const MOST: usize = 8;

/// The pattern of a path, in which all that is no word of an API is `{id}`: `/v1/videos/task_1` is
/// `/v1/videos/{id}`.
pub(super) fn pattern(path: &str) -> Cow<'_, str> {
    if path.starts_with("/media/") {
        return "/media/{file}".into();
    }
    let known = |segment: &str| segment.is_empty() || WORDS.binary_search(&segment).is_ok();
    let below = path.strip_prefix('/').unwrap_or(path);
    let mut segments = below.split('/');
    if below.len() < path.len()
        && segments.by_ref().take(MOST).all(known)
        && segments.next().is_none()
    {
        return path.into();
    }
    let mut segments = below.split('/');
    let mut said = String::new();
    for segment in segments.by_ref().take(MOST) {
        said.push('/');
        said.push_str(if known(segment) { segment } else { "{id}" });
    }
    if segments.next().is_some() {
        said.push_str("/…");
    }
    said.into()
}

/// A path as a log line or a message may show it.
pub(super) fn printable(path: &str) -> Cow<'_, str> {
    one_line(path, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_word_is_an_id() {
        for (path, pattern) in [
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/videos/task_1/content", "/v1/videos/{id}/content"),
            ("/v1/video/generations/task_1", "/v1/video/generations/{id}"),
            ("/v1/models/org/model-1", "/v1/models/{id}/{id}"),
            ("/v1/", "/v1/"),
            ("/", "/"),
            ("*", "/{id}"),
            ("/media/0123.mp4", "/media/{file}"),
            ("/api/cache/3f9a", "/api/cache/{id}"),
            ("/x\u{1b}[31m/y", "/{id}/{id}"),
            (
                "/a/b/c/d/e/f/g/h/i",
                "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/…",
            ),
        ] {
            assert_eq!(super::pattern(path), pattern, "{path}");
        }
    }

    #[test]
    fn every_word_stands_once_and_in_order() {
        assert!(WORDS.is_sorted(), "{WORDS:?}");
        assert!(WORDS.windows(2).all(|two| two[0] != two[1]));
    }
}
