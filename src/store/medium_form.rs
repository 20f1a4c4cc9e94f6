//! A linked file in the record of a `.gen` file; see [`form`](super::form).

use serde::{Deserialize, Serialize};

use super::blob_hash::BlobHash;
use super::medium::{Medium, MediumState};

/// `{"link":"…","state":"wanted"}`, `{"link":"…","state":"kept","blob":"<blake3>",…}` or
/// `{"link":"…","state":"lost","why":"…"}`.
#[derive(Serialize, Deserialize)]
pub(super) struct MediumForm {
    link: String,
    #[serde(flatten)]
    state: StateForm,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum StateForm {
    Wanted,
    Kept {
        blob: BlobHash,
        len: u64,
        content_type: String,
        extension: String,
    },
    Lost {
        why: String,
    },
}

impl From<Medium> for MediumForm {
    fn from(Medium { link, state }: Medium) -> Self {
        let state = match state {
            MediumState::Wanted => StateForm::Wanted,
            MediumState::Kept {
                hash: blob,
                len,
                content_type,
                extension,
            } => StateForm::Kept {
                blob,
                len,
                content_type,
                extension,
            },
            MediumState::Lost { why } => StateForm::Lost { why },
        };
        Self { link, state }
    }
}

impl From<MediumForm> for Medium {
    fn from(MediumForm { link, state }: MediumForm) -> Self {
        let state = match state {
            StateForm::Wanted => MediumState::Wanted,
            StateForm::Kept {
                blob: hash,
                len,
                content_type,
                extension,
            } => MediumState::Kept {
                hash,
                len,
                content_type,
                extension,
            },
            StateForm::Lost { why } => MediumState::Lost { why },
        };
        Self { link, state }
    }
}
