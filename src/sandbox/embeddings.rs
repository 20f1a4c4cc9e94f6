//! Vectors and what is made of them: the same words always have the same numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Ask};
use super::bill::{Kind, Usage};
use super::form::{Form, number, said};
use super::{World, refusal};

/// Dimensions of a vector when none are asked for.
const DIMENSIONS: u64 = 64;
/// Numbers in one answer.
const MOST_NUMBERS: u64 = 1_000_000;

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(world: &World, ask: &Ask) -> Answer {
    let bad = |message: &str| ask.refuse(StatusCode::BAD_REQUEST, "invalid_request", message);
    let Ok(form) = Form::read(ask).await else {
        return bad("invalid request body");
    };
    let model = form.text("model").unwrap_or_default();
    let inputs = inputs(form.fields.get("input"));
    let dimensions = form
        .fields
        .get("dimensions")
        .map_or(Some(DIMENSIONS), number)
        .unwrap_or(0);
    if model.is_empty() || inputs.is_empty() {
        return bad("model and input are required");
    }
    if dimensions == 0 || (inputs.len() as u64).saturating_mul(dimensions) > MOST_NUMBERS {
        return bad("dimensions out of range");
    }
    let tokens = inputs
        .iter()
        .map(|input| input.len() as u64 / 4 + 1)
        .sum::<u64>();
    if let Some(refused) = refusal::at_once(ask, model, &inputs.join("\n")) {
        return refused;
    }
    charge(world, model, tokens);
    let as_text = form.text("encoding_format") == Some("base64");
    let size = usize::try_from(dimensions).unwrap_or(0);
    let vector = |(at, input): (usize, &String)| json!({"object": "embedding", "index": at, "embedding": vector(input, size, as_text)});
    let data: Vec<Value> = inputs.iter().enumerate().map(vector).collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Answer::json(&json!({"object": "list", "data": data, "model": model, "usage": usage}))
}

/// A vector as a list, or as the base64 of its little-endian bytes.
fn vector(input: &str, dimensions: usize, as_text: bool) -> Value {
    let numbers = numbers(input, dimensions);
    if !as_text {
        return numbers.into();
    }
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    STANDARD.encode(bytes).into()
}

/// One text, a list of texts, one list of tokens, or a list of those.
fn inputs(input: Option<&Value>) -> Vec<String> {
    match input {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => {
            vec![Value::from(items.clone()).to_string()]
        }
        Some(Value::Array(items)) => {
            let text = |item: &Value| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            };
            items.iter().map(text).collect()
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}

/// Numbers between -1 and 1 that look like an embedding, of length 1 together.
fn numbers(input: &str, dimensions: usize) -> Vec<f32> {
    let mut bytes = vec![0_u8; dimensions * 2];
    blake3::Hasher::new()
        .update(input.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    let pairs = bytes.chunks_exact(2);
    let raw: Vec<f32> = pairs
        .map(|pair| (f32::from(pair[0]) * 256.0 + f32::from(pair[1])) / 32_767.5 - 1.0)
        .collect();
    let length = raw
        .iter()
        .map(|number| number * number)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    raw.iter().map(|number| number / length).collect()
}

/// `POST /v1/rerank`.
pub(super) async fn rerank(world: &World, ask: &Ask) -> Answer {
    let bad = |message: &str| ask.refuse(StatusCode::BAD_REQUEST, "invalid_request", message);
    let Ok(form) = Form::read(ask).await else {
        return bad("invalid request body");
    };
    let model = form.text("model").unwrap_or_default();
    let query = form.text("query").unwrap_or_default();
    let documents = form
        .fields
        .get("documents")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if model.is_empty() || query.is_empty() || documents.is_empty() {
        return bad("model, query and documents are required");
    }
    if let Some(refused) = refusal::at_once(ask, model, query) {
        return refused;
    }
    let tokens =
        (query.len() + documents.iter().map(|item| said(item).len()).sum::<usize>()) as u64 / 4 + 1;
    charge(world, model, tokens);
    let scored = scored(query, &documents);
    let most = form
        .number("top_n")
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX);
    let results: Vec<Value> = scored
        .iter()
        .take(most)
        .map(|(score, at)| json!({"index": at, "relevance_score": score, "document": documents[*at]}))
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let id = format!("rerank-{}", world.ids.word(16));
    Answer::json(&json!({"id": id, "model": model, "results": results, "usage": usage}))
}

/// How well each document fits, best first, with its place in the list.
fn scored(query: &str, documents: &[Value]) -> Vec<(f32, usize)> {
    let score = |item: &Value| numbers(&format!("{query}\n{}", said(item)), 2)[0].abs();
    let mut scored: Vec<(f32, usize)> = documents
        .iter()
        .enumerate()
        .map(|(at, item)| (score(item), at))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
}

/// `POST /v1/moderations`: nothing is ever flagged, and nothing is billed.
pub(super) async fn moderations(world: &World, ask: &Ask) -> Answer {
    let bad = |message: &str| ask.refuse(StatusCode::BAD_REQUEST, "invalid_request", message);
    let Ok(form) = Form::read(ask).await else {
        return bad("invalid request body");
    };
    let count = inputs(form.fields.get("input")).len();
    if count == 0 {
        return bad("input is required");
    }
    let calm = json!({
        "flagged": false, "categories": {"violence": false}, "category_scores": {"violence": 0.001},
    });
    let model = form.text("model").unwrap_or("omni-moderation-latest");
    let id = format!("modr-{}", world.ids.word(16));
    Answer::json(&json!({"id": id, "model": model, "results": vec![calm; count]}))
}

fn charge(world: &World, model: &str, tokens: u64) {
    let usage = Usage {
        tokens_in: tokens,
        ..Usage::default()
    };
    world.till.charge(Kind::Embeddings, model, usage);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_and_follow_the_words() {
        let vector = numbers("a", 512);
        assert_eq!(vector.len(), 512);
        assert!((vector.iter().map(|number| number * number).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_eq!(vector, numbers("a", 512));
        assert_ne!(vector, numbers("b", 512));
    }

    #[test]
    fn forms_of_input() {
        for (input, expected) in [
            (json!("a"), 1),
            (json!(["a", "b"]), 2),
            (json!([1, 2, 3]), 1),
            (json!([[1], [2, 3]]), 2),
            (json!([]), 0),
            (json!({}), 0),
        ] {
            assert_eq!(inputs(Some(&input)).len(), expected, "{input}");
        }
    }
}
