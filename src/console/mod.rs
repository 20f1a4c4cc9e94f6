//! The admin API below `/api`: what a person asks a running proxy, and decides; and a page at `/` that
//! shows it.
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
//! | `POST /api/session`, `DELETE` | the token exchanged for a browser's cookie; its end |
//!
//! Every request needs `Authorization: Bearer ADMIN_TOKEN` or the cookie of a session, and comes past the
//! same guard of hosts and origins as those below `/v1`. Errors have the form of all errors.
//!
//! - `jobs` what a job is here, made from what the store holds; `file` what became of its files;
//! - `pick` which one is meant;
//! - [`cache`] what is kept, listed, shown, forgotten, carried;
//! - `stats` what was paid and avoided;
//! - `pipe` bodies that are written and read by calls that block;
//! - `decision` what can be decided, as JSON;
//! - `session` browsers: logins, cookies, and where a cookie counts; `page` what they show;
//! - `api` who answers what; `refusal` why not.
//!
//! The commands use the same pieces on the store itself while no proxy runs.

mod api;
pub mod cache;
mod decision;
mod file;
mod jobs;
mod page;
mod pick;
mod pipe;
mod refusal;
mod session;
mod stats;

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::config::Live;
use crate::ledger::Ledger;
use crate::message::Body;
use crate::proxy::{self, Proxy};
use crate::store::Shelf;
pub use decision::{Action, Decision, Resolved};
pub use file::File;
pub use jobs::{Callback, Census, Job, JobDetail, JobState, Seen};
pub use pick::{NotOne, note_of, pick};
use refusal::Refusal;
use session::Sessions;

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
    sessions: Sessions,
    /// Whether clients come over TLS.
    secure: bool,
}

impl Console {
    /// Lets in whoever shows `token`; of the token itself only the hash stays. `secure`: clients come
    /// over TLS.
    pub fn new(
        proxy: Live<Proxy>,
        shelf: Shelf,
        ledger: Arc<Ledger>,
        token: &SecretString,
        secure: bool,
    ) -> Self {
        Self {
            proxy,
            shelf,
            ledger,
            token: blake3::hash(token.expose_secret().as_bytes()),
            places: Arc::new(Semaphore::new(PLACES)),
            sessions: Sessions::default(),
            secure,
        }
    }

    /// Whether a path is one of the admin API's, or of its page.
    pub fn serves(path: &str) -> bool {
        page::serves(path)
            || path
                .strip_prefix("/api")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers one request. Never fails: an error is an answer too.
    ///
    /// # Cancel safety
    /// A decision that was begun is carried out, whether or not its client stays.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let answer = match self.proxy().check_console(&parts).map_err(Refusal::Guard) {
            Ok(()) if page::serves(path) => page::answer(&parts),
            Ok(()) if path == "/api/session" => self.answer_session(&parts, body).await,
            Ok(()) => match self.admit(&parts).await {
                Ok(()) => self.answer(&parts, body).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let mut response = answer.unwrap_or_else(|refusal| refusal.response());
        let sent = response.headers_mut();
        let plain = HeaderValue::from_static("nosniff");
        sent.insert(header::X_CONTENT_TYPE_OPTIONS, plain);
        let own = HeaderValue::from_static("same-origin");
        sent.insert("cross-origin-resource-policy", own);
        response
    }

    /// Whether a request elsewhere may see what is the administrator's: it comes past the guard, and shows
    /// the token or a session. Who guesses waits here too.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) async fn admits(&self, parts: &Parts) -> Result<(), proxy::Error> {
        self.proxy().check(parts)?;
        self.admit(parts).await.map_err(|refusal| match refusal {
            Refusal::Guard(error) => error,
            _ => proxy::Error::NoAdminToken,
        })
    }

    /// The proxy as it is configured now.
    fn proxy(&self) -> Arc<Proxy> {
        self.proxy.load()
    }

    /// SECURITY: comparing two hashes takes the same time wherever they differ.
    fn is_token(&self, shown: &str) -> bool {
        blake3::hash(shown.trim().as_bytes()) == self.token
    }
}

/// The token in `Authorization: Bearer`; empty where that header says something else.
fn token_of(sent: &HeaderMap) -> Option<&str> {
    let shown = sent.get(header::AUTHORIZATION)?;
    let shown = shown.to_str().ok().and_then(|value| value.split_once(' '));
    let token = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Some(token.map_or("", |(_, token)| token))
}
