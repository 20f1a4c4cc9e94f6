//! The life of a request below `/v1`, whole on this page. (And of one for a kept file, [`media`].)
//!
//! 1. [`guard`] refuses what must not come further: ambiguous framing, foreign hosts and origins.
//! 2. [`auth`] finds the client and takes its credentials out of the request.
//! 3. [`generation::classify`] tells what it is:
//!    - a generation ([`generate`]): kept, under way, or run by a [`lead`] that no client owns;
//!    - a poll of a job that went through here ([`poll`]);
//!    - everything else, which is passed through ([`forward`]).
//! 4. [`reply`] makes what the client sees, [`error`] what it sees instead.
//!
//! [`directives`] reads what a client may ask of the proxy itself; [`record`] takes down the
//! answer of a paid call.

mod auth;
mod cors;
mod directives;
mod error;
mod forward;
mod generate;
mod guard;
mod lead;
mod media;
mod poll;
mod record;
mod reply;

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Uri};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, Scope};
use crate::generation;
use crate::jobs::{Polls, dialect};
use crate::media::Name;
use crate::message::{Body, body, headers};
use crate::once::Once;
use crate::store::{Shelf, StoreError};
use crate::upstream::{SendError, Upstream};
use auth::{Client, Keys};
pub(crate) use error::{Error, Form};
use forward::Passing;
use generate::Asked;
use guard::Guard;

/// The largest answer to a job's deletion, in bytes.
const LARGEST_DELETION: usize = 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The proxy: everything between a client's request and its answer.
pub struct Proxy {
    config: Arc<Config>,
    guard: Guard,
    keys: Keys,
    shelf: Shelf,
    upstream: Arc<Upstream>,
    once: Once,
    polls: Polls,
    clock: Clock,
    tasks: TaskTracker,
}

impl Proxy {
    /// Puts the parts together. Paid calls run in `tasks`, which a drain waits for.
    pub fn new(
        config: Arc<Config>,
        shelf: Shelf,
        upstream: Arc<Upstream>,
        clock: Clock,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let interval = config.jobs.min_poll_interval;
        let polls = Polls::new(
            shelf.clone(),
            upstream.clone(),
            clock.clone(),
            interval,
            tasks.clone(),
        );
        Arc::new(Self {
            guard: Guard::new(&config),
            keys: Keys::new(&config),
            once: Once::new(shelf.clone(), clock.clone()),
            config,
            shelf,
            upstream,
            polls,
            clock,
            tasks,
        })
    }

    /// How many paid calls are under way.
    pub fn under_way(&self) -> usize {
        self.once.under_way()
    }

    /// Refuses what must not come further, whatever it asks for.
    pub(crate) fn check(&self, parts: &Parts) -> Result<(), Error> {
        self.guard.check(parts)
    }

    /// What is under way.
    pub(crate) fn once(&self) -> &Once {
        &self.once
    }

    /// Brings what an earlier process left behind into agreement with what it kept.
    ///
    /// # Errors
    /// When the store cannot say what it holds.
    pub async fn reconcile(&self) -> Result<(), StoreError> {
        self.once.reconcile().await
    }

    /// Whether a generation could be kept now.
    pub async fn can_keep(&self) -> bool {
        self.shelf.check_writable().await.is_ok()
    }

    /// Answers one request, whatever it is. Never fails: an error is an answer too.
    ///
    /// # Cancel safety
    /// Dropping it cancels what is passed through; a paid call that was begun goes on.
    pub async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let origin = self
            .guard
            .allowed_origin(request.headers())
            .map(str::to_owned);
        let mut response = match self.route(request).await {
            Ok(response) => response,
            Err(error) => error.response(),
        };
        if let Some(origin) = origin {
            cors::allow(response.headers_mut(), &origin);
        }
        name_request(response.headers_mut());
        let told = |name: &str| headers::text(response.headers(), name).unwrap_or("-");
        tracing::info!(
            %method,
            path = %printable(&media::loggable(&path)),
            status = response.status().as_u16(),
            cache = told("cache-status"),
            head_ms = started.elapsed().as_millis(),
            id = told("x-request-id"),
            "request"
        );
        response
    }

    async fn route(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (mut parts, body) = request.into_parts();
        self.guard.check(&parts)?;
        if let Some(preflight) = cors::preflight(&parts) {
            return Ok(preflight);
        }
        if Name::is_meant(parts.uri.path()) {
            return self.media(&parts).await;
        }
        if !parts.uri.path().starts_with("/v1/") {
            return Err(not_found(&parts));
        }
        let client = self.keys.authenticate(&parts)?;
        let target = auth::strip(&mut parts)?;
        self.check_owner(parts.uri.path(), &client).await?;
        if let Some(kind) = generation::classify(&parts.method, parts.uri.path()) {
            return self
                .generate(
                    Asked {
                        kind,
                        parts,
                        target,
                        client,
                    },
                    body,
                )
                .await;
        }
        if let Some(task) = dialect::poll_target(&parts.method, parts.uri.path())
            && let Some(response) = self.poll(&parts, &target, task, &client).await?
        {
            return Ok(response);
        }
        self.pass_through(parts, target, body).await
    }

    async fn pass_through(
        self: &Arc<Self>,
        mut parts: Parts,
        target: Uri,
        body: Body,
    ) -> Result<Response<Body>, Error> {
        directives::strip(&mut parts.headers);
        if let Some(task) = dialect::deletion_target(&parts.method, parts.uri.path()) {
            let task = task.to_owned();
            return self.delete((parts, target, body), task).await;
        }
        self.forward(parts, target, body, Passing::NO_GENERATION)
            .await
    }

    /// Passes a job's deletion on. What upstream deletes is forgotten here too, also when the client
    /// does not wait for the answer.
    async fn delete(
        self: &Arc<Self>,
        (parts, target, body): (Parts, Uri, Body),
        task: String,
    ) -> Result<Response<Body>, Error> {
        let proxy = self.clone();
        let deleting = self.tasks.spawn(async move {
            let passing = Passing::NO_GENERATION;
            let (head, body) = proxy
                .forward(parts, target, body, passing)
                .await?
                .into_parts();
            let answer = body::collect(body, LARGEST_DELETION).await;
            let answer =
                answer.map_err(|error| Error::PassedThrough(SendError::Cut(error.to_string())))?;
            if head.status.is_success() && dialect::is_deleted(&answer) {
                proxy.forget_deleted(task).await;
            }
            Ok(Response::from_parts(head, body::full(answer)))
        });
        deleting.await.unwrap_or(Err(Error::ShuttingDown))
    }

    /// Under `scope = "client"` nobody reads, downloads, remixes or deletes another client's job,
    /// however its path is spelt.
    async fn check_owner(&self, path: &str, client: &Client) -> Result<(), Error> {
        if self.config.cache.scope == Scope::Shared {
            return Ok(());
        }
        for task in generation::job_ids(path) {
            let owner = self.job(&task).await?;
            if owner.is_some_and(|entry| entry.record.client != client.name) {
                return Err(Error::TaskNotFound);
            }
        }
        Ok(())
    }
}

/// The answer to a path that is none of ours; one that exists below `/v1` says so.
fn not_found(parts: &Parts) -> Error {
    let path = parts.uri.path();
    let below = format!("/v1{path}");
    let known = generation::classify(&parts.method, &below).is_some()
        || [
            "/models",
            "/files",
            "/videos",
            "/video",
            "/images",
            "/chat",
            "/audio",
            "/embeddings",
        ]
        .iter()
        .any(|known| path == *known || path.starts_with(&format!("{known}/")));
    let hint = if known {
        format!(" It would be served as {below}: end your client's base URL in /v1.")
    } else {
        " The API is below /v1/.".to_owned()
    };
    Error::NotFound {
        method: parts.method.to_string(),
        path: printable(path),
        hint,
    }
}

/// A path as a log line or a message may show it: bounded, and without control characters.
fn printable(path: &str) -> String {
    path.chars()
        .take(200)
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

/// Every answer has an id; upstream's own, where it gave one.
fn name_request(headers: &mut http::HeaderMap) {
    if headers.contains_key(REQUEST_ID) {
        return;
    }
    let id = format!("req_{}", uuid::Uuid::now_v7().simple());
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
}
