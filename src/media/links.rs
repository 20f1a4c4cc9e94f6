//! The links of a result, found in the answer that tells of it.
//!
//! A link is a string that is nothing but an absolute `http` or `https` URL, as the value of one of
//! the members below, at a place that belongs to the result. The shapes are RelayDance's, OpenAI's
//! and those of the APIs that stand behind RelayDance, whose whole answer it repeats in `data`:
//!
//! | member | holds a result's link |
//! | --- | --- |
//! | `url`, `video_url`, `result_url`, `last_frame_url` | wherever we look |
//! | `image_url`, `audio_url`, `file_url` | in a `content` that is an object |
//! | `fail_reason` | of a job that succeeded: old gateways had no other place for it |
//!
//! | member | we look into it |
//! | --- | --- |
//! | `data`, `result`, `results`, `task_result`, `output`, `outputs`, `video`, `videos` | yes: envelopes, to any depth |
//! | `content` | when it is an object; as an array it is what was asked with |
//! | `metadata` | at its own members only: it may repeat the whole request |
//! | everything else | no: `input`, `image`, `images`, `image_url`, `properties`, `request`, `error` … |
//!
//! So what a client has sent (reference images, a `callback_url`) is not found, and neither is the
//! error sentence that stands in `result_url` when a job failed.

use serde_json::Value;
use url::Url;

use crate::generation::state::State;
use crate::generation::task;

/// Links of one answer that are found; the first ones.
pub const MOST: usize = 64;
/// The longest link, in bytes.
pub const LONGEST: usize = 8 * 1024;
/// The largest answer that is looked at, in bytes.
pub const LARGEST: usize = 64 * 1024 * 1024;

/// Members whose value is a link to a result.
const LINKS: [&str; 4] = ["url", "video_url", "result_url", "last_frame_url"];
/// Further ones within `content`.
const CONTENT_LINKS: [&str; 3] = ["image_url", "audio_url", "file_url"];
/// Members that wrap a result, or several.
const ENVELOPES: [&str; 8] = [
    "data",
    "result",
    "results",
    "task_result",
    "output",
    "outputs",
    "video",
    "videos",
];

/// What we are looking into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The answer, or something that wraps a result.
    Result,
    /// A `content` object.
    Content,
    /// A `metadata` object.
    Metadata,
}

/// The links of a finished answer, decoded, each once, in the order in which they stand there; none
/// of an answer that is no JSON, or tells of anything but a success.
pub fn find(body: &[u8]) -> Vec<String> {
    let mut found = Found::default();
    if body.len() > LARGEST || !may_hold_one(body) {
        return found.links;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return found.links;
    };
    let state = task::state(&answer);
    if task::is_refusal(&answer) || state.is_some_and(|state| state != State::Succeeded) {
        return found.links;
    }
    found.job_succeeded = state == Some(State::Succeeded);
    found.look_into(&answer, Place::Result);
    found.links
}

/// Whether there is anything like `://` in it. Images of several megabytes in base64 are not read as
/// JSON for nothing: a colon stands in none of their digits.
fn may_hold_one(body: &[u8]) -> bool {
    let next = |at: usize| body.get(at + 1);
    memchr::memchr_iter(b':', body).any(|at| matches!(next(at), Some(b'/' | b'\\')))
        || memchr::memmem::find(body, b"\\u003").is_some()
}

/// Whether a text is nothing but a link that could be followed.
pub fn is_link(text: &str) -> bool {
    let plain = |letter: char| !letter.is_whitespace() && !letter.is_control();
    let scheme = |name: &str| {
        text.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    (scheme("http://") || scheme("https://"))
        && text.len() <= LONGEST
        // A sentence may begin with a link, and the rules of browsers would read all of it as one.
        && text.chars().all(plain)
        && Url::parse(text).is_ok()
}

#[derive(Default)]
struct Found {
    links: Vec<String>,
    job_succeeded: bool,
}

impl Found {
    /// Goes no deeper than the JSON reader did, which is 128 levels.
    fn look_into(&mut self, value: &Value, place: Place) {
        match value {
            Value::Array(items) if place == Place::Result => {
                for item in items {
                    self.look_into(item, place);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    self.look_at(name, value, place);
                }
            }
            Value::Array(_)
            | Value::String(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_) => {}
        }
    }

    fn look_at(&mut self, name: &str, value: &Value, place: Place) {
        if let Value::String(text) = value {
            if self.is_place_of_a_link(name, place) {
                self.add(text);
            }
            return;
        }
        let next = match name {
            _ if place == Place::Metadata => return,
            "content" => Place::Content,
            "metadata" => Place::Metadata,
            _ if ENVELOPES.contains(&name) => Place::Result,
            _ => return,
        };
        self.look_into(value, next);
    }

    fn is_place_of_a_link(&self, name: &str, place: Place) -> bool {
        LINKS.contains(&name)
            || (place == Place::Content && CONTENT_LINKS.contains(&name))
            || (place == Place::Result && self.job_succeeded && name == "fail_reason")
    }

    fn add(&mut self, text: &str) {
        let is_new = || !self.links.iter().any(|known| known == text);
        if self.links.len() < MOST && is_new() && is_link(text) {
            self.links.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
