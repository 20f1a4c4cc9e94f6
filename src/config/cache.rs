//! What is kept: the sections `[cache]` and `[cache.video]` to `[cache.chat]`.

use std::time::Duration;

use crate::generation::Kind;

/// Between whom a kept generation is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Between all clients.
    Shared,
    /// Between the requests of one client.
    Client,
}

/// Which generations of a kind are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All.
    On,
    /// None: they pass through.
    Off,
    /// Those at temperature 0 or with a seed. Chat only.
    Deterministic,
}

/// How long a kept generation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// For ever.
    Forever,
    /// For this long after it was made.
    For(Duration),
}

/// What an identical request gets while the outcome of a paid call is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOutcome {
    /// 409, until somebody resolves it.
    Ask,
    /// A second run, which may be a second payment.
    Rerun,
}

/// The rules of one kind of generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindPolicy {
    /// Which are kept.
    pub mode: Mode,
    /// For how long.
    pub ttl: Ttl,
    /// What happens after a call of which nobody knows the outcome.
    pub unknown_outcome: UnknownOutcome,
}

/// What is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Between whom a kept generation is shared.
    pub scope: Scope,
    /// The largest body of a generation request, in bytes.
    pub max_request_body: u64,
    /// How many bytes are kept in all, media included.
    pub max_size: u64,
    /// With less free disk than this many bytes no new generation is started.
    pub min_free: u64,
    /// The rules for video.
    pub video: KindPolicy,
    /// The rules for images.
    pub images: KindPolicy,
    /// The rules for audio.
    pub audio: KindPolicy,
    /// The rules for embeddings.
    pub embeddings: KindPolicy,
    /// The rules for chat.
    pub chat: KindPolicy,
}

impl Cache {
    /// The rules for `kind`.
    pub fn policy(&self, kind: Kind) -> &KindPolicy {
        match kind {
            Kind::Video => &self.video,
            Kind::Images => &self.images,
            Kind::Audio => &self.audio,
            Kind::Embeddings => &self.embeddings,
            Kind::Chat => &self.chat,
        }
    }
}
