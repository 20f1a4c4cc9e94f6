//! What a record says about the files behind its links; pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::links;
use super::name::Name;
use crate::clock;
use crate::generation::Kind;
use crate::store::{Entry, Medium, MediumState, Payload, Record, TaskState};

/// Adds the links that a record does not have yet; they are to be fetched.
pub fn want(record: &mut Record, found: Vec<String>) {
    for link in found {
        let is_new = !record.media.iter().any(|medium| medium.link == link);
        if is_new && record.media.len() < links::MOST {
            let state = MediumState::Wanted;
            record.media.push(Medium { link, state });
        }
    }
}

/// Makes room for one more answer about a finished job, which shows the links `found`.
///
/// When all that is kept of the job is links that have outlived `lifetime`, and the answer brings new
/// ones, the old answers go: they would show dead links, and are asked for again.
pub fn renew(entry: &mut Entry, found: &[String], (now, lifetime): (Timestamp, Duration)) {
    if is_doubtful(&entry.record, now, lifetime)
        && let Some(known) = known_links(entry)
        && found.iter().any(|link| !known.contains(link))
    {
        entry.record.media.clear();
        entry.polls.clear();
        if let Some(task) = &mut entry.record.task {
            task.polls.clear();
        }
    }
}

/// Every link that is known of a generation; `None` when some answer would have to be read from its
/// file first.
pub fn known_links(entry: &Entry) -> Option<Vec<String>> {
    if !entry.record.media.is_empty() {
        let media = entry.record.media.iter();
        return Some(media.map(|medium| medium.link.clone()).collect());
    }
    let mut known = Vec::new();
    for payload in shown(entry) {
        match payload {
            Payload::Bytes(bytes) => known.extend(links::find(bytes)),
            Payload::Blob { .. } => return None,
        }
    }
    Some(known)
}

/// The answers that show a result's links.
pub fn shown(entry: &Entry) -> &[Payload] {
    if entry.record.task.is_some() {
        &entry.polls
    } else {
        std::slice::from_ref(&entry.body)
    }
}

/// When upstream gave the links.
pub fn given_at(record: &Record) -> Timestamp {
    let Some(task) = &record.task else {
        return record.created_at;
    };
    let first = task.polls.iter().map(|poll| poll.at).min();
    first.or(task.ended_at).unwrap_or(record.created_at)
}

/// Whether the links of a finished generation count as dead until something else is shown: they have
/// outlived `lifetime`, and there is a copy of none.
pub fn is_doubtful(record: &Record, now: Timestamp, lifetime: Duration) -> bool {
    is_finished(record) && !has_copy(record) && is_over(record, now, lifetime)
}

/// Whether it has a result whose links may be kept.
pub fn is_finished(record: &Record) -> bool {
    match (record.kind, &record.task) {
        (Kind::Video, Some(task)) => task.state == TaskState::Succeeded,
        (Kind::Images, _) => true,
        (Kind::Video | Kind::Audio | Kind::Embeddings | Kind::Chat, _) => false,
    }
}

/// Whether links of this record have outlived `lifetime`.
pub fn is_over(record: &Record, now: Timestamp, lifetime: Duration) -> bool {
    clock::age_seconds(now, given_at(record)) >= lifetime.as_secs().max(1)
}

/// Whether any of its files is kept.
pub fn has_copy(record: &Record) -> bool {
    let kept = |medium: &Medium| matches!(medium.state, MediumState::Kept { .. });
    record.media.iter().any(kept)
}

/// What stands for each link whose file is kept, for clients that reach the proxy at `base`; empty
/// when there is none.
pub fn local_links(record: &Record, base: &str) -> HashMap<String, String> {
    let local = |medium: &Medium| match &medium.state {
        MediumState::Kept {
            hash, extension, ..
        } => {
            let name = Name::new(*hash, extension);
            Some((medium.link.clone(), name.link(base)))
        }
        MediumState::Wanted | MediumState::Lost { .. } => None,
    };
    record.media.iter().filter_map(local).collect()
}

/// The kept clip of a job: the first video among its files.
pub fn clip(record: &Record) -> Option<Name> {
    record.media.iter().find_map(|medium| match &medium.state {
        MediumState::Kept {
            hash,
            extension,
            content_type,
            ..
        } if content_type.starts_with("video/") => Some(Name::new(*hash, extension)),
        _ => None,
    })
}
