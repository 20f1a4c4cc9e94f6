//! Speech, and what was spoken.

use hyper::StatusCode;
use serde_json::json;

use super::answer::{Answer, Ask, Payload};
use super::bill::{Kind, Usage};
use super::form::{Form, Unreadable};
use super::{World, assets, refusal};

/// Bytes in one piece of speech.
const PIECE: usize = 1024;

/// `POST /v1/audio/speech`: WAV, whatever format was asked for, in pieces and without a length.
pub(super) async fn speech(world: &World, ask: &Ask) -> Answer {
    let bad = |message: &str| ask.refuse(StatusCode::BAD_REQUEST, "invalid_request", message);
    let form = match Form::read(ask).await {
        Ok(form) => form,
        Err(Unreadable::Json | Unreadable::Multipart) => return bad("invalid request body"),
    };
    let model = form.text("model").unwrap_or_default();
    let input = form.text("input").unwrap_or_default();
    if model.is_empty() || input.is_empty() {
        return bad("model and input are required");
    }
    if let Some(refused) = refusal::at_once(ask, model, input) {
        return refused;
    }
    charge(world, model, input.len());
    let tone = assets::tone(world.ids.number());
    let pieces = tone
        .chunks(PIECE)
        .map(|piece| tone.slice_ref(piece))
        .collect();
    Answer::new(StatusCode::OK, "audio/wav", tone.clone()).carrying(Payload::Chunks(pieces))
}

/// `POST /v1/audio/transcriptions` and `/translations`: a form with a `file`.
pub(super) async fn transcript(world: &World, ask: &Ask) -> Answer {
    let bad = |message: &str| ask.refuse(StatusCode::BAD_REQUEST, "invalid_request", message);
    let Ok(form) = Form::read(ask).await else {
        return bad("invalid request body");
    };
    let model = form.text("model").unwrap_or_default();
    let Some((_, length)) = form.files.iter().find(|(name, _)| name == "file") else {
        return bad("file is required");
    };
    if model.is_empty() {
        return bad("model is required");
    }
    if let Some(refused) = refusal::at_once(ask, model, form.text("prompt").unwrap_or_default()) {
        return refused;
    }
    charge(world, model, *length);
    let text = format!("Transcript {} of {length} bytes.", world.ids.number());
    match form.text("response_format") {
        Some("text" | "srt" | "vtt") => Answer::new(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            format!("{text}\n").into(),
        ),
        Some("verbose_json") => Answer::json(&json!({
            "task": "transcribe", "language": "english", "duration": 0.5, "text": text,
            "segments": [{"id": 0, "start": 0.0, "end": 0.5, "text": text}],
        })),
        _ => Answer::json(&json!({"text": text})),
    }
}

fn charge(world: &World, model: &str, length: usize) {
    let usage = Usage {
        tokens_in: length as u64 / 4 + 1,
        ..Usage::default()
    };
    world.till.charge(Kind::Audio, model, usage);
}
