//! Submitting a video job.

use hyper::StatusCode;
use hyper::header::HeaderName;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Ask};
use super::bill::{Charge, Kind, Usage, price};
use super::form::{Form, Unreadable, number};
use super::jobs::Order;
use super::options::SubmitShape;
use super::{World, refusal};

/// Pictures in a second.
const FPS: u32 = 24;

/// Fields of a form that stay at its top; all others belong to `metadata`.
const TOP: [&str; 13] = [
    "model",
    "prompt",
    "image",
    "image[]",
    "images",
    "images[]",
    "size",
    "seconds",
    "duration",
    "mode",
    "input_reference",
    "metadata",
    "video",
];

/// Where a job comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    /// A prompt.
    Prompt,
    /// An earlier job, whose model it uses.
    Remix(&'a str),
    /// A clip that is edited or extended.
    Clip,
}

/// Accepts a job, or says why not. The same request twice is two jobs.
pub(super) async fn submit(world: &World, ask: &Ask, origin: Origin<'_>) -> Answer {
    match order(world, ask, origin).await {
        Err(refused) => refused,
        Ok(order) => {
            let charge = Charge {
                model: order.model.clone(),
                task: Some(order.id.clone()),
                usd: order.usd,
            };
            world.till.take(Kind::Video, charge);
            let now = world.clock.now();
            let answer = accepted(world.options.submit_shape, &order, now.as_second());
            world.jobs.add(order, now);
            answer.header(
                HeaderName::from_static("x-new-api-other-ratios"),
                r#"{"video_input":1}"#,
            )
        }
    }
}

fn accepted(shape: SubmitShape, order: &Order, created_at: i64) -> Answer {
    let body = match shape {
        SubmitShape::Docs => json!({"task_id": order.id, "status": "submitted"}),
        SubmitShape::Bare => json!({"task_id": order.id}),
        SubmitShape::OpenAi => {
            let mut video = json!({
                "id": order.id, "task_id": order.id, "object": "video", "model": order.model,
                "status": "queued", "progress": 0, "created_at": created_at,
            });
            if let Some(from) = &order.remixed_from {
                video["remixed_from_video_id"] = from.as_str().into();
            }
            video
        }
    };
    Answer::json(&body)
}

/// Reads and checks a submit.
async fn order(world: &World, ask: &Ask, origin: Origin<'_>) -> Result<Order, Answer> {
    let bad = |(code, message): Refusal| ask.refuse_task(StatusCode::BAD_REQUEST, code, message);
    let form = Form::read(ask)
        .await
        .map_err(|unreadable| match unreadable {
            Unreadable::Json => bad(("invalid_json", "request body is not a JSON object")),
            Unreadable::Multipart => bad(("invalid_multipart_form", "cannot parse multipart form")),
        })?;
    let model = model(world, &form, origin).map_err(bad)?;
    let prompt = form.text("prompt").unwrap_or_default();
    if prompt.trim().is_empty() {
        return Err(bad(("invalid_request", "prompt is required")));
    }
    if let Some(refused) = refusal::at_submit(ask, &model, prompt) {
        return Err(refused);
    }
    let Some(metadata) = metadata(&form) else {
        return Err(bad(("invalid_request", "metadata is not an object")));
    };
    let mut order = accept(world, &form, model, metadata);
    order.fails = prompt.contains("[fail]");
    if let Origin::Remix(id) = origin {
        order.remixed_from = Some(id.to_owned());
    }
    Ok(order)
}

/// Names and measures a job.
fn accept(world: &World, form: &Form, model: String, metadata: Map<String, Value>) -> Order {
    let frames = frames(form, &metadata);
    let (width, height) = frame(form, &metadata, &model);
    let tokens = width * height * u64::from(frames) / 1024;
    let length = f64::from(frames) / f64::from(FPS);
    let seconds = frames.div_ceil(FPS);
    let usage = Usage {
        tokens_out: tokens,
        seconds: length,
        ..Usage::default()
    };
    let today = world.clock.now().strftime("%Y%m%d%H%M%S");
    Order {
        id: format!("task_{}", world.ids.word(32)),
        row: world.ids.number(),
        ark_id: format!("cgt-{today}-{}", world.ids.word(5)),
        usd: price(&model, usage),
        size: format!("{width}x{height}"),
        remixed_from: None,
        fails: false,
        model,
        seconds,
        metadata,
        tokens,
    }
}

/// The code and the message of a refusal.
type Refusal = (&'static str, &'static str);

/// The model, which a remix takes from its original.
fn model(world: &World, form: &Form, origin: Origin<'_>) -> Result<String, Refusal> {
    if let Origin::Remix(id) = origin {
        let original = world.jobs.look(id).map(|look| look.order.model);
        return original.ok_or(("task_not_exist", "task_not_exist"));
    }
    match (form.fields.get("model"), origin) {
        (Some(Value::String(model)), _) if !model.trim().is_empty() => Ok(model.clone()),
        (None, Origin::Clip) => Ok("sora-2".to_owned()),
        (None | Some(Value::String(_)), _) => Err(("missing_model", "model is required")),
        (Some(_), _) => Err(("invalid_request", "model must be a string")),
    }
}

/// The metadata: an object, or one written as text, and the other fields of a form.
fn metadata(form: &Form) -> Option<Map<String, Value>> {
    let mut metadata = match form.fields.get("metadata") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(metadata)) => metadata.clone(),
        Some(Value::String(text)) if text.trim().is_empty() => Map::new(),
        Some(Value::String(text)) => serde_json::from_str(text).ok()?,
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_)) => return None,
    };
    if form.multipart {
        for (name, value) in form
            .fields
            .iter()
            .filter(|(name, _)| !TOP.contains(&name.as_str()))
        {
            let as_number = number(value).map(Value::from);
            metadata.insert(name.clone(), as_number.unwrap_or_else(|| value.clone()));
        }
    }
    Some(metadata)
}

/// The length: `duration` before `seconds` before `metadata.duration`, else 5; at most a minute.
fn seconds(form: &Form, metadata: &Map<String, Value>) -> u32 {
    let inner = || metadata.get("duration").and_then(number);
    let asked = form
        .number("duration")
        .or_else(|| form.number("seconds"))
        .or_else(inner);
    u32::try_from(asked.unwrap_or(5).clamp(1, 60)).unwrap_or(60)
}

/// Pictures in a clip: `metadata.frames` before the length.
fn frames(form: &Form, metadata: &Map<String, Value>) -> u32 {
    let asked = metadata.get("frames").and_then(number);
    let asked = asked.and_then(|frames| u32::try_from(frames).ok());
    let most = 60 * FPS;
    asked.map_or_else(
        || seconds(form, metadata) * FPS,
        |frames| frames.clamp(1, most),
    )
}

/// Width and height in pixels: the resolution (in `metadata`, else in the model's name) with the ratio,
/// else `size`.
fn frame(form: &Form, metadata: &Map<String, Value>, model: &str) -> (u64, u64) {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    let asked = text("resolution").and_then(lines);
    let lines = asked.or_else(|| lines(model.rsplit('-').next().unwrap_or_default()));
    let size = form.text("size").and_then(|size| sides(size, 'x', 8192));
    match (lines, size) {
        (None, Some(size)) => size,
        (lines, _) => {
            let (wide, high) = text("ratio")
                .and_then(|ratio| sides(ratio, ':', 100))
                .unwrap_or((16, 9));
            let (long, short) = landscape(lines.unwrap_or(720), wide.max(high), wide.min(high));
            if wide >= high {
                (long, short)
            } else {
                (short, long)
            }
        }
    }
}

/// The lines of a landscape picture: `720p`, `4k`.
fn lines(resolution: &str) -> Option<u64> {
    match resolution {
        "480p" => Some(480),
        "720p" => Some(720),
        "768p" => Some(768),
        "1080p" => Some(1080),
        "2k" => Some(1440),
        "4k" => Some(2160),
        _ => None,
    }
}

/// Two numbers from 1 to `most`.
fn sides(text: &str, by: char, most: u64) -> Option<(u64, u64)> {
    let (a, b) = text.split_once(by)?;
    let (a, b) = (a.parse().ok()?, b.parse().ok()?);
    let sane = |side: &u64| (1..=most).contains(side);
    (sane(&a) && sane(&b)).then_some((a, b))
}

/// The long and the short side that the models really make.
fn landscape(lines: u64, wide: u64, high: u64) -> (u64, u64) {
    match (wide, high) {
        (16, 9) if lines == 480 => (864, 496),
        (16, 9) => (lines * 16 / 9, lines),
        (4, 3) if lines == 480 => (752, 560),
        (4, 3) if lines == 720 => (1112, 834),
        (4, 3) if lines == 1080 => (1664, 1248),
        (1, 1) => (lines * 4 / 3, lines * 4 / 3),
        (21, 9) if lines == 480 => (992, 432),
        (21, 9) if lines == 720 => (1470, 630),
        (21, 9) if lines == 1080 => (2206, 946),
        _ => {
            let area = lines * lines * 16 / 9;
            ((area * wide / high).isqrt(), (area * high / wide).isqrt())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: Value) -> Form {
        let Value::Object(fields) = fields else {
            panic!("an object")
        };
        Form {
            fields,
            ..Form::default()
        }
    }

    #[test]
    fn lengths() {
        for (name, fields, expected) in [
            ("none", json!({}), 5),
            ("text", json!({"seconds": "8"}), 8),
            ("number", json!({"seconds": 8}), 8),
            ("duration first", json!({"seconds": 8, "duration": "3"}), 3),
            ("inner", json!({"metadata": {"duration": 7}}), 7),
            ("nonsense", json!({"seconds": "soon"}), 5),
            ("far too long", json!({"seconds": u64::MAX}), 60),
        ] {
            let form = form(fields);
            assert_eq!(
                seconds(&form, &metadata(&form).unwrap()),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn frames() {
        for (name, model, fields, expected) in [
            ("by model", "seedance-2-0-1080p", json!({}), (1920, 1080)),
            ("by default", "m", json!({}), (1280, 720)),
            (
                "by metadata",
                "m-1080p",
                json!({"metadata": {"resolution": "480p", "ratio": "1:1"}}),
                (640, 640),
            ),
            (
                "upright",
                "m",
                json!({"metadata": r#"{"ratio":"9:16"}"#}),
                (720, 1280),
            ),
            ("by size", "m", json!({"size": "720x1280"}), (720, 1280)),
            (
                "of area",
                "m-4k",
                json!({"size": "720x1280", "metadata": {"ratio": "3:4"}}),
                (2494, 3325),
            ),
            (
                "absurd",
                "m",
                json!({"size": "99999999999x2", "metadata": {"ratio": "0:0"}}),
                (1280, 720),
            ),
        ] {
            let form = form(fields);
            assert_eq!(
                frame(&form, &metadata(&form).unwrap(), model),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_form_s_other_fields_are_metadata() {
        let mut form =
            form(json!({"prompt": "p", "seed": "7", "style": "ink", "metadata": "{\"a\":1}"}));
        form.multipart = true;
        assert_eq!(
            Value::Object(metadata(&form).unwrap()),
            json!({"a": 1, "seed": 7, "style": "ink"})
        );
        form.fields.insert("metadata".into(), "[1]".into());
        assert!(metadata(&form).is_none());
    }
}
