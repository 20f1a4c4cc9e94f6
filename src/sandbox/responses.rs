//! OpenAI's Responses dialect.

use serde_json::{Value, json};

use super::answer::{Answer, Event};
use super::chat::Turn;

/// A turn as a response, whole or as typed events.
pub(super) fn responses(turn: &Turn) -> Answer {
    if !turn.stream {
        return Answer::json(&response(turn, "completed"));
    }
    let begun = json!({"response": response(turn, "in_progress")});
    let mut told = Telling::default();
    told.tell("response.created", begun.clone());
    told.tell("response.in_progress", begun);
    told.events.push(Event::ping());
    told.item(turn);
    let finished = json!({"response": response(turn, "completed")});
    told.tell("response.completed", finished);
    let last = told.events.pop().map(Event::last);
    told.events.extend(last);
    Answer::events(told.events)
}

/// Events that number themselves.
#[derive(Default)]
struct Telling {
    events: Vec<Event>,
    next: u64,
}

impl Telling {
    /// The one message of a turn: announced, spoken piece by piece, and repeated whole.
    fn item(&mut self, turn: &Turn) {
        let whole = message(turn);
        let mut empty = whole.clone();
        empty["status"] = "in_progress".into();
        empty["content"] = json!([]);
        let place = json!({"item_id": whole["id"], "output_index": 0, "content_index": 0});
        let at = |name: &str, body: Value| (format!("response.{name}"), body);
        let pieces = turn
            .pieces()
            .map(|piece| at("output_text.delta", json!({"delta": piece})));
        let mut steps = vec![at("content_part.added", json!({"part": part("")}))];
        steps.extend(pieces);
        steps.push(at("output_text.done", json!({"text": turn.text})));
        steps.push(at("content_part.done", json!({"part": part(&turn.text)})));
        self.tell(
            "response.output_item.added",
            json!({"output_index": 0, "item": empty}),
        );
        for (name, body) in steps {
            self.tell_at(&name, &place, body);
        }
        self.tell(
            "response.output_item.done",
            json!({"output_index": 0, "item": whole}),
        );
    }

    fn tell(&mut self, name: &str, mut body: Value) {
        body["type"] = name.into();
        body["sequence_number"] = self.next.into();
        self.next += 1;
        self.events.push(Event::typed(&body));
    }

    fn tell_at(&mut self, name: &str, place: &Value, mut body: Value) {
        for field in ["item_id", "output_index", "content_index"] {
            body[field] = place[field].clone();
        }
        self.tell(name, body);
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn message(turn: &Turn) -> Value {
    json!({
        "id": format!("msg_{}", turn.id), "type": "message", "status": "completed", "role": "assistant",
        "content": [part(&turn.text)],
    })
}

fn response(turn: &Turn, status: &str) -> Value {
    let done = status == "completed";
    let usage = json!({
        "input_tokens": turn.tokens_in, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": turn.tokens_out, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": turn.tokens_in + turn.tokens_out,
    });
    json!({
        "id": format!("resp_{}", turn.id), "object": "response", "created_at": turn.created,
        "status": status, "error": null, "incomplete_details": null, "model": turn.model,
        "output": if done { json!([message(turn)]) } else { json!([]) },
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "usage": if done { usage } else { Value::Null },
    })
}
