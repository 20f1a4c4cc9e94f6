//! The words that figures are told apart by.

use std::borrow::Cow;

use crate::generation::Kind;

/// One label: its name and its value.
pub(super) type Word = (&'static str, Cow<'static, str>);

/// What tells the figures of a family apart.
pub(super) type Labels<const N: usize> = [Word; N];

/// A label whose value is from a list.
pub(super) const fn word(name: &'static str, value: &'static str) -> Word {
    (name, Cow::Borrowed(value))
}

/// The label for a client.
pub(super) fn client(name: &str) -> Labels<1> {
    [("client", Cow::Owned(name.to_owned()))]
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// A generation.
    Generation(Kind),
    /// A poll of a video job.
    Poll,
    /// A kept file, by its link or as the content of a job.
    Media,
    /// A WebSocket.
    WebSocket,
    /// Something else below `/v1`.
    Other,
    /// The proxy's own pages: health, metrics, the admin API.
    Own,
    /// Nobody knows: it was refused before that was looked at.
    Unread,
}

impl Sort {
    /// The word for it in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generation(kind) => kind.as_str(),
            Self::Poll => "poll",
            Self::Media => "media",
            Self::WebSocket => "websocket",
            Self::Other => "other",
            Self::Own => "own",
            Self::Unread => "unread",
        }
    }
}

/// What a client may have too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// `limits.requests_per_minute`.
    Requests,
    /// `limits.generations_per_minute`.
    Generations,
    /// `limits.concurrent_generations`.
    Concurrent,
    /// `limits.usd_per_day`.
    UsdPerDay,
    /// `limits.usd_per_month`.
    UsdPerMonth,
    /// `server.max_connections`, or the share of one address.
    Connections,
    /// The memory for large bodies.
    Memory,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Generations,
        Self::Concurrent,
        Self::UsdPerDay,
        Self::UsdPerMonth,
        Self::Connections,
        Self::Memory,
    ];

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Generations => "generations",
            Self::Concurrent => "concurrent",
            Self::UsdPerDay => "usd_per_day",
            Self::UsdPerMonth => "usd_per_month",
            Self::Connections => "connections",
            Self::Memory => "memory",
        }
    }
}
