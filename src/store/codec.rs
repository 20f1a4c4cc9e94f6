//! The form of a `.gen` file: one line of JSON, then the bodies.
//!
//! ```text
//! {"format":2,"blake3":"<64 hex>","record":{…}}\n<body><poll body><poll body>…
//! ```
//!
//! The checksum covers the text of `record` and every byte after the line; the rest of the line
//! must stand exactly as written. So any bit that flips anywhere is noticed. Within a format,
//! fields of the record that this version does not know are skipped.

use bytes::Bytes;
use serde::Deserialize;

use super::error::StoreError;
use super::form::RecordForm;
use super::record::{Entry, Payload};
use crate::generation::Fingerprint;

/// The format that this version writes, and the newest that it reads. Format 1 had no `media`.
const FORMAT: u64 = 2;

const BEFORE_CHECK: &[u8] = br#"{"format":2,"blake3":""#;
const BEFORE_CHECK_1: &[u8] = br#"{"format":1,"blake3":""#;
const BEFORE_RECORD: &[u8] = br#"","record":"#;
const CHECK_LEN: usize = 64;

/// The largest body that is kept inside the file, in bytes.
pub(super) const INLINE_MAX: u64 = 64 * 1024;
/// How much is kept inside one file over all its bodies, in bytes; what is beyond goes to blobs.
pub(super) const INLINE_TOTAL_MAX: u64 = 1024 * 1024;
/// The longest line of JSON, in bytes: headers of many polls fit, a runaway does not.
const LINE_MAX: usize = 4 * 1024 * 1024;
/// No file of ours is longer, in bytes; longer ones are not read.
pub(super) const FILE_MAX: u64 = INLINE_TOTAL_MAX + LINE_MAX as u64;

/// Why bytes are no entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Not what was written.
    Damaged(String),
    /// Written by a newer version.
    Newer(u64),
}

impl Flaw {
    pub(super) fn damaged(why: &str) -> Self {
        Self::Damaged(why.to_owned())
    }
}

/// The bytes of the file for an entry. Payloads that are bytes end up inside the file.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let text = serde_json::to_string(&RecordForm::of(entry)?)
        .map_err(|_| StoreError::Refused("its record has no form in JSON"))?;
    if text.len() > LINE_MAX - 256 {
        return Err(StoreError::Refused("its record is longer than 4 MiB"));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(text.as_bytes());
    let mut sections = 0;
    for bytes in inline(entry) {
        hasher.update(bytes);
        sections += bytes.len();
    }
    if sections as u64 > INLINE_TOTAL_MAX {
        return Err(StoreError::Refused(
            "its bodies are too large to stand in one file",
        ));
    }
    let mut file = Vec::with_capacity(text.len() + sections + 128);
    file.extend_from_slice(BEFORE_CHECK);
    file.extend_from_slice(hasher.finalize().to_hex().as_bytes());
    file.extend_from_slice(BEFORE_RECORD);
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(b"}\n");
    for bytes in inline(entry) {
        file.extend_from_slice(bytes);
    }
    Ok(file)
}

/// The bodies inside the file, in their order.
fn inline(entry: &Entry) -> impl Iterator<Item = &Bytes> {
    std::iter::once(&entry.body)
        .chain(&entry.polls)
        .filter_map(|payload| match payload {
            Payload::Bytes(bytes) => Some(bytes),
            Payload::Blob { .. } => None,
        })
}

/// The entry in the bytes of a file, which must be the one of `key`.
pub(super) fn decode(key: &Fingerprint, file: &Bytes) -> Result<Entry, Flaw> {
    let (check, text, sections) = split(file)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(text).update(&sections);
    // Compared as text: hex in capitals would be the same hash, yet not what was written.
    if hasher.finalize().to_hex().as_bytes() != check {
        return Err(Flaw::damaged("its checksum does not match"));
    }
    let form: RecordForm =
        serde_json::from_slice(text).map_err(|error| Flaw::Damaged(error.to_string()))?;
    if *form.key() != *key {
        return Err(Flaw::Damaged(format!(
            "it holds the generation {}",
            form.key()
        )));
    }
    form.into_entry(sections)
}

/// Checksum, text of the record, bodies.
fn split(file: &Bytes) -> Result<(&[u8], &[u8], Bytes), Flaw> {
    let end = file
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(file.len());
    let line = file.get(..end).unwrap_or_default();
    let parts = line
        .strip_prefix(BEFORE_CHECK)
        .or_else(|| line.strip_prefix(BEFORE_CHECK_1))
        .and_then(|rest| rest.split_at_checked(CHECK_LEN))
        .and_then(|(check, rest)| Some((check, rest.strip_prefix(BEFORE_RECORD)?)))
        .and_then(|(check, rest)| Some((check, rest.strip_suffix(b"}")?)));
    match parts {
        Some((check, text)) if end < file.len() => Ok((check, text, file.slice(end + 1..))),
        Some(_) => Err(Flaw::damaged("it is cut short")),
        None => Err(unreadable(line)),
    }
}

/// Tells a newer format from a damaged line.
fn unreadable(line: &[u8]) -> Flaw {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    match serde_json::from_slice::<Head>(line) {
        Ok(head) if head.format > FORMAT => Flaw::Newer(head.format),
        Ok(_) | Err(_) => Flaw::damaged("its first line is not one that reprise writes"),
    }
}
