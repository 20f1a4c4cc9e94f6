//! Which requests are generations, and of what kind.

use std::fmt;
use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Serialize};

use super::path;

/// What a generation makes. As text, a lower-case word (see [`Kind::as_str`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A video job: submitted, then asked for until it ends.
    Video,
    /// Images, made, edited or varied in one call.
    Images,
    /// Speech, transcriptions and translations.
    Audio,
    /// Embeddings and rankings.
    Embeddings,
    /// Chat, completions, responses and messages.
    Chat,
}

impl Kind {
    /// Every kind, the dearest first.
    pub const ALL: [Self; 5] = [
        Self::Video,
        Self::Images,
        Self::Audio,
        Self::Embeddings,
        Self::Chat,
    ];

    /// The word for this kind in the configuration, the ledger, metrics and the console.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Embeddings => "embeddings",
            Self::Chat => "chat",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no [`Kind`].
#[derive(Debug, thiserror::Error)]
#[error("not a kind of generation: video, images, audio, embeddings or chat")]
pub struct UnknownKind;

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or(UnknownKind)
    }
}

/// The kind of generation that `method` on `path` asks for, or `None` when it is none.
///
/// `path` starts with `/v1/` and has no query.
///
/// MONEY: a paid request must not slip through unrecognised because it is spelt in a way that only
/// the upstream resolves. So the path is read percent-decoded, with `.`, `..`, `//` and a trailing
/// slash resolved, both with `%2f` and `\` as separators and without. The price is that a path
/// which upstream refuses may count as a generation; its answer is a failure and is not kept.
pub fn classify(method: &Method, path: &str) -> Option<Kind> {
    if *method != Method::POST {
        return None;
    }
    named(&path::split_then_decode(path))
        .or_else(|| named(&path::decode_then_split(path).unwrap_or_default()))
}

/// The kind that a resolved path names.
fn named(segments: &path::Segments<'_>) -> Option<Kind> {
    // None has more than three below `v1`; an empty one stands for none.
    let at = |nth| segments.get(nth).map_or(&b""[..], AsRef::as_ref);
    if at(0) != b"v1" || segments.len() > 4 {
        return None;
    }
    match (at(1), at(2), at(3)) {
        (b"video", b"generations", b"")
        | (b"videos", b"" | b"edits" | b"extensions", b"")
        | (b"videos", _, b"remix") => Some(Kind::Video),
        (b"images", b"generations" | b"edits" | b"variations", b"") => Some(Kind::Images),
        (b"audio", b"speech" | b"transcriptions" | b"translations", b"") => Some(Kind::Audio),
        (b"embeddings" | b"rerank", b"", b"") => Some(Kind::Embeddings),
        (b"chat", b"completions", b"")
        | (b"completions" | b"responses" | b"messages", b"", b"") => Some(Kind::Chat),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_generation() {
        for (path, kind) in [
            ("/v1/video/generations", Some(Kind::Video)),
            ("/v1/videos", Some(Kind::Video)),
            ("/v1/videos/task_1/remix", Some(Kind::Video)),
            ("/v1/videos/a%2fb/remix", Some(Kind::Video)),
            ("/v1/videos/edits", Some(Kind::Video)),
            ("/v1/videos/extensions", Some(Kind::Video)),
            ("/v1/images/generations", Some(Kind::Images)),
            ("/v1/images/edits", Some(Kind::Images)),
            ("/v1/images/variations", Some(Kind::Images)),
            ("/v1/audio/speech", Some(Kind::Audio)),
            ("/v1/audio/transcriptions", Some(Kind::Audio)),
            ("/v1/audio/translations", Some(Kind::Audio)),
            ("/v1/embeddings", Some(Kind::Embeddings)),
            ("/v1/rerank", Some(Kind::Embeddings)),
            ("/v1/chat/completions", Some(Kind::Chat)),
            ("/v1/completions", Some(Kind::Chat)),
            ("/v1/responses", Some(Kind::Chat)),
            ("/v1/messages", Some(Kind::Chat)),
            // Spelt so that a front end resolves it.
            ("/v1/chat/completions/", Some(Kind::Chat)),
            ("/v1//chat//completions", Some(Kind::Chat)),
            ("/v1/./chat/completions", Some(Kind::Chat)),
            ("/v1/x/../chat/completions", Some(Kind::Chat)),
            ("/v1/a%2fb/../chat/completions", Some(Kind::Chat)),
            ("/v1/chat%2fcompletions", Some(Kind::Chat)),
            ("/v1/chat\\completions", Some(Kind::Chat)),
            ("/v1/%63hat/completions", Some(Kind::Chat)),
            ("/v1/%2563hat/completions", Some(Kind::Chat)),
            ("/v1/video/generations/.", Some(Kind::Video)),
            // Close, but not paid.
            ("/v1/models", None),
            ("/v1/files", None),
            ("/v1/moderations", None),
            ("/v1/messages/count_tokens", None),
            ("/v1/responses/resp_1/cancel", None),
            ("/v1/videos/remix", None),
            ("/v1/videos/characters", None),
            ("/v1/Chat/Completions", None),
            ("/v2/chat/completions", None),
            ("/chat/completions", None),
            ("/v1/", None),
            ("", None),
        ] {
            assert_eq!(classify(&Method::POST, path), kind, "{path}");
        }
    }

    #[test]
    fn only_a_post_is_paid() {
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::PUT] {
            assert_eq!(classify(&method, "/v1/videos"), None, "{method}");
        }
    }

    #[test]
    fn words_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse::<Kind>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("Video".parse::<Kind>().is_err());
    }
}
