//! Anthropic's Messages dialect.

use serde_json::{Value, json};

use super::answer::{Answer, Event};
use super::chat::Turn;

/// A turn as a message, whole or as typed events.
pub(super) fn messages(turn: &Turn) -> Answer {
    if !turn.stream {
        let content = json!([{"type": "text", "text": turn.text}]);
        return Answer::json(&message(turn, &content, Some("end_turn"), turn.tokens_out));
    }
    let start = message(turn, &json!([]), None, 1);
    let block = json!({"type": "text", "text": ""});
    let mut events = vec![
        Event::typed(&json!({"type": "message_start", "message": start})),
        Event::typed(&json!({"type": "content_block_start", "index": 0, "content_block": block})),
        Event::typed(&json!({"type": "ping"})),
        Event::ping(),
    ];
    events.extend(turn.pieces().map(|piece| {
        let delta = json!({"type": "text_delta", "text": piece});
        Event::typed(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
    }));
    let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
    let usage = json!({"output_tokens": turn.tokens_out});
    events.push(Event::typed(
        &json!({"type": "content_block_stop", "index": 0}),
    ));
    events.push(Event::typed(
        &json!({"type": "message_delta", "delta": delta, "usage": usage}),
    ));
    events.push(Event::typed(&json!({"type": "message_stop"})).last());
    Answer::events(events)
}

fn message(turn: &Turn, content: &Value, stop_reason: Option<&str>, tokens_out: u64) -> Value {
    json!({
        "id": format!("msg_{}", turn.id), "type": "message", "role": "assistant", "model": turn.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": turn.tokens_in, "output_tokens": tokens_out},
    })
}
