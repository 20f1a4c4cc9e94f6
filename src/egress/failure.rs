//! Why nothing came back, in words for whoever reads a log.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use crate::message::causes;

/// A destination that is not gone to. Trying again does not help, but where a name is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read as a link, or is longer than any link.
    #[error("no link that can be followed: {0}")]
    NotALink(String),
    /// Something else than `http` or `https`.
    #[error("the scheme `{0}` is not followed, only http and https")]
    Scheme(String),
    /// `user:password@` in it.
    #[error("a link with a user name in it is not followed")]
    UserInfo,
    /// A redirect from `https` to `http`.
    #[error("a redirect from https to http is not followed")]
    Downgrade,
    /// An address that is none of the public internet's, by its number.
    #[error("{kind} address {address}; allow it with {key}")]
    Private {
        /// What the address is for: `private`, `loopback`, `link-local` …
        kind: &'static str,
        /// The address itself.
        address: IpAddr,
        /// The key of proxy.toml that would allow it.
        key: &'static str,
    },
    /// A name that always means this machine.
    #[error("the name {name} means this machine; allow loopback addresses with {key}")]
    Localhost {
        /// The name.
        name: String,
        /// The key of proxy.toml that would allow it.
        key: &'static str,
    },
}

/// A request went out, or did not, and no answer's head came back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EgressError {
    /// Nothing was connected to.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No connection came about: not one byte of the request was written.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke after the request, or a part of it, may have been written; or the
    /// answer was none that HTTP allows, or had too large a head.
    #[error("broke off: {0}")]
    Cut(String),
    /// No head in time.
    #[error("sent no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
}

impl EgressError {
    /// A refusal may come from deep inside: the connector is where addresses are known.
    pub(super) fn of_client(error: &hyper_util::client::legacy::Error) -> Self {
        if let Some(refusal) = refusal_in(error) {
            return Self::Refused(refusal);
        }
        if error.is_connect() {
            Self::Unreachable(causes(error))
        } else {
            Self::Cut(causes(error))
        }
    }
}

fn refusal_in(error: &(dyn Error + 'static)) -> Option<Refusal> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal.clone());
        }
        cause = error.source();
    }
    None
}
