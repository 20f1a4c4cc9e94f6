//! What an error looks like to a client: its status, its words in the envelope, and whether it is final.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use super::Error;
use crate::jobs::PollError;
use crate::limits::Refusal;
use crate::message::{Body, body};
use crate::proxy::reply::CACHE_STATUS;
use crate::upstream::SendError;

const INVALID: &str = "invalid_request_error";

/// What a client is to know of an error beside its message.
pub(crate) struct Form {
    status: u16,
    kind: &'static str,
    pub(super) code: &'static str,
    /// `x-should-retry: false`: the stock SDKs repeat 409 and 5xx twice unless told not to.
    final_answer: bool,
}

impl Error {
    /// What it looks like to a client.
    pub(crate) fn form(&self) -> Form {
        let form = |status, kind, code, final_answer| Form {
            status,
            kind,
            code,
            final_answer,
        };
        match self {
            Self::BadRequest(_) => form(400, INVALID, "invalid_request", false),
            Self::InvalidCallback(_) => form(400, INVALID, "invalid_callback_url", true),
            Self::BodyBroken(_) => form(400, INVALID, "incomplete_body", false),
            Self::TooSlow => form(408, INVALID, "request_timeout", false),
            Self::InvalidKey => form(401, INVALID, "invalid_api_key", false),
            Self::HostNotAllowed(_) => form(421, INVALID, "host_not_allowed", true),
            Self::OriginNotAllowed => form(403, INVALID, "origin_not_allowed", true),
            Self::NoAdminToken => form(401, INVALID, "invalid_admin_token", false),
            Self::MetricsNotAllowed => form(403, INVALID, "metrics_not_allowed", true),
            Self::NotFound { .. } => form(404, INVALID, "not_found", false),
            Self::MethodNotAllowed(_) | Self::ReadOnly(_) => {
                form(405, INVALID, "method_not_allowed", false)
            }
            Self::NoSuchFile => form(404, INVALID, "media_not_found", false),
            Self::FileUnreadable => form(500, "api_error", "media_unreadable", true),
            Self::TooLarge(_) => form(413, INVALID, "request_too_large", true),
            Self::TargetTooLong => form(414, INVALID, "uri_too_long", true),
            Self::HeadTooLarge => form(431, INVALID, "headers_too_large", true),
            Self::Expectation => form(417, INVALID, "expectation_failed", true),
            Self::Loop => form(508, "api_error", "loop_detected", true),
            Self::Busy(_) => form(503, "api_error", "server_busy", false),
            // No SDK tries again after a 402.
            Self::Limited(Refusal::Budget(_)) => {
                form(402, "insufficient_quota", "insufficient_quota", true)
            }
            Self::Limited(_) | Self::TooManyGuesses => {
                form(429, "rate_limit_error", "rate_limit_exceeded", false)
            }
            Self::NotCached => form(504, INVALID, "not_cached", true),
            Self::TaskNotFound => form(404, INVALID, "task_not_found", true),
            Self::ListUnreadable => form(502, "api_error", "list_unreadable", true),
            Self::Unreachable(_) | Self::Poll(PollError::Body(_)) => {
                form(502, "api_error", "upstream_unreachable", false)
            }
            Self::Cut { .. } => form(502, "api_error", "upstream_outcome_unknown", true),
            Self::TimedOut { .. } => form(504, "api_error", "upstream_outcome_unknown", true),
            Self::OutcomeUnknown { .. } => form(409, "conflict_error", "outcome_unknown", true),
            Self::IdempotencyMismatch => form(409, "conflict_error", "idempotency_mismatch", true),
            Self::StoreUnavailable(_) => form(503, "api_error", "store_unavailable", false),
            Self::PassedThrough(error) | Self::Poll(PollError::Send(error)) => of_send(error),
            Self::Bypassed(error) => {
                let Form { status, .. } = of_send(error);
                form(status, "api_error", "upstream_outcome_unknown", true)
            }
            Self::ShuttingDown | Self::Poll(PollError::Gone) => {
                form(503, "api_error", "shutting_down", false)
            }
        }
    }
}

impl Form {
    /// An error that says nothing about trying again.
    pub(crate) fn new(status: u16, kind: &'static str, code: &'static str) -> Self {
        Self {
            status,
            kind,
            code,
            final_answer: false,
        }
    }

    /// The error as an answer.
    pub(crate) fn answer(&self, message: &str) -> Response<Body> {
        let Self {
            status,
            kind,
            code,
            final_answer,
        } = *self;
        let envelope = json!({
            "error": { "message": message, "type": kind, "param": null, "code": code }
        });
        let mut response = Response::new(body::full(envelope.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if final_answer {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Ok(status) = HeaderValue::try_from(format!("reprise; detail={code}")) {
            headers.insert(CACHE_STATUS, status);
        }
        response
    }
}

fn of_send(error: &SendError) -> Form {
    let (status, kind, code) = match error {
        SendError::Unreachable(_) => (502, "api_error", "upstream_unreachable"),
        SendError::Cut(_) => (502, "api_error", "upstream_broke_off"),
        SendError::TimedOut(_) | SendError::Stalled(_) => (504, "api_error", "upstream_timeout"),
        SendError::Client(_) => (400, INVALID, "incomplete_body"),
    };
    Form {
        status,
        kind,
        code,
        final_answer: false,
    }
}
