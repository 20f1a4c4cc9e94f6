//! The admin API below `/api`: what a person asks a running proxy, and decides.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /api/jobs[?all=1]` | an array of [`Job`] |
//! | `GET /api/jobs/{id}` | one [`JobDetail`], by task id, key, or the beginning of a key |
//! | `POST /api/jobs/{key}/resolve` | carries out a decision ([`Decision`]), tells it ([`Resolved`]) |
//! | `GET /api/stats[?by=…&since=…]` | [`Statistics`](crate::ledger::Statistics) |
//! | `GET /api/cache[?kind=…&model=…&limit=…]` | an array of [`cache::Listed`], streamed |
//! | `GET /api/cache/{key}`, `DELETE` | one [`cache::Detail`]; forgets it ([`cache::Removed`]) |
//! | `GET /api/cache/{key}/body` | the kept body |
//! | `POST /api/cache/purge`, `verify` | lines of [`cache::News`] with a `Purged` or a `VerifyReport` |
//! | `GET /api/cache/export`, `POST /api/cache/import` | everything as one file, and back |
//!
//! Every request needs `Authorization: Bearer ADMIN_TOKEN`, and comes past the same guard of hosts
//! and origins as those below `/v1`. Errors have the form of all errors.
//!
//! - `jobs` what a job is here, made from what the store holds; `file` what became of its files;
//! - `pick` which one is meant;
//! - [`cache`] what is kept, listed, shown, forgotten, carried;
//! - `stats` what was paid and avoided;
//! - `pipe` bodies that are written and read by calls that block;
//! - `decision` what can be decided, as JSON;
//! - `api` who answers what; `refusal` why not.
//!
//! The commands use the same pieces on the store itself while no proxy runs.

mod api;
pub mod cache;
mod decision;
mod file;
mod jobs;
mod pick;
mod pipe;
mod refusal;
mod stats;

use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::config::Live;
use crate::ledger::Ledger;
use crate::message::{Body, headers};
use crate::proxy::Proxy;
use crate::store::Shelf;
pub use decision::{Action, Decision, Resolved};
pub use file::File;
pub use jobs::{Callback, Census, Job, JobDetail, JobState, Seen};
pub use pick::{NotOne, note_of, pick};
use refusal::Refusal;

/// How many calls that read or write much may be under way at once.
const PLACES: usize = 8;

/// The admin API of one proxy.
pub struct Console {
    proxy: Live<Proxy>,
    shelf: Shelf,
    ledger: Arc<Ledger>,
    token: blake3::Hash,
    /// For calls that take long.
    places: Arc<Semaphore>,
}

impl Console {
    /// Lets in whoever shows `token`; of the token itself only the hash stays.
    pub fn new(
        proxy: Live<Proxy>,
        shelf: Shelf,
        ledger: Arc<Ledger>,
        token: &SecretString,
    ) -> Self {
        Self {
            proxy,
            shelf,
            ledger,
            token: blake3::hash(token.expose_secret().as_bytes()),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// Whether a path is one of the admin API's.
    pub fn serves(path: &str) -> bool {
        path.strip_prefix("/api")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers one request. Never fails: an error is an answer too.
    ///
    /// # Cancel safety
    /// A decision that was begun is carried out, whether or not its client stays.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let answer = match self.admit(&parts) {
            Ok(()) => self.answer(&parts, body).await,
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(|refusal| refusal.response())
    }

    /// Whether a request shows the admin token, and comes past the guard.
    pub fn admits(&self, parts: &Parts) -> bool {
        self.admit(parts).is_ok()
    }

    /// The proxy as it is configured now.
    fn proxy(&self) -> Arc<Proxy> {
        self.proxy.load()
    }

    fn admit(&self, parts: &Parts) -> Result<(), Refusal> {
        self.proxy().check(parts).map_err(Refusal::Guard)?;
        let shown = headers::text(&parts.headers, "authorization")
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| blake3::hash(token.trim().as_bytes()));
        // SECURITY: comparing two hashes takes the same time wherever they differ.
        if shown.is_some_and(|shown| shown == self.token) {
            Ok(())
        } else {
            Err(Refusal::NoToken)
        }
    }
}
