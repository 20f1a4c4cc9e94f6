//! The one place where an error becomes an answer: the OpenAI envelope, a status, and a message
//! that says what to do next.

mod form;

use std::time::Duration;

use http::Response;
use http::header::{self, HeaderMap, HeaderValue};

use crate::config::UnknownOutcome;
use crate::generation::Fingerprint;
use crate::jobs::PollError;
use crate::limits::Refusal;
use crate::message::Body;
use crate::once::Failure;
use crate::store::StoreError;
use crate::upstream::SendError;
pub(crate) use form::Form;

/// Why the proxy itself answers instead of upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    BadRequest(String),
    #[error(
        "The callback_url of this request cannot be called ({0}); nothing was sent upstream. Name an \
         http or https address that this proxy may reach."
    )]
    InvalidCallback(String),
    #[error(
        "No client key, or one that this proxy does not know. Send `Authorization: Bearer KEY` with \
         a key made by `reprise keys add NAME`."
    )]
    InvalidKey,
    #[error(
        "Host `{0}` is not served here. Use localhost, or add it to `allowed_hosts` in proxy.toml."
    )]
    HostNotAllowed(String),
    #[error(
        "A web page of another origin may not use this proxy. Add its origin to `allowed_origins` \
         in proxy.toml if it should."
    )]
    OriginNotAllowed,
    #[error(
        "The figures are for this machine alone, or for who has the admin token. Send `Authorization: \
         Bearer TOKEN` with the content of `admin-token` in data_dir, or of the variable that \
         console.token_env names. (A request with a forwarding header needs it from this machine too.)"
    )]
    NoAdminToken,
    #[error(
        "The figures are for this machine alone: console.enabled is off, so there is no admin token \
         that would let anybody else in."
    )]
    MetricsNotAllowed,
    #[error("{method} {path} is not served here.{hint}")]
    NotFound {
        method: String,
        path: String,
        hint: String,
    },
    #[error("Too many wrong admin tokens arrive at once. Try again in 1 s, with the right one.")]
    TooManyGuesses,
    #[error("Method {0} is refused: a proxy for an API neither tunnels nor traces.")]
    MethodNotAllowed(String),
    #[error("Method {0} is refused: a kept file can only be read, by GET or HEAD.")]
    ReadOnly(String),
    #[error(
        "No such file is kept here. It may have made room for others; the same generation request \
         tells where its result is now."
    )]
    NoSuchFile,
    #[error(
        "The kept file is damaged or cannot be read, so nothing of it is sent. The proxy's log says \
         which file it is and why."
    )]
    FileUnreadable,
    #[error(
        "The request's body is larger than {0} bytes, and was not sent upstream. Raise \
         `cache.max_request_body` in proxy.toml if it should be."
    )]
    TooLarge(u64),
    #[error(
        "The request's address is too long. Put what is long into the body, or raise \
         `server.max_header_bytes` in proxy.toml; nothing was sent upstream."
    )]
    TargetTooLong,
    #[error(
        "The request's headers are too large or too many. Send less of them, or raise \
         `server.max_header_bytes` in proxy.toml; nothing was sent upstream."
    )]
    HeadTooLarge,
    #[error("The only expectation (`Expect`) that can be met here is 100-continue.")]
    Expectation,
    #[error(
        "This request was sent by this proxy itself: `upstream.base_url` in proxy.toml leads back \
         here. Name the real upstream there; nothing was sent on."
    )]
    Loop,
    #[error(
        "Too many large requests arrive at once for the memory there is. Nothing was sent upstream; \
         try again in {0} s."
    )]
    Busy(u64),
    #[error("The request's body did not arrive whole ({0}); nothing was sent upstream.")]
    BodyBroken(String),
    #[error(
        "The request's body stopped in the middle, and nothing more of it came for as long as \
         `upstream.idle_timeout` in proxy.toml allows; it was not sent upstream whole."
    )]
    TooSlow,
    #[error(
        "Nothing that answers this request is kept, and `only-if-cached` asks for nothing else. Send \
         it without that directive to run it."
    )]
    NotCached,
    #[error(
        "This Idempotency-Key came with another request less than 24 hours ago. Send a new key with \
         a new request; nothing was sent upstream."
    )]
    IdempotencyMismatch,
    #[error("{0}")]
    Limited(#[from] Refusal),
    #[error("No such task.")]
    TaskNotFound,
    #[error(
        "Upstream's list has a form that cannot be looked through for what is yours, so nothing of it \
         is shown."
    )]
    ListUnreadable,
    #[error("Upstream cannot be reached; nothing was sent and nothing paid: {0}")]
    Unreachable(String),
    #[error(
        "Upstream broke off after the request was sent, so a run may have been paid for ({reason}). \
         Key {key}. {advice}"
    )]
    Cut {
        key: String,
        reason: String,
        advice: &'static str,
    },
    #[error(
        "Upstream did not answer in time after the request was sent, so a run may have been paid \
         for ({reason}). Key {key}. {advice}"
    )]
    TimedOut {
        key: String,
        reason: String,
        advice: &'static str,
    },
    #[error(
        "An identical generation was sent before and its outcome is unknown ({reason}), so it is not \
         run again. Key {key}. Decide with `reprise jobs resolve {key} --rerun`, `--task ID` or \
         `--forget`, or send the request with `Cache-Control: no-cache` to run it again now."
    )]
    OutcomeUnknown { key: String, reason: String },
    #[error("The store cannot remember a run now, so none was started and nothing paid: {0}")]
    StoreUnavailable(String),
    #[error("The proxy is shutting down and begins nothing new; nothing was sent upstream.")]
    ShuttingDown,
    #[error("{0}")]
    PassedThrough(SendError),
    #[error("{0}; a run may have been paid for, and its answer is not kept.")]
    Bypassed(SendError),
    #[error("{0}")]
    Poll(#[from] PollError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::StoreUnavailable(error.to_string())
    }
}

impl Error {
    /// What a generation that brought no answer is answered with.
    pub(crate) fn of_failure(key: Fingerprint, failure: Failure, policy: UnknownOutcome) -> Self {
        let key = key.short();
        let advice = match policy {
            UnknownOutcome::Ask => {
                "Unless an older answer is kept, the same request is answered with 409 until \
                 `reprise jobs resolve` decides, or it is sent with `Cache-Control: no-cache`."
            }
            UnknownOutcome::Rerun => "The same request will run again.",
        };
        match failure {
            Failure::Unreachable(reason) => Self::Unreachable(reason),
            Failure::Cut(reason) => Self::Cut {
                key,
                reason,
                advice,
            },
            Failure::TimedOut(reason) => Self::TimedOut {
                key,
                reason,
                advice,
            },
            Failure::Abandoned => Self::Cut {
                key,
                reason: "the proxy gave it up".to_owned(),
                advice,
            },
            Failure::Store(reason) => Self::StoreUnavailable(reason),
            Failure::Unknown(intent) => {
                let reason = intent.reason.unwrap_or_else(|| {
                    format!(
                        "the proxy ended while it was under way, sent {}",
                        intent.started_at
                    )
                });
                Self::OutcomeUnknown { key, reason }
            }
        }
    }

    /// The envelope's code.
    pub(crate) fn code(&self) -> &'static str {
        self.form().code
    }

    /// Which limit was met, in the word of metrics.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Limited(refusal) => Some(refusal.limit().as_str()),
            Self::Busy(_) => Some("memory"),
            _ => None,
        }
    }

    /// The answer: envelope, status, and whether a client should try again.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = self.form().answer(&self.to_string());
        let allowed = if let Self::MethodNotAllowed(_) = self {
            Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
        } else if let Self::ReadOnly(_) = self {
            Some("GET, HEAD")
        } else {
            None
        };
        if let Some(allowed) = allowed {
            let allowed = HeaderValue::from_static(allowed);
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        let after = match self {
            Self::Busy(seconds) => Some(*seconds),
            Self::TooManyGuesses => Some(1),
            _ => None,
        };
        if let Some(after) = after.map(HeaderValue::from) {
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        if let Self::Limited(refusal) = self
            && !matches!(refusal, Refusal::Budget(_))
        {
            name_wait(refusal.retry_after(), response.headers_mut());
        }
        response
    }

    /// The answer with an id, where nobody else gives it one.
    pub(crate) fn named_response(&self) -> Response<Body> {
        let mut response = self.response();
        super::name_request(response.headers_mut());
        response
    }
}

/// In whole seconds (RFC 9110 §10.2.3), and in milliseconds, which the stock SDKs prefer.
fn name_wait(wait: Duration, headers: &mut HeaderMap) {
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let seconds = HeaderValue::from(millis.div_ceil(1000));
    headers.insert(header::RETRY_AFTER, seconds);
    headers.insert("retry-after-ms", HeaderValue::from(millis));
}
