//! A `usage` object, whoever wrote it.

use serde_json::value::RawValue;

use super::Usage;
use crate::generation::json_members;

/// Reads `usage`. OpenAI says `prompt_tokens` and `completion_tokens`, or `input_tokens` and
/// `output_tokens`; Anthropic leaves what it read from its cache, and wrote there, out of
/// `input_tokens`; the gateway says all of them, zero where it means none.
pub(super) fn read(usage: &RawValue) -> Usage {
    let names = [
        "prompt_tokens",
        "input_tokens",
        "completion_tokens",
        "output_tokens",
        "total_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "seconds",
    ];
    let Some(found) = json_members(usage.get().as_bytes(), names) else {
        return Usage::default();
    };
    let [
        prompt,
        input,
        completion,
        output,
        total,
        written,
        cached,
        seconds,
    ] = found;
    let count = |value: Option<&RawValue>| value.and_then(whole);
    let aside = [written, cached].map(count);
    let aside = aside.into_iter().flatten().fold(0, u64::saturating_add);
    let input = count(input).map(|input| input.saturating_add(aside));
    Usage {
        input: count(prompt).max(input),
        output: count(completion).max(count(output)),
        total: count(total),
        seconds: seconds.and_then(number),
        ..Usage::default()
    }
}

/// A number of tokens.
fn whole(value: &RawValue) -> Option<u64> {
    value.get().parse().ok()
}

/// A number that is 0 or more, also one that is written as text.
pub(super) fn number(value: &RawValue) -> Option<f64> {
    let number: f64 = value.get().trim_matches('"').trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}
