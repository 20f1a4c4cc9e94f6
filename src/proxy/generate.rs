//! A generation: found, followed, or run.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, Uri};

use super::auth::Client;
use super::directives::{self, Directives};
use super::follow::{Role, Turn};
use super::lead::Run;
use super::owners;
use super::reply::{self, Status};
use super::shown;
use super::standing::Standing;
use super::{Error, Proxy, Told};
use crate::books::Claim;
use crate::callbacks::Caller;
use crate::clock;
use crate::config::{KindPolicy, Mode};
use crate::generation::{Identity, Kind};
use crate::message::{Body, headers};
use crate::once::{Flight, Found, Lead, Query};
use crate::store::{Binding, Entry};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How often a request looks anew because what it found was forgotten.
const MOST_LOOKS: usize = 2;

/// A generation as it came, with its body still on the way.
pub(super) struct Asked {
    pub(super) kind: Kind,
    /// Boxed, since whoever waits for an answer holds it in many hands.
    pub(super) parts: Box<Parts>,
    /// Path and query below `/v1`, without credentials.
    pub(super) target: Uri,
    pub(super) client: Client,
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
        let (caller, body) = match asked.kind {
            Kind::Video => Box::pin(self.caller(&mut asked, body)).await?,
            // Nothing else ends later than its answer.
            Kind::Images | Kind::Audio | Kind::Embeddings | Kind::Chat => (None, body),
        };
        let caller = caller.as_ref();
        let claim = Claim::new(&asked.client.name, asked.kind, &identity);
        let mut looks = 0;
        // Made into a run only where one begins; what links begin with is kept from it then.
        let mut asked = Some((asked, identity, body));
        let mut base = None;
        loop {
            let (flight, role) = match self.once.look_up(query).await? {
                Found::Hit(entry, file) => {
                    let Some(entry) = self.good(entry, &mut looks).await? else {
                        continue;
                    };
                    self.note_caller(&entry, caller).await;
                    self.books.hit(&claim, entry.record.usd);
                    let base = || match &asked {
                        Some((asked, ..)) => self.base(&asked.parts),
                        None => base.unwrap_or_default(),
                    };
                    return Ok(self.hit(&entry, file, base).await);
                }
                Found::Joined(entry) => {
                    self.note_caller(&entry, caller).await;
                    self.books.joined(&claim, entry.record.usd);
                    return self.joined(&entry).await;
                }
                Found::Absent => return Err(Error::NotCached),
                Found::Follow(flight) => {
                    if let Some((asked, _, body)) = &mut asked {
                        asked.own(body);
                    }
                    (flight, Role::Follower)
                }
                Found::Lead(lead, reason) => {
                    let parts = asked.as_ref().map(|(asked, ..)| &asked.parts);
                    base = base.or_else(|| parts.map(|parts| self.base(parts)));
                    let run = asked.take().map(|asked| self.to_run(asked, caller));
                    let flight = self.lead(lead, run, &claim)?;
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

    fn to_run(
        &self,
        (asked, identity, body): (Asked, Identity, Bytes),
        caller: Option<&Caller>,
    ) -> Run {
        Run {
            upstreams: self.upstreams(caller),
            made_in: self.made_in(&asked.parts, Some(&body)),
            ..asked.into_run(identity, body)
        }
    }

    /// What is to be shown of something kept; `None` when another look is due, of which there are few.
    async fn good(
        &self,
        entry: Arc<Entry>,
        looks: &mut usize,
    ) -> Result<Option<Arc<Entry>>, Error> {
        match self.standing(entry.clone()).await? {
            Standing::Good(entry) | Standing::Unsure(entry) => Ok(Some(entry)),
            // What takes its place has links of its own, which are young.
            Standing::Gone if *looks < MOST_LOOKS => {
                *looks += 1;
                Ok(None)
            }
            Standing::Gone => Ok(Some(entry)),
        }
    }

    /// Begins the run that everybody will wait for who asks for the same.
    ///
    /// `run` is none when it was begun before: a run that ended without sending, in a way nobody
    /// foresaw, is not tried again for the same request. It would end that way again.
    fn lead(
        self: &Arc<Self>,
        lead: Lead,
        run: Option<Run>,
        claim: &Claim,
    ) -> Result<Arc<Flight>, Error> {
        let run = run.ok_or_else(|| {
            let reason = "the run ended before it was sent";
            Error::StoreUnavailable(reason.to_owned())
        })?;
        let (lead, admitted) = self.admit_lead(lead, claim)?;
        let flight = lead.flight();
        // Boxed first: it is large, and moved several times on its way to the runtime.
        let running = Box::pin(self.clone().run(lead, run, admitted));
        self.tasks.spawn(running);
        Ok(flight)
    }

    async fn hit(
        &self,
        entry: &Entry,
        file: Option<File>,
        base: impl FnOnce() -> String,
    ) -> Response<Body> {
        let base = if self.has_local_links(&entry.record) {
            base()
        } else {
            String::new()
        };
        let stored = (entry.record.status, &entry.record.headers);
        let body = (entry.body.clone(), file);
        let (payload, file) = self.localized(&entry.record, &base, body).await;
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
        let announced =
            headers::text(headers, header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
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
            client: client.name.to_string(),
            upstreams: None,
            told,
            made_in: None,
        }
    }
}

/// The client's own name for its request; an empty one is none.
fn idempotency_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(IDEMPOTENCY_KEY).filter(|key| !key.is_empty())
}

/// Why a generation is passed by without a look at what is kept.
fn passed_by(policy: &KindPolicy, wishes: &Directives) -> Option<&'static str> {
    match policy.mode {
        Mode::Off => Some("mode-off"),
        Mode::On | Mode::Deterministic => wishes.no_store.then_some("no-store"),
    }
}
