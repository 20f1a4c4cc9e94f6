//! What the sandbox says: plain answers, event streams, and the gateway's three forms of error.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// A response body; an error in it cuts the answer off.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A request whose body has been read to its end.
pub(super) struct Ask {
    pub(super) method: Method,
    /// Undecoded, as it came.
    pub(super) path: String,
    /// Undecoded, without the `?`; empty when there is none.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What came after the body.
    pub(super) trailers: HeaderMap,
    /// What `X-Oneapi-Request-Id` will say.
    pub(super) request_id: String,
}

/// An answer before gates and faults have had their way with it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
}

/// What follows the head.
pub(super) enum Payload {
    /// With a `Content-Length`.
    Whole(Bytes),
    /// Without one, piece by piece.
    Chunks(Vec<Bytes>),
    /// An event stream.
    Events(Vec<Event>),
    /// Made while it is sent.
    Live(Body),
}

/// One event of a stream, in its wire form.
pub(super) struct Event {
    pub(super) text: String,
    pub(super) role: Role,
}

/// What an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A comment line, which readers skip.
    Comment,
    /// A piece of the result.
    Part,
    /// What tells a reader that nothing is missing.
    End,
}

impl Event {
    /// `data: …` alone, as chat completions send it.
    pub(super) fn data(value: &Value) -> Self {
        Self {
            text: format!("data: {value}\n\n"),
            role: Role::Part,
        }
    }

    /// `event: …` and `data: …`; the event's name is its own `type`.
    pub(super) fn typed(value: &Value) -> Self {
        let name = value["type"].as_str().unwrap_or("message");
        Self {
            text: format!("event: {name}\ndata: {value}\n\n"),
            role: Role::Part,
        }
    }

    /// `: PING`, which the gateway sends while it waits for its own upstream.
    pub(super) fn ping() -> Self {
        Self {
            text: ": PING\n\n".into(),
            role: Role::Comment,
        }
    }

    /// `data: [DONE]`.
    pub(super) fn done() -> Self {
        Self {
            text: "data: [DONE]\n\n".into(),
            role: Role::End,
        }
    }

    /// The same event as the end marker of its stream.
    pub(super) fn last(self) -> Self {
        Self {
            role: Role::End,
            ..self
        }
    }
}

impl Answer {
    /// `status` with a body of `content_type`.
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self {
            status,
            headers,
            payload: Payload::Whole(body),
        }
    }

    /// 200 with a JSON body.
    pub(super) fn json(body: &Value) -> Self {
        Self::json_with(StatusCode::OK, body)
    }

    /// `status` with a JSON body.
    pub(super) fn json_with(status: StatusCode, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string().into())
    }

    /// A status alone; as 429 it is what the gateway's address limiter sends.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            payload: Payload::Whole(Bytes::new()),
        }
    }

    /// 200 with an event stream, headed as the gateway heads them.
    pub(super) fn events(events: Vec<Event>) -> Self {
        Self::new(StatusCode::OK, "text/event-stream", Bytes::new())
            .header(CACHE_CONTROL, "no-cache")
            .header(HeaderName::from_static("x-accel-buffering"), "no")
            .carrying(Payload::Events(events))
    }

    /// The same with one more header; a value that cannot stand in a header is left out.
    pub(super) fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same with another payload.
    pub(super) fn carrying(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

impl Ask {
    /// The method and the path, by which gates, faults and tests name a request.
    pub(super) fn route(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A header's text; `None` when it is missing or no text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The gateway's common error (authentication, routing, everything but tasks).
    pub(super) fn refuse(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        self.refuse_as("new_api_error", status, code, message)
    }

    /// The common error with a `type` of its own.
    pub(super) fn refuse_as(
        &self,
        kind: &str,
        status: StatusCode,
        code: &str,
        message: &str,
    ) -> Answer {
        let message = format!("{message} (request id: {})", self.request_id);
        let error = json!({"message": message, "type": kind, "param": "", "code": code});
        Answer::json_with(status, &json!({"error": error}))
    }

    /// The error of the task routes; its status stands in the head alone.
    pub(super) fn refuse_task(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        let message = format!("{message} (request id: {})", self.request_id);
        Answer::json_with(
            status,
            &json!({"code": code, "message": message, "data": null}),
        )
    }

    /// 404 for a path that the gateway does not have.
    pub(super) fn invalid_url(&self) -> Answer {
        let message = format!("Invalid URL ({})", self.route());
        self.refuse_as("invalid_request_error", StatusCode::NOT_FOUND, "", &message)
    }

    /// 501 for a path that the gateway has only in its table.
    pub(super) fn not_implemented(&self) -> Answer {
        let status = StatusCode::NOT_IMPLEMENTED;
        self.refuse(status, "api_not_implemented", "API not implemented")
    }
}
