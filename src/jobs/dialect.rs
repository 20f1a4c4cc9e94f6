//! The shapes in which RelayDance talks about a video job, read in one place.
//!
//! One gateway, many dialects: the documentation shows a flat object, the service sends an envelope
//! `{code, message, data}` around its own record of the job, `/v1/videos/{id}` sends OpenAI's video
//! object. Inside the envelope's `data` stands a second `data`, what the gateway itself was told
//! further up; its status may be ahead or behind, and only the gateway's own word counts.

use http::{Method, StatusCode};
use serde_json::Value;

use super::route::Route;

pub use crate::generation::state::State;
use crate::generation::task;

/// An error text is kept up to so many bytes.
const LONGEST_ERROR: usize = 1000;
/// As many gateways may stand behind one another.
const MOST_GATEWAYS: usize = 6;

/// What a poll said about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The job's id, if the answer names it. An answer with another id than was asked for is about
    /// another job.
    pub task_id: Option<String>,
    /// How it stands.
    pub state: State,
    /// Tokens that were used, in all; known when it succeeded.
    pub total_tokens: Option<u64>,
    /// How far it is, in percent.
    pub progress: Option<u8>,
    /// Why it failed, at most 1,000 bytes; only of a job that did.
    pub error: Option<String>,
}

/// The id of the job that was accepted with this answer to a submit; `None` when none was: an
/// error object, a failed status, no id.
pub fn read_submit(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    task::accepted(&answer).map(str::to_owned)
}

/// What the answer to a poll says about its job; `None` when it says nothing about it: an HTTP
/// error, an error envelope, a page of HTML.
///
/// MONEY: a job that counts as failed is forgotten, and the next identical request pays again. So
/// only an answer that is about a job and names it can fail it; above all not the gateway's
/// mistaken 403 "no access to model" on a poll.
pub fn read_poll(status: StatusCode, body: &[u8]) -> Option<Poll> {
    if !status.is_success() {
        return None;
    }
    let answer: Value = serde_json::from_slice(body).ok()?;
    let (task_id, state) = (task::id(&answer), task::state(&answer));
    // OpenAI's object of a failed job has an `error` of its own; the call went well.
    let is_plain_job = !task::is_wrapped(&answer) && task_id.is_some() && state.is_some();
    if task::is_refusal(&answer) && !is_plain_job {
        return None;
    }
    let failed = state.is_some_and(State::is_failure);
    if task_id.is_none() && (failed || state.is_none()) {
        return None;
    }
    let job = task::job(&answer);
    Some(Poll {
        task_id: task_id.map(str::to_owned),
        state: state.unwrap_or(State::Unknown),
        total_tokens: total_tokens(job),
        progress: job.get("progress").and_then(percent),
        error: failed.then(|| why(job, &answer)).flatten(),
    })
}

/// The id in `GET /v1/video/generations/{id}` and `GET /v1/videos/{id}`, as it stands in the path;
/// `None` for every other request, also for the content of a video.
pub fn poll_target<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    (*method == Method::GET).then(|| job_of(path))?
}

/// The path below `/v1` on which a job is asked for that was submitted to `submit_path`.
pub fn poll_of(submit_path: &str, task_id: &str) -> String {
    Route::of_submit(submit_path).path(task_id)
}

/// Whether the body of a 400 says that the gateway does not know a job.
pub fn is_unknown_task(body: &[u8]) -> bool {
    let answer = serde_json::from_slice::<Value>(body);
    answer.is_ok_and(|answer| answer["code"] == "task_not_exist")
}

/// The id of the job that a request deletes: exactly the job's own path, nothing below it.
pub fn deletion_target<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    (*method == Method::DELETE).then(|| job_of(path))?
}

/// Whether a 2xx answer to a deletion says that the job is gone, in OpenAI's form or any other; an
/// empty one does.
///
/// MONEY: what cannot be read says nothing. A running job that is forgotten is paid for again.
pub fn is_deleted(body: &[u8]) -> bool {
    if body.is_empty() {
        return true;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let denied = |name| answer.get(name).and_then(Value::as_bool) == Some(false);
    let failed = answer.get("error").is_some_and(|error| !error.is_null());
    !(denied("deleted") || denied("success") || failed || task::is_refusal(&answer))
}

fn job_of(path: &str) -> Option<&str> {
    ["/v1/video/generations/", "/v1/videos/"]
        .into_iter()
        .find_map(|prefix| path.strip_prefix(prefix))
        .filter(|id| !id.is_empty() && !id.contains('/'))
}

/// `usage.total_tokens` of the job, or of whoever made it further up: each gateway wraps the answer
/// it got in one more `data`.
fn total_tokens(job: &Value) -> Option<u64> {
    std::iter::successors(Some(job), |answer| answer.get("data"))
        .take(2 * MOST_GATEWAYS)
        .find_map(|answer| answer.get("usage")?.get("total_tokens")?.as_u64())
}

/// `100`, `100.0` or `"100%"`; never above 100.
fn percent(progress: &Value) -> Option<u8> {
    let number = match progress {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().trim_end_matches('%').trim_end().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    // Counted, not cast: whatever the number is, the result is 0 to 100.
    (0..=100_u8).rev().find(|whole| f64::from(*whole) <= number)
}

/// Why a failed job failed. On a successful one some of these fields hold the link to the result.
fn why(job: &Value, answer: &Value) -> Option<String> {
    let error = job.get("error").or(answer.get("error"));
    let inside = |name| error.and_then(|error| error.get(name));
    [
        job.get("fail_reason"),
        inside("message"),
        error,
        inside("code"),
        job.get("message"),
        job.get("result_url"),
    ]
    .into_iter()
    .flatten()
    .filter_map(Value::as_str)
    .find(|text| !text.is_empty())
    .map(shortened)
}

fn shortened(text: &str) -> String {
    let end = (0..=LONGEST_ERROR.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
