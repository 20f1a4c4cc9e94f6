//! What a request may say without asking for anything else.
//!
//! Left out of the fingerprint: who asks, who is to be called when it is done, and how urgent it
//! is. Everything else counts, also what no one has heard of.

use super::Kind;

/// Does the top-level member `name` not count?
pub(super) fn at_top(kind: Kind, name: &[u8]) -> bool {
    match name {
        b"user" | b"safety_identifier" => true,
        b"callback_url" => kind == Kind::Video,
        _ => false,
    }
}

/// Does the member `name` of a video's top-level `metadata` not count?
pub(super) fn in_metadata(name: &[u8]) -> bool {
    matches!(
        name,
        b"callback_url"
            | b"safety_identifier"
            | b"execution_expires_after"
            | b"priority"
            | b"service_tier"
    )
}

/// Does the form field `name` not count? `metadata[x]` is how the SDKs write a nested member.
pub(super) fn in_form(kind: Kind, name: &[u8]) -> bool {
    let nested = name
        .strip_prefix(b"metadata[")
        .and_then(|rest| rest.strip_suffix(b"]"));
    at_top(kind, name) || (kind == Kind::Video && nested.is_some_and(in_metadata))
}
