//! The usage in the answer to a poll, in every shape that RelayDance has for it.

use serde_json::Value;

use super::Usage;
use crate::generation::task;

/// As many answers may be wrapped in one another.
const MOST_WRAPPED: usize = 12;

/// Reads the poll of a job. Each gateway wraps the answer that it got in one more `data`; usage and
/// length stand in any of them.
pub(super) fn read(body: &[u8]) -> Usage {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return Usage::default();
    };
    let answers = || {
        std::iter::successors(Some(task::job(&answer)), |answer| answer.get("data"))
            .take(MOST_WRAPPED)
    };
    let usage = answers().find_map(|answer| answer.get("usage").filter(|usage| usage.is_object()));
    let tokens = |name| usage.and_then(|usage| usage.get(name)?.as_u64());
    Usage {
        output: tokens("completion_tokens"),
        total: tokens("total_tokens"),
        seconds: answers().find_map(length),
        failed: task::state(&answer).is_some_and(|state| state.is_failure()),
        ..Usage::default()
    }
}

/// Seconds of the clip: Ark's `duration`, OpenAI's `seconds`, which is text.
fn length(answer: &Value) -> Option<f64> {
    let said = answer.get("duration").or_else(|| answer.get("seconds"))?;
    let seconds = said
        .as_f64()
        .or_else(|| said.as_str()?.trim().parse().ok())?;
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}
