//! A generation: found, followed, or run.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, Uri};

use super::auth::Client;
use super::directives::{self, Directives};
use super::lead::Run;
use super::owners;
use super::reading;
use super::reply::{self, Status};
use super::shown;
use super::standing::Standing;
use super::{Error, Proxy, Told};
use crate::books::Claim;
use crate::clock;
use crate::config::{KindPolicy, Mode, Scope};
use crate::generation::{Identity, Kind, Request};
use crate::message::{Body, headers};
use crate::once::{Ending, Flight, Found, NotKept, Query, Reason, Stage};
use crate::store::{Binding, Entry};

/// How often a request looks anew because what it found was forgotten.
const MOST_LOOKS: usize = 2;

/// A generation as it came, with its body still on the way.
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) parts: Parts,
    /// Path and query below `/v1`, without credentials.
    pub(super) target: Uri,
    pub(super) client: Client,
}

/// How one look at a flight ended for one who waits for it.
enum Turn {
    Answer(Response<Body>),
    /// Nothing was sent by whoever led: somebody else may lead.
    Again,
}

impl Proxy {
    /// Answers a generation from what is kept, from a run under way, or by running it.
    ///
    /// # Errors
    /// When there is no answer to give; the error says whether money may have been spent.
    ///
    /// # Cancel safety
    /// The client may leave at any await: a run that was begun goes on without it.
    pub(super) async fn generate(
        self: &Arc<Self>,
        asked: Asked,
        body: Body,
    ) -> Result<Response<Body>, Error> {
        let policy = *self.config.cache.policy(asked.kind);
        let wishes = Directives::read(&asked.parts.headers)?;
        let passed_by = passed_by(&policy, &wishes);
        if let Some(why) = passed_by
            && idempotency_key(&asked.parts.headers).is_none()
            && !(self.is_apart() && owners::kind_may_mention(asked.kind))
        {
            return Box::pin(self.bypass(asked, body, (why, &wishes))).await;
        }
        let body = self.collect(&asked.parts.headers, body).await?;
        if self.is_apart() && owners::kind_may_mention(asked.kind) {
            let headers = &asked.parts.headers;
            self.check_mentions(headers, &body, &asked.client).await?;
        }
        let identity = self.identify(&asked, wishes.take, &body).await?;
        self.check_idempotency(&asked, &identity, &wishes, &body)
            .await?;
        if let Some(why) = passed_by {
            return Box::pin(self.bypass_whole(asked, body, (why, &wishes))).await;
        }
        if policy.mode == Mode::Deterministic && !identity.deterministic {
            let why = ("not-deterministic", &wishes);
            return Box::pin(self.bypass_whole(asked, body, why)).await;
        }
        let query = Query {
            key: identity.fingerprint,
            freshness: wishes.freshness,
            ttl: policy.ttl,
            unknown_outcome: policy.unknown_outcome,
        };
        self.answer(asked, &query, identity, body).await
    }

    async fn answer(
        self: &Arc<Self>,
        mut asked: Asked,
        query: &Query,
        identity: Identity,
        body: Bytes,
    ) -> Result<Response<Body>, Error> {
        let (caller, body) = self.caller(&mut asked, body).await?;
        let caller = caller.as_ref();
        let base = self.base(&asked.parts);
        let claim = Claim::new(&asked.client.name, asked.kind, &identity);
        let made_in = self.made_in(&asked.parts, Some(&body));
        let mut looks = 0;
        let mut run = Some(Run {
            upstreams: self.upstreams(caller),
            made_in,
            ..asked.into_run(identity, body)
        });
        loop {
            let (flight, role) = match self.once.look_up(query).await? {
                Found::Hit(entry, file) => {
                    let was = entry.clone();
                    let entry = match self.standing(entry).await? {
                        Standing::Good(entry) | Standing::Unsure(entry) => entry,
                        // What takes its place has links of its own, which are young.
                        Standing::Gone if looks < MOST_LOOKS => {
                            looks += 1;
                            continue;
                        }
                        Standing::Gone => was,
                    };
                    self.note_caller(&entry, caller).await;
                    self.books.hit(&claim, entry.record.usd);
                    return Ok(self.hit(&entry, file, &base).await);
                }
                Found::Joined(entry) => {
                    self.note_caller(&entry, caller).await;
                    self.books.joined(&claim, entry.record.usd);
                    return self.joined(&entry).await;
                }
                Found::Absent => return Err(Error::NotCached),
                Found::Follow(flight) => (flight, Role::Follower),
                Found::Lead(lead, reason) => {
                    // A run that ended without sending, in a way nobody foresaw, is not tried
                    // again for the same request: it would end that way again.
                    let Some(run) = run.take() else {
                        let reason = "the run ended before it was sent".to_owned();
                        return Err(Error::StoreUnavailable(reason));
                    };
                    let (lead, admitted) = self.admit_lead(lead, &claim)?;
                    let flight = lead.flight();
                    self.tasks.spawn(self.clone().run(lead, run, admitted));
                    (flight, Role::Leader(reason))
                }
            };
            let leads = matches!(role, Role::Leader(_));
            let noted = self.note_after(&flight, caller, leads);
            if let Turn::Answer(response) = self.follow(query, (&flight, &claim), role).await? {
                if let Some(noted) = noted {
                    // It only fails by a panic, which is reported by itself.
                    let _ = noted.await;
                }
                return Ok(response);
            }
        }
    }

    /// Waits for a flight as everyone does who asked for it, its leader included.
    async fn follow(
        &self,
        query: &Query,
        (flight, claim): (&Flight, &Claim),
        role: Role,
    ) -> Result<Turn, Error> {
        let first = matches!(role, Role::Leader(_));
        let stage = flight.answer().await;
        self.note_joined(&stage, (role, claim));
        let (mut response, status) = match stage {
            Stage::Live(answer) => (reply::arriving(&answer, first, None), role.stored()),
            Stage::Ended(Ending::Kept { entry, answer }) => {
                let stored = (entry.record.status, &entry.record.headers);
                match reply::kept(&self.shelf, stored, &entry.body).await {
                    Ok(mut response) => {
                        if first {
                            reply::add_per_exchange(response.headers_mut(), &answer.headers);
                        }
                        (response, role.stored())
                    }
                    // It is kept, but its file cannot be opened now (too many are): the caller
                    // gets it from the recording.
                    Err(error) => {
                        tracing::warn!(%error, "a kept answer cannot be opened");
                        (reply::arriving(&answer, first, None), role.stored())
                    }
                }
            }
            Stage::Ended(Ending::Passed { answer, why }) => (
                reply::arriving(&answer, first, Some(why)),
                role.passed(answer.status, why),
            ),
            Stage::Ended(Ending::Failed(failure)) => {
                return Err(Error::of_failure(query.key, failure, query.unknown_outcome));
            }
            Stage::Ended(Ending::Declined {
                client: of,
                refusal,
            }) if *of == *claim.client => {
                return Err(refusal.into());
            }
            Stage::Ended(Ending::Released | Ending::Declined { .. }) | Stage::Waiting => {
                return Ok(Turn::Again);
            }
        };
        reply::mark(response.headers_mut(), status, None);
        Ok(Turn::Answer(response))
    }

    /// One who has followed to an answer was spared a run of its own.
    fn note_joined(&self, stage: &Stage, (role, claim): (Role, &Claim)) {
        match (role, stage) {
            (Role::Follower, Stage::Live(_)) => self.books.joined(claim, None),
            (Role::Follower, Stage::Ended(Ending::Kept { entry, .. })) => {
                self.books.joined(claim, entry.record.usd);
            }
            (Role::Leader(_) | Role::Follower, _) => {}
        }
    }

    async fn hit(&self, entry: &Entry, file: Option<File>, base: &str) -> Response<Body> {
        let stored = (entry.record.status, &entry.record.headers);
        let body = (entry.body.clone(), file);
        let (payload, file) = self.localized(&entry.record, base, body).await;
        let mut response = reply::of_parts(stored, &payload, file);
        if payload != entry.body {
            shown::drop_digests(response.headers_mut());
        }
        let now = self.clock.now();
        self.shelf.used(&entry.record.key, now);
        let age = clock::age_seconds(now, entry.record.created_at);
        reply::mark(
            response.headers_mut(),
            Status::Hit(entry.record.key),
            Some(age),
        );
        response
    }

    /// The submit of a job that still runs is answered with what the first one was answered.
    async fn joined(&self, entry: &Entry) -> Result<Response<Body>, Error> {
        let stored = (entry.record.status, &entry.record.headers);
        let mut response = reply::kept(&self.shelf, stored, &entry.body).await?;
        let age = clock::age_seconds(self.clock.now(), entry.record.created_at);
        reply::mark(response.headers_mut(), Status::Collapsed, Some(age));
        Ok(response)
    }

    /// The whole body, which is what a generation is recognised by.
    pub(super) async fn collect(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
        let announced = headers::text(headers, "content-length").and_then(|text| text.parse().ok());
        self.bodies.collect(body, announced).await
    }

    /// One `Idempotency-Key` stands for one request, whichever take of it.
    async fn check_idempotency(
        &self,
        asked: &Asked,
        identity: &Identity,
        wishes: &Directives,
        body: &Bytes,
    ) -> Result<(), Error> {
        let Some(key) = idempotency_key(&asked.parts.headers) else {
            return Ok(());
        };
        let generation = match wishes.take {
            1 => identity.fingerprint,
            _ => self.identify(asked, 1, body).await?.fingerprint,
        };
        let now = self.clock.now();
        let binding = Binding::new(&asked.client.name, key.as_bytes(), generation, now);
        match self.shelf.bind(binding).await {
            Ok(bound) if bound == generation => Ok(()),
            Ok(_) => Err(Error::IdempotencyMismatch),
            // What is kept is still served; a run is refused where its intent cannot be written.
            Err(error) => {
                tracing::warn!(%error, "an Idempotency-Key could not be remembered");
                Ok(())
            }
        }
    }

    /// What the request is recognised by; a large one is read on a thread that may take its time.
    pub(super) async fn identify(
        &self,
        asked: &Asked,
        take: u32,
        body: &Bytes,
    ) -> Result<Identity, Error> {
        let scope = match self.config.cache.scope {
            Scope::Shared => None,
            Scope::Client => Some(asked.client.name.clone()),
        };
        let read = Reading {
            kind: asked.kind,
            path: asked.parts.uri.path().to_owned(),
            query: asked.target.query().map(str::to_owned),
            scope,
            take,
            headers: asked.parts.headers.clone(),
            body: body.clone(),
        };
        reading::apart(body.len(), move || read.identify()).await
    }
}

/// What a request is recognised by, for whichever thread reads it.
struct Reading {
    kind: Kind,
    path: String,
    query: Option<String>,
    scope: Option<String>,
    take: u32,
    headers: HeaderMap,
    body: Bytes,
}

impl Reading {
    fn identify(&self) -> Identity {
        let request = Request {
            kind: self.kind,
            path: &self.path,
            query: self.query.as_deref(),
            scope: self.scope.as_deref(),
            take: self.take,
            headers: &self.headers,
            body: &self.body,
        };
        request.identify()
    }
}

impl Asked {
    fn into_run(self, identity: Identity, body: Bytes) -> Run {
        let Self {
            kind,
            parts,
            target,
            client,
        } = self;
        let path = parts.uri.path().to_owned();
        let told = Told::of(&parts.extensions);
        let mut headers = parts.headers;
        headers::remove_hop_by_hop(&mut headers);
        directives::strip(&mut headers);
        directives::strip_for_run(&mut headers);
        Run {
            kind,
            path,
            target,
            headers,
            body,
            identity,
            client: client.name,
            upstreams: None,
            told,
            made_in: None,
        }
    }
}

/// Whose request was sent.
#[derive(Clone, Copy)]
enum Role {
    Leader(Reason),
    Follower,
}

impl Role {
    fn stored(self) -> Status {
        match self {
            Self::Leader(reason) => Status::Stored(reason),
            Self::Follower => Status::Collapsed,
        }
    }

    fn passed(self, status: http::StatusCode, why: NotKept) -> Status {
        match (self, why) {
            (Self::Leader(reason), NotKept::StoreFailed) => Status::NotKept(reason),
            (Self::Leader(reason), NotKept::Refused | NotKept::Unknown) => {
                Status::Answered(reason, status)
            }
            (Self::Follower, _) => Status::Collapsed,
        }
    }
}

/// The client's own name for its request; an empty one is none.
fn idempotency_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get("idempotency-key").filter(|key| !key.is_empty())
}

/// Why a generation is passed by without a look at what is kept.
fn passed_by(policy: &KindPolicy, wishes: &Directives) -> Option<&'static str> {
    match policy.mode {
        Mode::Off => Some("mode-off"),
        Mode::On | Mode::Deterministic => wishes.no_store.then_some("no-store"),
    }
}
