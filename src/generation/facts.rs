//! What a request's body says about itself, noted while its fingerprint is made.

use super::Kind;
use super::extent::{Extent, Said};

/// Longer than any model's name; what is longer is somebody's prompt, and goes into no record.
const LONGEST_MODEL: usize = 256;

/// What the proxy wants to know of a body beside its fingerprint.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// The top-level `model`. RelayDance's gateway is written in Go, whose JSON reader takes names in any
    /// case: of several the last counts. The fingerprint takes no notice of it.
    pub(super) model: Option<String>,
    /// The top-level `stream` is true.
    pub(super) stream: bool,
    /// The top-level `temperature` is zero, or `seed` is there and not null.
    pub(super) deterministic: bool,
    /// What it says of the size of what it asks for.
    pub(super) size: Said,
    /// How much of it is no file, in bytes.
    pub(super) body: u64,
}

impl Facts {
    /// The facts of a body that is not looked into.
    pub(super) fn unread(body: &[u8]) -> Self {
        Self {
            body: u64::try_from(body.len()).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// How much the request asks for.
    pub(super) fn extent(&self, kind: Kind) -> Extent {
        self.size.extent(kind, self.model.as_deref(), self.body)
    }

    /// Notes the model's name, when it is one. What is none leaves the one before.
    pub(super) fn note_model(&mut self, name: &[u8]) {
        if let Some(model) = model(name) {
            self.model = Some(model);
        }
    }
}

fn model(name: &[u8]) -> Option<String> {
    std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty() && name.len() <= LONGEST_MODEL)
        .map(str::to_owned)
}
