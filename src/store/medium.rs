//! The files behind the links of a result.

use super::blob_hash::BlobHash;

/// One link in a result, and what became of the file behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// The link as upstream gave it, decoded: without the escapes of JSON.
    pub link: String,
    /// How far it is.
    pub state: MediumState,
}

/// How far the keeping of a linked file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediumState {
    /// It is to be fetched.
    Wanted,
    /// It is kept as a blob, which the record needs.
    Kept {
        /// The blob.
        hash: BlobHash,
        /// Its size in bytes.
        len: u64,
        /// Its `Content-Type`, as it is to be served.
        content_type: String,
        /// What its file name ends with, without the dot.
        extension: String,
    },
    /// It cannot be had any longer.
    Lost {
        /// Why, for people.
        why: String,
    },
}
