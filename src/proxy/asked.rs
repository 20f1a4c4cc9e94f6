//! A generation as it is asked for, until it is known which one it is.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, Uri};

use super::auth::Client;
use super::directives::{self, Directives};
use super::lead::Run;
use super::owners;
use super::{Error, Proxy, Told};
use crate::config::{KindPolicy, Mode};
use crate::generation::{Identity, Kind};
use crate::message::{Body, headers};
use crate::once::Query;
use crate::store::Binding;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A generation as it came, with its body still on the way.
pub(super) struct Asked {
    pub(super) kind: Kind,
    /// Boxed, since whoever waits for an answer holds it in many hands.
    pub(super) parts: Box<Parts>,
    /// Path and query below `/v1`, without credentials.
    pub(super) target: Uri,
    pub(super) client: Client,
}

/// A generation of which it is known which one it is.
pub(super) struct Wanted {
    pub(super) asked: Box<Asked>,
    pub(super) body: Bytes,
    pub(super) identity: Identity,
    pub(super) query: Query,
}

/// What came of reading a request.
pub(super) enum Read {
    /// It is to be answered from what is kept, from a run under way, or by a run.
    Wanted(Box<Wanted>),
    /// It has nothing to do with what is kept, and has been passed on.
    Passed(Response<Body>),
}

impl Proxy {
    /// Reads the request to its end and finds out which generation it asks for.
    ///
    /// # Errors
    /// When it cannot be read, or its client may not have it; those of upstream when it is passed on.
    pub(super) async fn read(
        self: &Arc<Self>,
        asked: Box<Asked>,
        body: Body,
    ) -> Result<Read, Error> {
        let policy = *self.config.cache.policy(asked.kind);
        let wishes = Directives::read(&asked.parts.headers)?;
        let passed_by = passed_by(&policy, &wishes);
        if let Some(why) = passed_by
            && idempotency_key(&asked.parts.headers).is_none()
            && !(self.is_apart() && owners::kind_may_mention(asked.kind))
        {
            let passed = Box::pin(self.bypass(*asked, body, (why, &wishes)));
            return passed.await.map(Read::Passed);
        }
        let body = self.collect(&asked.parts.headers, body).await?;
        if self.is_apart() && owners::kind_may_mention(asked.kind) {
            let headers = &asked.parts.headers;
            self.check_mentions(headers, &body, &asked.client).await?;
        }
        let identity = self.identify(&asked, wishes.take, &body).await?;
        self.check_idempotency(&asked, &identity, &wishes, &body)
            .await?;
        let passed_by = passed_by.or_else(|| {
            let varies = policy.mode == Mode::Deterministic && !identity.deterministic;
            varies.then_some("not-deterministic")
        });
        if let Some(why) = passed_by {
            let passed = Box::pin(self.bypass_whole(*asked, body, (why, &wishes)));
            return passed.await.map(Read::Passed);
        }
        let query = Query {
            key: identity.fingerprint,
            freshness: wishes.freshness,
            ttl: policy.ttl,
            unknown_outcome: policy.unknown_outcome,
        };
        Ok(Read::Wanted(Box::new(Wanted {
            asked,
            body,
            identity,
            query,
        })))
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

impl Wanted {
    /// What is sent, if somebody has to run it.
    pub(super) fn into_run(self) -> Run {
        let Self {
            asked,
            body,
            identity,
            ..
        } = self;
        let Asked {
            kind,
            parts,
            target,
            client,
        } = *asked;
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
