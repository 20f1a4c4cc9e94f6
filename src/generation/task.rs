//! The answer to a submitted video, in every shape it comes in.

use serde_json::Value;

use super::state::State;

/// The id of the job that `answer` is about.
///
/// First hit wins: `task_id`, `data.task_id`, `id`, `data.id`. Only a string is an id: the
/// gateway's `data.id` is a row number. `data.data.id` is the id of somebody further up, with which
/// the gateway cannot be asked, and is not looked at.
pub fn id(answer: &Value) -> Option<&str> {
    let data = answer.get("data");
    let inside = |name| data.and_then(|data| data.get(name));
    [
        answer.get("task_id"),
        inside("task_id"),
        answer.get("id"),
        inside("id"),
    ]
    .into_iter()
    .flatten()
    .filter_map(Value::as_str)
    .find(|id| !id.is_empty())
}

/// The id of the job that was accepted with `answer`; `None` when none was, whatever the HTTP
/// status said.
pub fn accepted(answer: &Value) -> Option<&str> {
    if is_refusal(answer) || state(answer).is_some_and(State::is_failure) {
        return None;
    }
    id(answer)
}

/// Is `answer` about something that went wrong with the call, not with the job: an error object,
/// `success: false`, or an envelope whose code is not `success`?
pub fn is_refusal(answer: &Value) -> bool {
    is_set(answer.get("error"))
        || answer.get("success") == Some(&Value::Bool(false))
        || !is_good_code(answer.get("code"))
}

/// Is the gateway's record of the job wrapped, in the `data` of an envelope?
pub fn is_wrapped(answer: &Value) -> bool {
    let by_shape = answer.get("code").is_some() || answer.get("status").is_none();
    by_shape && answer.get("data").is_some_and(Value::is_object)
}

/// The gateway's record of the job: the answer itself, or what it wraps. What stands in `data`
/// below that is the word of somebody further up.
pub fn job(answer: &Value) -> &Value {
    let data = answer.get("data").filter(|_| is_wrapped(answer));
    data.unwrap_or(answer)
}

/// The gateway's word on the job, if it says one.
pub fn state(answer: &Value) -> Option<State> {
    let word = job(answer).get("status").or(answer.get("status"))?;
    word.as_str().map(State::from_word)
}

/// Is there a member, and is it not null?
pub(super) fn is_set(member: Option<&Value>) -> bool {
    member.is_some_and(|value| !value.is_null())
}

/// The envelope's `code`: `success` where all is well. None, null and "" say nothing.
fn is_good_code(code: Option<&Value>) -> bool {
    match code {
        None | Some(Value::Null) => true,
        Some(Value::String(word)) => word.is_empty() || word.eq_ignore_ascii_case("success"),
        Some(Value::Number(number)) => matches!(number.as_u64(), Some(0 | 200)),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => false,
    }
}
