//! Pictures: at once, or as events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Answer, Ask, Event};
use super::bill::{Kind, Usage};
use super::form::Form;
use super::storage::{self, Form as Object};
use super::{World, assets, refusal};

/// Pictures that one request may ask for.
const MOST: u64 = 10;
/// Tokens that one picture counts for.
const TOKENS: u64 = 1_056;

/// What is made of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Generation,
    Edit,
}

/// Answers both image paths; JSON and forms alike.
pub(super) async fn answer(world: &World, ask: &Ask, task: Task) -> Answer {
    let bad = |message: &str| ask.refuse(StatusCode::BAD_REQUEST, "invalid_request", message);
    let Ok(form) = Form::read(ask).await else {
        return bad("cannot parse the request");
    };
    // The gateway's default when there is none.
    let model = form.text("model").unwrap_or("dall-e").to_owned();
    let prompt = form.text("prompt").unwrap_or_default();
    if prompt.is_empty() {
        return bad("prompt is required");
    }
    let asked = form.number("n").unwrap_or(1);
    if !(1..=MOST).contains(&asked) {
        return bad("n must be between 1 and 10");
    }
    // A stream brings one picture.
    let count = if form.is_true("stream") { 1 } else { asked };
    if task == Task::Edit && !has_image(&form) {
        return bad("image is required");
    }
    if let Some(refused) = refusal::at_once(ask, &model, prompt) {
        return refused;
    }
    let usage = Usage {
        tokens_in: prompt.len() as u64 / 4 + 1,
        tokens_out: TOKENS * count,
        images: count,
        seconds: 0.0,
    };
    world.till.charge(Kind::Images, &model, usage);
    let run = Run {
        world,
        mark: format!("img-{}", world.ids.word(16)),
        prompt,
        usage,
    };
    if form.is_true("stream") {
        return run.events(task, form.number("partial_images").unwrap_or(1).min(3));
    }
    run.whole(count, form.text("response_format") == Some("b64_json"))
}

/// Whether there is something to edit, uploaded or named.
fn has_image(form: &Form) -> bool {
    let named = |name: &&str| form.fields.contains_key(*name);
    form.has_file("image") || ["image", "images"].iter().any(named)
}

struct Run<'a> {
    world: &'a World,
    /// Names the run inside its pictures.
    mark: String,
    prompt: &'a str,
    usage: Usage,
}

impl Run<'_> {
    fn whole(&self, count: u64, inline: bool) -> Answer {
        let picture = |at: u64| {
            let mark = format!("{}-{at}", self.mark);
            let (field, value) = if inline {
                ("b64_json", STANDARD.encode(assets::picture(&mark)))
            } else {
                (
                    "url",
                    storage::link(self.world, Object::Picture, &mark, Instant::now()),
                )
            };
            json!({field: value, "revised_prompt": self.prompt})
        };
        let data: Vec<Value> = (0..count).map(picture).collect();
        let created = self.world.clock.now().as_second();
        Answer::json(&json!({"created": created, "data": data, "usage": self.usage_json()}))
    }

    /// One picture, `partial` rougher ones before it.
    fn events(&self, task: Task, partial: u64) -> Answer {
        let family = match task {
            Task::Generation => "image_generation",
            Task::Edit => "image_edit",
        };
        let created = self.world.clock.now().as_second();
        let picture = |name: &str, mark: &str| {
            json!({
                "type": format!("{family}.{name}"), "b64_json": STANDARD.encode(assets::picture(mark)),
                "created_at": created, "size": "1024x1024", "quality": "high", "background": "opaque",
                "output_format": "png",
            })
        };
        let mut events = vec![Event::ping()];
        for at in 0..partial {
            let mut event = picture("partial_image", &format!("{}-partial-{at}", self.mark));
            event["partial_image_index"] = at.into();
            events.push(Event::typed(&event));
        }
        let mut completed = picture("completed", &format!("{}-0", self.mark));
        completed["usage"] = self.usage_json();
        events.push(Event::typed(&completed).last());
        Answer::events(events)
    }

    fn usage_json(&self) -> Value {
        let Usage {
            tokens_in,
            tokens_out,
            ..
        } = self.usage;
        json!({
            "total_tokens": tokens_in + tokens_out, "input_tokens": tokens_in, "output_tokens": tokens_out,
            "input_tokens_details": {"text_tokens": tokens_in, "image_tokens": 0},
        })
    }
}
