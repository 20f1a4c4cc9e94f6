//! Words in a prompt that make a request go wrong.

use hyper::StatusCode;

use super::answer::{Answer, Ask};

/// The model that nobody serves.
pub(super) const NO_SUCH_MODEL: &str = "no-such-model";

/// What is refused on every path alike, with the gateway's common error; `None` lets it go on.
pub(super) fn anywhere(ask: &Ask, model: &str, prompt: &str) -> Option<Answer> {
    if prompt.contains("[empty429]") {
        return Some(Answer::empty(StatusCode::TOO_MANY_REQUESTS));
    }
    (model == NO_SUCH_MODEL).then(|| {
        let message = format!("No available channel for model {model} under group default");
        ask.refuse(StatusCode::SERVICE_UNAVAILABLE, "model_not_found", &message)
    })
}

/// What is refused outside the task routes.
pub(super) fn at_once(ask: &Ask, model: &str, prompt: &str) -> Option<Answer> {
    let refused = if prompt.contains("[broke]") {
        ask.refuse(
            StatusCode::FORBIDDEN,
            "insufficient_user_quota",
            "user quota is not enough",
        )
    } else if prompt.contains("[refuse]") {
        let message = "Your request was rejected by the safety system";
        ask.refuse_as(
            "upstream_error",
            StatusCode::BAD_REQUEST,
            "content_policy_violation",
            message,
        )
    } else if prompt.contains("[fail]") {
        let message = "bad response status code 500";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        ask.refuse_as(
            "upstream_error",
            status,
            "bad_response_status_code",
            message,
        )
    } else {
        return anywhere(ask, model, prompt);
    };
    Some(refused)
}

/// What is refused at a submit, in the tasks' form. `[fail]` is not here: such a job fails later.
pub(super) fn at_submit(ask: &Ask, model: &str, prompt: &str) -> Option<Answer> {
    let refused = if prompt.contains("[broke]") {
        let message = "user quota is not enough";
        ask.refuse_task(StatusCode::FORBIDDEN, "insufficient_user_quota", message)
    } else if prompt.contains("[refuse]") {
        let message = r#"{"error":{"code":"InputTextSensitiveContentDetected","message":"The request failed because the input text may contain sensitive information.","param":"","type":"BadRequest"}}"#;
        ask.refuse_task(StatusCode::BAD_REQUEST, "fail_to_fetch_task", message)
    } else {
        return anywhere(ask, model, prompt);
    };
    Some(refused)
}
