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

/// What a client, or all of them, may have too much of: limits of clients by their keys in the
/// configuration, places for connections, and memory for large bodies.
pub(super) const LIMITS: [&str; 7] = [
    "requests_per_minute",
    "generations_per_minute",
    "concurrent_generations",
    "usd_per_day",
    "usd_per_month",
    "connections",
    "memory",
];
