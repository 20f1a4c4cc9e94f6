//! Why the admin API does not do what it was asked to, as an answer.

use http::Response;
use http::request::Parts;

use super::cache::Denied;
use super::pick::NotOne;
use crate::ledger::LedgerError;
use crate::message::Body;
use crate::once::Unresolved;
use crate::proxy::{self, Form};
use crate::store::StoreError;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Said by the guard that stands before everything.
    #[error(transparent)]
    Guard(proxy::Error),
    #[error(
        "No admin token, or not the one of this proxy. Send `Authorization: Bearer TOKEN` with the \
         content of `admin-token` in data_dir, or of the variable that console.token_env names."
    )]
    NoToken,
    #[error(
        "A session counts only for the console's own page. Elsewhere, send `Authorization: Bearer TOKEN`."
    )]
    NotOurPage,
    #[error("The system gives no random numbers, so no session can begin.")]
    NoRandom,
    #[error(
        "{0} is not served here; the admin API is GET /api/jobs, GET /api/jobs/ID, POST /api/jobs/KEY/resolve, \
         GET /api/stats, GET /api/cache, GET and DELETE /api/cache/KEY, GET /api/cache/KEY/body, POST /api/cache/purge, \
         POST /api/cache/verify, GET /api/cache/export and POST /api/cache/import."
    )]
    NotFound(String),
    #[error("{0} is not what this path takes.")]
    Method(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("The request's body is larger than {0} bytes.")]
    TooLarge(usize),
    #[error(transparent)]
    NotOne(#[from] NotOne),
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(
        "As many long calls of the admin API are under way as may be at once. Try again when one \
         has ended."
    )]
    Busy,
    #[error("The store cannot say: {0}")]
    Store(#[from] StoreError),
    #[error("The ledger cannot say: {0}")]
    Ledger(#[from] LedgerError),
}

impl Refusal {
    pub(super) fn not_found(parts: &Parts) -> Self {
        Self::NotFound(parts.uri.path().chars().take(200).collect())
    }

    fn form(&self) -> Form {
        const INVALID: &str = "invalid_request_error";
        const CONFLICT: &str = "conflict_error";
        match self {
            Self::Guard(error) => error.form(),
            Self::NoToken => Form::new(401, INVALID, "invalid_admin_token"),
            Self::NotOurPage => Form::new(403, INVALID, "origin_not_allowed"),
            Self::NoRandom => Form::new(500, "api_error", "no_session"),
            Self::NotFound(_) => Form::new(404, INVALID, "not_found"),
            Self::Method(_) => Form::new(405, INVALID, "method_not_allowed"),
            Self::BadRequest(_) => Form::new(400, INVALID, "invalid_request"),
            Self::TooLarge(_) => Form::new(413, INVALID, "request_too_large"),
            Self::NotOne(NotOne::None(_)) => Form::new(404, INVALID, "job_not_found"),
            Self::NotOne(NotOne::Several { .. }) => Form::new(409, CONFLICT, "ambiguous_key"),
            Self::Unresolved(Unresolved::NotUnknown(_)) => Form::new(409, CONFLICT, "not_unknown"),
            Self::Unresolved(Unresolved::UnderWay(_)) => Form::new(409, CONFLICT, "under_way"),
            Self::Unresolved(Unresolved::NotAJob { .. }) => Form::new(409, CONFLICT, "not_a_job"),
            Self::Unresolved(Unresolved::Kept(_)) => Form::new(409, CONFLICT, "already_kept"),
            Self::Unresolved(Unresolved::Taken { .. }) => Form::new(409, CONFLICT, "task_taken"),
            Self::Denied(denied) => of_denied(denied),
            Self::Busy => Form::new(503, "api_error", "server_busy"),
            Self::Unresolved(Unresolved::Store(_)) | Self::Store(_) | Self::Ledger(_) => {
                Form::new(503, "api_error", "store_unavailable")
            }
        }
    }

    /// The answer, in the form of all errors.
    pub(super) fn response(&self) -> Response<Body> {
        match self {
            Self::Guard(error) => error.response(),
            _ => self.form().answer(&self.to_string()),
        }
    }
}

fn of_denied(denied: &Denied) -> Form {
    match denied {
        Denied::None(_) => Form::new(404, "invalid_request_error", "not_kept"),
        Denied::Several { .. } => Form::new(409, "conflict_error", "ambiguous_key"),
        Denied::Damaged(_) => Form::new(500, "api_error", "damaged"),
        Denied::Running(_) => Form::new(409, "conflict_error", "under_way"),
        Denied::Unknown(_) => Form::new(409, "conflict_error", "outcome_unknown"),
        Denied::Store(_) => Form::new(503, "api_error", "store_unavailable"),
    }
}
