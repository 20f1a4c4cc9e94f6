//! How much text an event stream has brought: what is left to go by where it does not say what was used.

use serde_json::Value;

/// The members of a piece that hold what a model wrote: OpenAI's chat and completions, and what gateways
/// add for reasoning; Anthropic's messages. What a tool is called with is written by the model too.
const WRITTEN: [&str; 9] = [
    "content",
    "reasoning_content",
    "reasoning",
    "refusal",
    "text",
    "thinking",
    "arguments",
    "partial_json",
    "input",
];

/// The bytes of text that one event adds.
pub(super) fn bytes(data: &[u8]) -> u64 {
    // Events that only frame the others are not worth reading.
    let has = |word: &str| memchr::memmem::find(data, word.as_bytes()).is_some();
    if !has("\"delta\"") && !has("\"choices\"") {
        return 0;
    }
    let Ok(event) = serde_json::from_slice::<Value>(data) else {
        return 0;
    };
    // `response.output_text.delta` and its like bring the text itself.
    let direct = match &event["delta"] {
        Value::String(text) => text.len() as u64,
        delta => written(delta, false),
    };
    let choices = event["choices"].as_array().into_iter().flatten();
    let pieces =
        choices.map(|choice| written(&choice["delta"], false) + written(&choice["text"], true));
    direct + pieces.sum::<u64>()
}

/// The bytes of text in a piece. `said`: it is what such a member holds.
fn written(piece: &Value, said: bool) -> u64 {
    match piece {
        Value::String(text) if said => text.len() as u64,
        Value::Array(parts) => parts.iter().map(|part| written(part, false)).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| written(member, WRITTEN.contains(&name.as_str())))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
