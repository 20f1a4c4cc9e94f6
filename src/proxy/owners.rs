//! Whose a thing is that upstream keeps: under `cache.scope = "client"` nobody reads, downloads,
//! continues, lists or deletes what another client has made, however it is spelt.
//!
//! To upstream all clients are one account. So of what they make there (jobs, files, responses, …) the
//! ids are noted, with the client whose request was answered with them, before it sees them. What nobody
//! has been given through here passes. SECURITY: another's thing does not exist, with the same answer
//! whatever it is and however it stands, made without asking upstream or the disk.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response};

use super::asked::Asked;
use super::auth::Client;
use super::directives::Directives;
use super::lead::Run;
use super::record::Taken;
use super::{Error, Proxy};
use crate::config::Scope;
use crate::generation::{Collection, Kind, LONGEST_PLAIN, ThingKey, percent_decoded, thing};
use crate::message::body::full;
use crate::message::{Body, beginning, coding, headers};
use crate::store::{Entry, Shelf, Store};

/// Of an answer so much is looked through for ids; they stand at its beginning.
const BEGINNING: usize = 1024 * 1024;
/// Of an event stream, whose first events name it.
const FIRST_EVENTS: usize = 64 * 1024;
/// The largest plain form of an answer that came in a content coding.
const PLAIN: u64 = 128 * 1024 * 1024;

impl Proxy {
    /// Whether clients share nothing.
    pub(super) fn is_apart(&self) -> bool {
        self.config.cache.scope == Scope::Client
    }

    /// Whether a client may see what is kept of this generation.
    pub(super) fn may_see(&self, entry: &Entry, client: &Client) -> bool {
        !self.is_apart() || *entry.record.client == *client.name
    }

    /// Refuses what names another client's thing in its address, where clients share nothing.
    pub(super) async fn check_owner(&self, parts: &Parts, client: &Client) -> Result<(), Error> {
        let store = self.shelf.store();
        for named in thing::things(parts.uri.path()) {
            match store.owner(&ThingKey::of(named.collection, &named.id)) {
                Some(owner) if *owner == *client.name => {}
                Some(_) => return Err(Error::TaskNotFound),
                None if named.is_odd() => return Err(Error::TaskNotFound),
                None if named.is_job() => {
                    let kept = self.job(&named.id).await?;
                    if kept.is_some_and(|entry| !self.may_see(&entry, client)) {
                        return Err(Error::TaskNotFound);
                    }
                }
                None => {}
            }
        }
        let query = parts.uri.query().unwrap_or_default();
        check_words(store, client, |visit| {
            let pairs = query.replace('&', "\n");
            thing::mentions(&percent_decoded(pairs.as_bytes()), true, |word| {
                // `after=ID`, and the word by itself.
                word.split('=').all(&mut *visit)
            });
        })
    }

    /// Refuses a body that names another client's thing: the clip of a remix, the response before.
    pub(super) async fn check_mentions(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        client: &Client,
    ) -> Result<(), Error> {
        let (store, client) = (self.shelf.clone(), client.clone());
        let (read, whole) = (headers.clone(), body.clone());
        let check = move || {
            let plain = coding::plain(&read, &whole, LONGEST_PLAIN).ok_or_else(|| {
                let message = "The body's content coding cannot be undone, so nobody can say whose \
                               things it names; send it plain.";
                Error::BadRequest(message.to_owned())
            })?;
            let is_form = is_form(&read);
            check_words(store.store(), &client, |visit| {
                thing::mentions(&plain, is_form, visit);
            })
        };
        self.reading(headers, body.len(), check).await?
    }

    /// The body of a request that is passed through where clients share nothing, read and checked if it
    /// may name things.
    pub(super) async fn checked(
        &self,
        parts: &Parts,
        body: Body,
        client: &Client,
    ) -> Result<Body, Error> {
        let has_body = !http_body::Body::is_end_stream(&body);
        if !has_body || !may_mention(&parts.headers) {
            return Ok(body);
        }
        let whole = self.collect(&parts.headers, body).await?;
        self.check_mentions(&parts.headers, &whole, client).await?;
        Ok(full(whole))
    }

    /// Where things stand that this POST makes, if their ids are to be noted.
    pub(super) fn made_in(&self, parts: &Parts, body: Option<&[u8]>) -> Option<Collection> {
        let makes = self.is_apart() && parts.method == Method::POST;
        let collection = makes
            .then(|| thing::collection(parts.uri.path()))
            .flatten()?;
        // One in a content coding may ask for it.
        let body = body.filter(|_| !coding::is_coded(&parts.headers));
        let kept = body.is_none_or(|body| thing::is_kept_upstream(collection, body));
        kept.then_some(collection)
    }

    /// Notes whose the things are that an answer names, before it goes on to its client.
    pub(super) async fn claim(
        &self,
        answer: Response<Body>,
        collection: Collection,
        client: &str,
    ) -> Response<Body> {
        if !answer.status().is_success() {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let named = move |seen: &[u8]| !thing::made(collection, seen).is_empty();
        let (seen, body) = if is_events(&head.headers) {
            beginning(body, FIRST_EVENTS, named).await
        } else {
            beginning(body, BEGINNING, |_| false).await
        };
        if let Some(plain) = coding::plain(&head.headers, &seen, PLAIN) {
            own(&self.shelf, thing::made(collection, &plain), client).await;
        } else {
            tracing::error!(
                client,
                "an answer cannot be read: nobody owns what it names"
            );
        }
        Response::from_parts(head, body)
    }

    /// Passes a generation by whose body has been read, and notes what it makes.
    pub(super) async fn bypass_whole(
        self: &Arc<Self>,
        mut asked: Asked,
        body: Bytes,
        why: (&'static str, &Directives),
    ) -> Result<Response<Body>, Error> {
        let Some(collection) = self.made_in(&asked.parts, Some(&body)) else {
            return self.bypass(asked, full(body), why).await;
        };
        ask_plain(&mut asked.parts.headers);
        let client = asked.client.name.clone();
        let answer = self.bypass(asked, full(body), why).await?;
        Ok(self.claim(answer, collection, &client).await)
    }

    /// The same for the answer of a run, which is shown only when it is whole.
    pub(super) async fn claim_taken(&self, run: &Run, taken: &Taken) {
        let answer = &taken.answer;
        let Some(collection) = run.made_in else {
            return;
        };
        if !answer.status.is_success() || is_events(&answer.headers) {
            return;
        }
        if let Ok(Some(body)) = taken.recorder.whole(PLAIN).await {
            own(&self.shelf, thing::made(collection, &body), &run.client).await;
        }
    }
}

/// The things that an event stream names while it is taken down.
pub(super) struct Claiming<'a> {
    shelf: &'a Shelf,
    client: &'a str,
    collection: Collection,
    seen: Vec<u8>,
}

impl<'a> Claiming<'a> {
    pub(super) fn of(shelf: &'a Shelf, run: &'a Run) -> Option<Self> {
        Some(Self {
            shelf,
            client: &run.client,
            collection: run.made_in?,
            seen: Vec::new(),
        })
    }

    /// Looks at the next piece before it is shown; `None`: there is nothing more to look for.
    pub(super) async fn look(mut self, piece: &Bytes) -> Option<Self> {
        self.seen.extend_from_slice(piece);
        let made = thing::made(self.collection, &self.seen);
        if made.is_empty() {
            return (self.seen.len() < FIRST_EVENTS).then_some(self);
        }
        own(self.shelf, made, self.client).await;
        None
    }
}

/// MONEY: an answer that was paid for reaches its client even if the disk does not take whose it is;
/// this process knows it then, and the next one may not.
async fn own(shelf: &Shelf, things: Vec<ThingKey>, client: &str) {
    if things.is_empty() {
        return;
    }
    let name = client.to_owned();
    let owned = shelf.writing(move |store| store.own(&things, &name)).await;
    if let Err(error) = owned {
        tracing::error!(client, %error, "whose a thing is could not be made durable");
    }
}

/// Refuses when one of the words names a thing of others, and none of this client's.
fn check_words(
    store: &dyn Store,
    client: &Client,
    each: impl FnOnce(&mut dyn FnMut(&str) -> bool),
) -> Result<(), Error> {
    let mut allowed = true;
    each(&mut |word| {
        allowed = !is_anothers(store, client, word);
        allowed
    });
    if allowed {
        Ok(())
    } else {
        Err(Error::TaskNotFound)
    }
}

fn is_anothers(store: &dyn Store, client: &Client, id: &str) -> bool {
    let mut anothers = false;
    for owner in ThingKey::everywhere(id).filter_map(|key| store.owner(&key)) {
        if *owner == *client.name {
            return false;
        }
        anothers = true;
    }
    anothers
}

/// Whether the body of such a generation may name things that upstream keeps.
pub(super) fn kind_may_mention(kind: Kind) -> bool {
    match kind {
        Kind::Video | Kind::Images | Kind::Chat => true,
        Kind::Audio | Kind::Embeddings => false,
    }
}

/// Whether a body is text with names in it, and not somebody's file on its way up.
fn may_mention(headers: &HeaderMap) -> bool {
    let content_type = headers::text(headers, "content-type").unwrap_or_default();
    let content_type = content_type.to_ascii_lowercase();
    let is_file = [
        "multipart/",
        "audio/",
        "video/",
        "image/",
        "application/octet-stream",
    ]
    .iter()
    .any(|file| content_type.starts_with(file));
    !is_file
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers::text(headers, "content-type").unwrap_or_default();
    content_type
        .get(.."multipart/".len())
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

fn is_events(headers: &HeaderMap) -> bool {
    headers::text(headers, "content-type")
        .is_some_and(|value| value.starts_with("text/event-stream"))
}

/// Asks for an answer that can be read.
pub(super) fn ask_plain(headers: &mut HeaderMap) {
    let plain = HeaderValue::from_static("identity");
    headers.insert(header::ACCEPT_ENCODING, plain);
}
