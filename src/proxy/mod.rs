//! The life of a request below `/v1`, whole on this page. (And of one for a kept file, [`media`].)
//!
//! 1. [`guard`] refuses what must not come further: ambiguous [`framing`], foreign hosts and origins, and
//!    a [`browser`] that would make a page of an answer.
//! 2. [`auth`] finds the client and takes its credentials out of the request.
//!    [`admit`] counts the request for it.
//! 3. [`generation::classify`] tells what it is:
//!    - a generation, read as it is [`asked`] for ([`generate`]): kept, under way, or run by a [`lead`]
//!      that no client owns and all [`follow`];
//!    - a WebSocket, which becomes a [`tunnel`];
//!    - a poll of a job that went through here ([`poll`]);
//!    - everything else, which is passed through ([`forward`]).
//! 4. [`reply`] makes what the client sees, [`error`] what it sees instead.
//!
//! [`admit`] lets a paid call begin, if the limits of its client do; [`bill`] says what it has cost, and
//! [`metered`] what one has that is passed by, and [`past`] sees to the jobs that are.
//! [`shown`] points the links of an answer to the kept files, [`content`] serves a clip from its own;
//! [`standing`] asks whether a kept answer's links still work that nothing was kept of.
//! [`owners`] knows whose a thing is where clients share nothing, [`lists`] shows each its own part of a list;
//! [`bodies`] bounds the memory that whole requests and answers take meanwhile;
//! [`callback`] notes who is to be called when a job ends; [`directives`] reads what a client may
//! ask of the proxy itself; [`waiting`] is what a request holds that waits for the run of another;
//! [`record`] takes down the answer of a paid call, and [`verdict`] says what
//! it means. [`told`] is what is told of a request once it is over: how it was [`answered`], [`paths`].

mod admit;
mod answered;
mod asked;
mod auth;
mod bill;
mod bodies;
mod browser;
mod bypass;
mod callback;
mod content;
mod cors;
mod deletion;
mod directives;
mod error;
mod follow;
mod forward;
mod framing;
mod generate;
mod guard;
mod identify;
mod keep;
mod lead;
mod lists;
mod media;
mod metered;
mod owners;
mod passage;
mod past;
mod paths;
mod poll;
mod reading;
mod record;
mod reply;
mod running;
mod shown;
mod standing;
mod stray;
mod told;
mod tunnel;
mod verdict;
mod waiting;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Version};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::books::Books;
use crate::callbacks::Callbacks;
use crate::clock::Clock;
use crate::config::Config;
use crate::generation;
use crate::jobs::{Endings, Ends, Polls, dialect};
use crate::limits::{Limits, Standing};
use crate::media::{Archive, Name};
use crate::message::{Body, Peer};
use crate::metrics::{Metrics, Sort};
use crate::once::Once;
use crate::store::{Shelf, StoreError};
use crate::upstream::Upstream;
use asked::Asked;
use auth::Keys;
use bodies::Bodies;
pub(crate) use browser::{SECURE_SESSION, SESSION};
pub(crate) use error::{Error, Form};
use guard::Guard;
pub(crate) use told::{How, Told, unread};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The proxy: everything between a client's request and its answer, as one configuration wants it.
/// For another one there is another proxy ([`renewed`](Self::renewed)), with the same memory.
pub struct Proxy {
    config: Arc<Config>,
    guard: Guard,
    keys: Keys,
    bodies: Bodies,
    shelf: Shelf,
    upstream: Arc<Upstream>,
    once: Arc<Once>,
    limits: Arc<Limits>,
    books: Arc<Books>,
    polls: Polls,
    callbacks: Arc<Callbacks>,
    archive: Arc<Archive>,
    verdicts: Arc<standing::Verdicts>,
    clock: Clock,
    tasks: TaskTracker,
    tunnels: CancellationToken,
    metrics: Metrics,
}

/// What a proxy is made of.
pub struct Means {
    /// How it shall be.
    pub config: Arc<Config>,
    /// Where it keeps what was paid for.
    pub shelf: Shelf,
    /// Its way to upstream.
    pub upstream: Arc<Upstream>,
    /// What time it is.
    pub clock: Clock,
    /// What a drain waits for: paid calls run in it.
    pub tasks: TaskTracker,
    /// What its clients may use.
    pub limits: Arc<Limits>,
    /// What their runs cost.
    pub books: Arc<Books>,
    /// Who hears of the ends of jobs.
    pub ends: Vec<Arc<dyn Ends>>,
    /// Who is called back about them.
    pub callbacks: Arc<Callbacks>,
    /// Who fetches the files behind the links of results.
    pub archive: Arc<Archive>,
    /// Where events are counted.
    pub metrics: Metrics,
}

impl Proxy {
    /// Puts the parts together.
    pub fn new(means: Means) -> Arc<Self> {
        let Means {
            config,
            shelf,
            upstream,
            clock,
            tasks,
            limits,
            books,
            mut ends,
            callbacks,
            archive,
            metrics,
        } = means;
        ends.push(Arc::new(admit::Leaving(limits.clone())));
        let endings = Endings::new(shelf.clone(), clock.clone(), ends);
        let endings = endings.archiving(archive.clone());
        let polls = Polls::new(upstream.clone(), endings, config.jobs, tasks.clone());
        Arc::new(Self {
            guard: Guard::new(&config),
            keys: Keys::new(&config),
            bodies: Bodies::new(config.cache.max_request_body),
            once: Arc::new(Once::new(shelf.clone(), clock.clone())),
            limits,
            books,
            config,
            shelf,
            upstream,
            polls,
            callbacks,
            archive,
            verdicts: Arc::default(),
            clock,
            tasks,
            tunnels: CancellationToken::new(),
            metrics,
        })
    }

    /// Where events are counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Refuses what must not come further, whatever it asks for.
    pub(crate) fn check(&self, parts: &Parts) -> Result<(), Error> {
        self.guard.check(parts)
    }

    /// Refuses what must not come further to the console, whose own page may ask.
    pub(crate) fn check_console(&self, parts: &Parts) -> Result<(), Error> {
        self.guard.check_console(parts)
    }

    /// Whether a request comes from a page of the very address that it goes to.
    pub(crate) fn is_same_origin(parts: &Parts) -> bool {
        browser::is_same_origin(parts)
    }

    /// What time it is here.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What is under way.
    pub(crate) fn once(&self) -> &Once {
        &self.once
    }

    /// Brings what an earlier process left behind into agreement with what it kept. Its notes stay
    /// while it is not `booked`.
    ///
    /// # Errors
    /// When the store cannot say what it holds.
    pub async fn reconcile(&self, booked: bool) -> Result<(), StoreError> {
        if booked {
            self.once.reconcile().await?;
        }
        self.count_running_jobs().await;
        Ok(())
    }

    /// Whether a generation could be kept and booked now.
    pub async fn can_keep(&self) -> bool {
        self.shelf.check_writable().await.is_ok() && self.books.check_writable().await.is_ok()
    }

    /// Answers one request, whatever it is. Never fails: an error is an answer too.
    ///
    /// # Cancel safety
    /// Dropping it cancels what is passed through; a paid call that was begun goes on.
    pub async fn handle(self: &Arc<Self>, request: Box<Request<Body>>) -> Response<Body> {
        let told = Told::of(request.extensions());
        let origin = self
            .guard
            .allowed_origin(request.headers())
            .map(str::to_owned);
        let version = request.version();
        let is_page =
            request.uri().path().starts_with("/v1/") && browser::is_document(request.headers());
        let mut standing = None;
        let (parts, body) = request.into_parts();
        let request = (Box::new(parts), body);
        let mut response = match self.route(request, &told, &mut standing).await {
            Ok(response) => {
                told.answered(&response);
                response
            }
            Err(error) => {
                told.refused(error.code());
                if let Some(limit) = error.limit() {
                    self.metrics.refused(limit);
                }
                refused(&error, version)
            }
        };
        if let Some(standing) = standing {
            standing.tell(response.headers_mut());
        }
        if let Some(origin) = origin {
            cors::allow(response.headers_mut(), &origin);
        }
        if is_page {
            browser::confine(response.headers_mut());
        }
        name_request(response.headers_mut());
        response
    }

    /// Who is waiting for an answer holds this future: what only some need of it is boxed.
    async fn route(
        self: &Arc<Self>,
        (mut parts, body): (Box<Parts>, Body),
        told: &Told,
        standing: &mut Option<Standing>,
    ) -> Result<Response<Body>, Error> {
        self.check_way(&parts)?;
        self.guard.check(&parts)?;
        if let Some(preflight) = cors::preflight(&parts) {
            return Ok(preflight);
        }
        if Name::is_meant(parts.uri.path()) {
            told.is(Sort::Media);
            return Box::pin(self.media(&parts)).await;
        }
        if !parts.uri.path().starts_with("/v1/") {
            Box::pin(stray::take_in(&parts, body)).await;
            return Err(stray::not_found(&parts));
        }
        let client = self.keys.authenticate(&parts)?;
        told.comes_from(&client.name);
        told.is(Sort::Other);
        self.count(&client, standing)?;
        let target = auth::strip(&mut parts)?;
        if self.is_apart() {
            Box::pin(self.check_owner(&parts, &client)).await?;
        }
        if let Some(client) = tunnel::asked_for(&mut parts, &body) {
            told.is(Sort::WebSocket);
            directives::strip(&mut parts.headers);
            return Box::pin(self.upgrade(*parts, target, client)).await;
        }
        if let Some(kind) = generation::classify(&parts.method, parts.uri.path()) {
            told.is(Sort::Generation(kind));
            let asked = Box::new(Asked {
                kind,
                parts,
                target,
                client,
            });
            return self.generate(asked, body).await;
        }
        if let Some(task) = dialect::poll_target(&parts.method, parts.uri.path()) {
            told.is(Sort::Poll);
            let answered = Box::pin(self.poll(&parts, &target, task, &client));
            if let Some(response) = answered.await? {
                return Ok(response);
            }
        }
        if let Some(response) = self.content(&parts, &client).await? {
            told.is(Sort::Media);
            return Ok(response);
        }
        if self.lists(&parts) {
            return Box::pin(self.list(*parts, target, &client)).await;
        }
        let body = if self.is_apart() {
            Box::pin(self.checked(&parts, body, &client)).await?
        } else {
            body
        };
        Box::pin(self.pass_through(*parts, target, (body, &client))).await
    }

    /// Refuses what we sent ourselves: it would go round until nothing is left to send it with.
    fn check_way(&self, parts: &Parts) -> Result<(), Error> {
        match parts.extensions.get::<Peer>() {
            Some(peer) if self.upstream.is_ours(peer) => Err(Error::Loop),
            Some(_) | None => Ok(()),
        }
    }
}

/// SECURITY: what follows a request that makes no sense may make none either.
fn refused(error: &Error, version: Version) -> Response<Body> {
    let mut response = error.response();
    if version < Version::HTTP_2 && matches!(error, Error::BadRequest(_) | Error::Expectation) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Every answer has an id; upstream's own, where it gave one.
fn name_request(headers: &mut HeaderMap) {
    if headers.contains_key(REQUEST_ID) {
        return;
    }
    let mut text = *b"req_00000000000000000000000000000000";
    if let Some(digits) = text.get_mut("req_".len()..) {
        request_name().simple().encode_lower(digits);
    }
    if let Ok(id) = HeaderValue::from_bytes(&text) {
        headers.insert(REQUEST_ID, id);
    }
}

/// A name that no other request has: a UUID of version 4. Nobody has to be unable to guess it, so its
/// chance comes from what the standard library seeds its maps with, and not from a system call.
fn request_name() -> uuid::Uuid {
    let chance = || u128::from(RandomState::new().build_hasher().finish());
    let name = uuid::Builder::from_random_bytes((chance() << 64 | chance()).to_ne_bytes());
    name.into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a future holds while somebody waits for it, in bytes.
    fn size<'a, A, F: Future>(_: impl FnOnce(&'a Arc<Proxy>, A) -> F) -> usize {
        size_of::<F>()
    }

    /// A crowd waits for one run, each in two such futures.
    #[test]
    fn whoever_waits_holds_little() {
        let held = (size(Proxy::handle), size(Proxy::answer));
        assert!(held.0 <= 700 && held.1 <= 1200, "{held:?} bytes");
    }
}
