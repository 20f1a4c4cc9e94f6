//! What is on offer.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Ask};
use super::bill::{MODELS, Model, Price};

fn entry(model: &Model) -> Value {
    json!({
        "id": model.id, "object": "model", "created": 1_626_777_600, "owned_by": "custom",
        "supported_endpoint_types": [model.endpoint],
    })
}

/// `GET /v1/models`.
pub(super) fn list() -> Answer {
    let data: Vec<Value> = MODELS.iter().map(entry).collect();
    Answer::json(&json!({"success": true, "object": "list", "data": data}))
}

/// `GET /v1/models/{id}`: an unknown one gets an error object with status 200, as the gateway does it.
pub(super) fn one(ask: &Ask, id: &str) -> Answer {
    let known = MODELS.iter().find(|model| model.id == id);
    known.map_or_else(
        || {
            let message = format!("The model '{id}' does not exist");
            let kind = "invalid_request_error";
            ask.refuse_as(kind, StatusCode::OK, "model_not_found", &message)
        },
        |model| Answer::json(&entry(model)),
    )
}

/// `GET /api/pricing`: a ratio of 1 is two dollars for a million tokens; no key is wanted.
pub(super) fn pricing() -> Answer {
    let row = |model: &Model| {
        let (quota_type, ratio, completion, fixed) = match model.price {
            Price::Tokens(input, output) => (0, input / 2.0, output / input, 0.0),
            Price::Second(usd) | Price::Image(usd) => (1, 0.0, 0.0, usd),
        };
        json!({
            "model_name": model.id, "quota_type": quota_type, "model_ratio": ratio,
            "completion_ratio": completion, "model_price": fixed, "enable_groups": ["default"],
            "supported_endpoint_types": [model.endpoint],
        })
    };
    let data: Vec<Value> = MODELS.iter().map(row).collect();
    Answer::json(&json!({
        "success": true, "data": data, "group_ratio": {"default": 1},
        "usable_group": {"default": "default group"}, "auto_groups": ["default"],
    }))
}
