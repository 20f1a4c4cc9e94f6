//! Text: one turn of a conversation, and OpenAI's two older dialects for it.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Event};
use super::bill::{Kind, Usage};
use super::form::{Form, is_true, said};
use super::{World, refusal};

/// What a model said, before it is put into a dialect.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// 24 letters and digits that no other run has.
    pub(super) id: String,
    pub(super) model: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    /// Starts with the number of the run, so that no two runs say the same.
    pub(super) text: String,
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
    /// Whether events are wanted.
    pub(super) stream: bool,
    /// Whether a stream of chat completions, or of text completions, ends with a chunk of usage.
    pub(super) include_usage: bool,
}

impl Turn {
    /// The text in the pieces in which a stream brings it.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }
}

/// Runs one turn: reads the conversation from the field that the dialect keeps it in.
pub(super) async fn turn(world: &World, ask: &Ask, field: &str) -> Result<Turn, Answer> {
    let bad = |code: &str, message: &str| ask.refuse(StatusCode::BAD_REQUEST, code, message);
    let Ok(form) = Form::read(ask).await else {
        return Err(bad("invalid_request", "invalid request body"));
    };
    let model = form.text("model").unwrap_or_default();
    if model.is_empty() {
        return Err(bad("missing_model", "model is required"));
    }
    let prompt = form.fields.get(field).map(said).unwrap_or_default();
    if prompt.is_empty() {
        let message = format!("field {field} is required");
        return Err(bad("invalid_request", &message));
    }
    match refusal::at_once(ask, model, &prompt) {
        Some(refused) => Err(refused),
        None => Ok(run(world, &form, model, &prompt)),
    }
}

/// Bills a turn and makes up what the model says.
fn run(world: &World, form: &Form, model: &str, prompt: &str) -> Turn {
    let asked: String = prompt.chars().take(80).collect();
    let number = world.ids.number();
    let text = format!("This is run {number} of {model}. You said: {asked}");
    let usage = Usage {
        tokens_in: prompt.len() as u64 / 4 + 1,
        tokens_out: text.split_inclusive(' ').count() as u64,
        ..Usage::default()
    };
    world.till.charge(Kind::Chat, model, usage);
    let options = form.fields.get("stream_options");
    Turn {
        id: world.ids.word(24),
        created: world.clock.now().as_second(),
        stream: form.is_true("stream"),
        include_usage: options.is_some_and(|options| is_true(&options["include_usage"])),
        model: model.to_owned(),
        text,
        tokens_in: usage.tokens_in,
        tokens_out: usage.tokens_out,
    }
}

/// OpenAI's chat completions.
pub(super) fn chat(turn: &Turn) -> Answer {
    let head = |object: &str, choices: Value| {
        json!({
            "id": format!("chatcmpl-{}", turn.id), "object": object, "created": turn.created,
            "model": turn.model, "choices": choices,
        })
    };
    if !turn.stream {
        let message = json!({"role": "assistant", "content": turn.text});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        return Answer::json(&with_usage(head("chat.completion", json!([choice])), turn));
    }
    let chunk = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        Event::data(&head("chat.completion.chunk", json!([choice])))
    };
    let mut events = vec![
        chunk(json!({"role": "assistant", "content": ""}), None),
        Event::ping(),
    ];
    events.extend(
        turn.pieces()
            .map(|piece| chunk(json!({"content": piece}), None)),
    );
    events.push(chunk(json!({}), Some("stop")));
    if turn.include_usage {
        events.push(Event::data(&with_usage(
            head("chat.completion.chunk", json!([])),
            turn,
        )));
    }
    events.push(Event::done());
    Answer::events(events)
}

/// OpenAI's first text completions.
pub(super) fn completion(turn: &Turn) -> Answer {
    let body = |text: &str, finish: Option<&str>| {
        json!({
            "id": format!("cmpl-{}", turn.id), "object": "text_completion", "created": turn.created,
            "model": turn.model,
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}],
        })
    };
    if !turn.stream {
        return Answer::json(&with_usage(body(&turn.text, Some("stop")), turn));
    }
    let mut events: Vec<Event> = turn
        .pieces()
        .map(|piece| Event::data(&body(piece, None)))
        .collect();
    events.insert(1.min(events.len()), Event::ping());
    events.push(Event::data(&body("", Some("stop"))));
    if turn.include_usage {
        let mut last = body("", None);
        last["choices"] = json!([]);
        events.push(Event::data(&with_usage(last, turn)));
    }
    events.push(Event::done());
    Answer::events(events)
}

fn with_usage(mut body: Value, turn: &Turn) -> Value {
    body["usage"] = json!({
        "prompt_tokens": turn.tokens_in, "completion_tokens": turn.tokens_out,
        "total_tokens": turn.tokens_in + turn.tokens_out,
    });
    body
}
