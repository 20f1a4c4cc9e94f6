//! How a video job looks to those who ask: three shapes of the same thing, traps included.

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::World;
use super::answer::{Answer, Ask};
use super::bill::{MODELS, Price};
use super::form::{is_true, number};
use super::jobs::{Look, Order, Phase};
use super::options::PollShape;
use super::storage::{self, Form};

const FAILURE_CODE: &str = "OutputVideoSensitiveContentDetected";
const FAILURE: &str =
    "The request failed because the output video may contain sensitive information.";

/// `GET /v1/video/generations/{id}`.
pub(super) fn generation(world: &World, ask: &Ask, id: &str) -> Answer {
    match (world.jobs.look(id), world.options.poll_shape) {
        (None, _) => unknown(ask),
        (Some(look), PollShape::Captured) => Answer::json(&captured(world, &look)),
        (Some(look), PollShape::Docs) => Answer::json(&documented(world, &look)),
    }
}

/// `GET /v1/videos/{id}`.
pub(super) fn video(world: &World, ask: &Ask, id: &str) -> Answer {
    world
        .jobs
        .look(id)
        .map_or_else(|| unknown(ask), |look| Answer::json(&openai(world, &look)))
}

/// `GET /v1/videos/{id}/content`.
pub(super) fn content(world: &World, ask: &Ask, id: &str) -> Answer {
    let kind = "invalid_request_error";
    match world.jobs.look(id) {
        None => ask.refuse_as(kind, StatusCode::NOT_FOUND, "", "Task not found"),
        Some(Look {
            phase: Phase::Succeeded,
            ended: Some((_, born)),
            order,
            ..
        }) => storage::content(world, ask, &order.id, born),
        Some(look) => {
            let status = gateway_word(look.phase);
            let message = format!("Task is not completed yet, current status: {status}");
            ask.refuse_as(kind, StatusCode::BAD_REQUEST, "", &message)
        }
    }
}

// The task routes know no 404: an unknown task is a bad request.
fn unknown(ask: &Ask) -> Answer {
    ask.refuse_task(StatusCode::BAD_REQUEST, "task_not_exist", "task_not_exist")
}

fn gateway_word(phase: Phase) -> &'static str {
    match phase {
        Phase::NotStarted => "NOT_START",
        Phase::Submitted => "SUBMITTED",
        Phase::Queued => "QUEUED",
        Phase::Running => "IN_PROGRESS",
        Phase::Succeeded => "SUCCESS",
        Phase::Failed => "FAILURE",
    }
}

/// The link to the clip; the text of the failure for a failed job, nothing before the end.
fn result_url(world: &World, look: &Look) -> String {
    match look.phase {
        Phase::NotStarted | Phase::Submitted | Phase::Queued | Phase::Running => String::new(),
        Phase::Failed => FAILURE.to_owned(),
        Phase::Succeeded => look.ended.map_or_else(String::new, |(_, born)| {
            storage::link(world, Form::Clip, &look.order.id, born)
        }),
    }
}

fn captured(world: &World, look: &Look) -> Value {
    let order = &look.order;
    let created = look.created_at.as_second();
    let ended = look.ended.map(|(at, _)| at.as_second());
    let started = if look.progress >= 20 { created } else { 0 };
    let failed = look.phase == Phase::Failed;
    json!({"code": "success", "message": "", "data": {
        "id": order.row, "created_at": created, "updated_at": ended.unwrap_or(created),
        "task_id": order.id, "platform": "54", "user_id": 1, "group": "default", "channel_id": 1,
        "quota": quota(order), "action": "generate", "status": gateway_word(look.phase),
        "fail_reason": if failed { FAILURE } else { "" }, "result_url": result_url(world, look),
        "submit_time": created, "start_time": started, "finish_time": ended.unwrap_or(0),
        "progress": format!("{}%", look.progress),
        "properties": {"input": "", "upstream_model_name": ark_model(order), "origin_model_name": order.model},
        "data": ark(world, look),
    }})
}

/// The units of the hold, 500,000 to the dollar: the price of half a million tokens, whatever the clip's
/// length, as the live service shows it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn quota(order: &Order) -> u64 {
    let usd = match MODELS
        .iter()
        .find(|model| model.id == order.model)
        .map(|model| model.price)
    {
        Some(Price::Tokens(input, _)) => input / 4.0,
        Some(Price::Second(_) | Price::Image(_)) | None => order.usd,
    };
    (usd * 500_000.0) as u64
}

fn ark_model(order: &Order) -> String {
    order.model.replace("doubao-", "dreamina-")
}

/// The gateway's own upstream task, with an id and a status of its own; null until it has one.
fn ark(world: &World, look: &Look) -> Value {
    let order = &look.order;
    let status = match look.phase {
        Phase::NotStarted => return Value::Null,
        // The bare answer to the gateway's submit.
        Phase::Submitted => return json!({"id": order.ark_id}),
        Phase::Queued => "queued",
        Phase::Running => "running",
        Phase::Succeeded => "succeeded",
        Phase::Failed => "failed",
    };
    let created = look.created_at.as_second();
    let mut task = json!({
        "id": order.ark_id, "model": ark_model(order), "status": status, "created_at": created,
        "updated_at": look.ended.map_or(created, |(at, _)| at.as_second()),
        "service_tier": "default", "execution_expires_after": 172_800,
    });
    match (look.phase, look.ended) {
        (Phase::Succeeded, Some((_, born))) => add_result(&mut task, world, order, born),
        (Phase::Failed, _) => task["error"] = json!({"code": FAILURE_CODE, "message": FAILURE}),
        (
            Phase::NotStarted
            | Phase::Submitted
            | Phase::Queued
            | Phase::Running
            | Phase::Succeeded,
            _,
        ) => {}
    }
    task
}

/// What only a finished upstream task says; whatever the submit asked for is repeated.
fn add_result(task: &mut Value, world: &World, order: &Order, born: Instant) {
    let asked = |name: &str, default: Value| order.metadata.get(name).cloned().unwrap_or(default);
    let tokens = order.tokens;
    task["content"] = json!({"video_url": storage::link(world, Form::Clip, &order.id, born)});
    if is_true(&asked("return_last_frame", false.into())) {
        let link = storage::link(world, Form::Picture, &order.id, born);
        task["content"]["last_frame_url"] = link.into();
    }
    task["usage"] = json!({"completion_tokens": tokens, "total_tokens": tokens});
    task["seed"] = asked("seed", (order.row * 7919 % 100_000).into());
    task["resolution"] = asked("resolution", "720p".into());
    task["ratio"] = asked("ratio", "16:9".into());
    match order.metadata.get("frames").and_then(number) {
        Some(frames) => task["frames"] = frames.into(),
        None => task["duration"] = order.seconds.into(),
    }
    task["framespersecond"] = 24.into();
    task["generate_audio"] = asked("generate_audio", true.into());
    task["draft"] = asked("draft", false.into());
    task["priority"] = 0.into();
}

fn documented(world: &World, look: &Look) -> Value {
    let order = &look.order;
    let status = match look.phase {
        Phase::NotStarted | Phase::Submitted | Phase::Queued => "submitted",
        Phase::Running => "running",
        Phase::Succeeded => "succeeded",
        Phase::Failed => "failed",
    };
    let mut task = json!({"task_id": order.id, "status": status});
    match look.phase {
        Phase::NotStarted | Phase::Submitted | Phase::Queued | Phase::Running => {}
        Phase::Failed => task["error"] = json!({"code": FAILURE_CODE, "message": FAILURE}),
        Phase::Succeeded => {
            task["url"] = result_url(world, look).into();
            task["format"] = "mp4".into();
            task["metadata"] = Value::Object(order.metadata.clone());
        }
    }
    task
}

fn openai(world: &World, look: &Look) -> Value {
    let order = &look.order;
    let status = match look.phase {
        Phase::NotStarted | Phase::Submitted | Phase::Queued => "queued",
        Phase::Running => "in_progress",
        Phase::Succeeded => "completed",
        Phase::Failed => "failed",
    };
    let mut video = json!({
        "id": order.id, "task_id": order.id, "object": "video", "model": order.model, "status": status,
        "progress": look.progress, "created_at": look.created_at.as_second(),
        "seconds": order.seconds.to_string(), "size": order.size,
    });
    if let Some(from) = &order.remixed_from {
        video["remixed_from_video_id"] = from.as_str().into();
    }
    if let Some((at, _)) = look.ended {
        video["completed_at"] = at.as_second().into();
    }
    match look.phase {
        Phase::NotStarted | Phase::Submitted | Phase::Queued | Phase::Running => {}
        Phase::Succeeded => video["metadata"] = json!({"url": result_url(world, look)}),
        Phase::Failed => {
            video["error"] = json!({"code": FAILURE_CODE, "message": FAILURE});
            video["metadata"] = json!({"url": ""});
        }
    }
    video
}
