//! What is answered below `/api/cache`.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::denied::{Denied, find, removed};
use super::detail::{self, Detail};
use super::listing::{self, Filter};
use super::news::Teller;
use crate::console::Console;
use crate::console::api::{decoded, json, whole};
use crate::console::pipe::{Arriving, Pipe, written};
use crate::console::refusal::Refusal;
use crate::generation::Kind;
use crate::message::{Body, BodyError, body};
use crate::store::{Purge, Store, StoreError, export, purge};

/// How much is kept, in bytes: what there is to be read or written, for a bar.
const KEPT_BYTES: &str = "reprise-kept-bytes";

/// The body of `POST /api/cache/purge`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    older_than_seconds: Option<u64>,
}

impl Console {
    /// Answers a request about what is kept; `below` are the segments behind `/api/cache`.
    pub(in crate::console) async fn answer_cache(
        &self,
        parts: &Parts,
        below: &[&str],
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        let posts = parts.method == Method::POST;
        match below {
            [] if reads => self.list_kept(parts.uri.query().unwrap_or_default()),
            ["purge"] if posts => self.purge(body).await,
            ["verify"] if posts => self.verify(),
            ["export"] if reads => self.export(),
            ["import"] if posts => self.import(body).await,
            ["purge" | "verify" | "export" | "import"] => {
                Err(Refusal::Method(parts.method.to_string()))
            }
            [key] if reads => self.show_kept(&decoded(key)).await,
            [key] if parts.method == Method::DELETE => self.remove(&decoded(key)).await,
            [key, "body"] if reads => self.kept_body(&decoded(key)).await,
            [] | [_] | [_, "body"] => Err(Refusal::Method(parts.method.to_string())),
            [..] => Err(Refusal::not_found(parts)),
        }
    }

    fn list_kept(&self, query: &str) -> Result<Response<Body>, Refusal> {
        let filter = Filter::of_query(query).map_err(Refusal::BadRequest)?;
        self.writing("application/json", move |store, pipe| {
            Ok(listing::write(store, &filter, pipe)??)
        })
    }

    async fn show_kept(&self, digits: &str) -> Result<Response<Body>, Refusal> {
        let digits = digits.to_owned();
        let look = move |store: &dyn Store| Detail::of(store, &find(store, &digits)?);
        json(&self.asking(look).await?)
    }

    async fn kept_body(&self, digits: &str) -> Result<Response<Body>, Refusal> {
        let digits = digits.to_owned();
        let look = move |store: &dyn Store| detail::body(store, &find(store, &digits)?);
        let (body, len) = match self.asking(look).await? {
            Ok(bytes) => (body::full(bytes.clone()), bytes.len() as u64),
            Err((file, len)) => (body::from_file(file, len), len),
        };
        // SECURITY: what upstream or a client chose must not become a page of this origin.
        let mut response = answer("application/octet-stream", body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        let attached = HeaderValue::from_static("attachment");
        headers.insert(header::CONTENT_DISPOSITION, attached);
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        Ok(response)
    }

    async fn remove(&self, digits: &str) -> Result<Response<Body>, Refusal> {
        let digits = digits.to_owned();
        let key = self.asking(move |store| find(store, &digits)).await?;
        let forget = move |store: &dyn Store| Ok(removed(store, key));
        json(&self.shelf.exclusively(key, forget).await??)
    }

    async fn purge(&self, body: Body) -> Result<Response<Body>, Refusal> {
        let bytes = whole(body).await?;
        let wanted: Wanted = serde_json::from_slice(&bytes).map_err(|error| {
            Refusal::BadRequest(format!(
                "The body says not what is to go ({error}); send {{}} for all that is finished, or \
                 {{\"kind\":\"chat\",\"older_than_seconds\":86400}}."
            ))
        })?;
        let what = Purge {
            kind: wanted.kind,
            older_than: wanted.older_than_seconds.map(Duration::from_secs),
        };
        let (others, now) = (self.shelf.clone(), self.proxy.now());
        self.telling(move |store, teller| {
            let mut progress = |more| teller.progress(more);
            purge(store, Some(&others), &what, now, &mut progress)
        })
    }

    fn verify(&self) -> Result<Response<Body>, Refusal> {
        self.telling(|store, teller| store.verify(&mut |more| teller.progress(more)))
    }

    fn export(&self) -> Result<Response<Body>, Refusal> {
        let now = self.proxy.now();
        self.writing("application/x-tar", move |store, mut pipe| {
            let go = &mut |_| std::ops::ControlFlow::Continue(());
            // When nobody reads any longer, it cannot be written any longer.
            match export(store, &mut pipe, now, go) {
                Ok(_) => Ok(()),
                Err(_) if pipe.is_closed() => Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "an export broke off");
                    Err(error.into())
                }
            }
        })
    }

    async fn import(&self, body: Body) -> Result<Response<Body>, Refusal> {
        let _place = self.place()?;
        let imported = self
            .shelf
            .import(Arriving::new(body), |_| std::ops::ControlFlow::Continue(()));
        json(&imported.await.map_err(|error| match error {
            error @ StoreError::NotAnExport(_) => Refusal::BadRequest(error.to_string()),
            error => Refusal::Store(error),
        })?)
    }

    /// A call that reads, and may be denied.
    async fn asking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, Denied> + Send + 'static,
    ) -> Result<T, Refusal> {
        let asked = self.shelf.blocking(|store| Ok(call(store)));
        Ok(asked.await??)
    }

    /// An answer that is written while the store is read.
    fn writing(
        &self,
        content_type: &'static str,
        call: impl FnOnce(&dyn Store, Pipe) -> Result<(), BodyError> + Send + 'static,
    ) -> Result<Response<Body>, Refusal> {
        let place = self.place()?;
        let kept = self.shelf.kept_bytes();
        let reads = self.shelf.clone();
        let body = written(move |pipe| {
            let _place = place;
            call(reads.store(), pipe)
        });
        let mut response = answer(content_type, body);
        let headers = response.headers_mut();
        headers.insert(KEPT_BYTES, HeaderValue::from(kept));
        Ok(response)
    }

    /// An answer that tells how far `call` is, and then what came of it.
    fn telling<T: serde::Serialize>(
        &self,
        call: impl FnOnce(&dyn Store, &mut Teller) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Response<Body>, Refusal> {
        self.writing("application/x-ndjson", move |store, pipe| {
            let mut teller = Teller::new(pipe);
            let end = call(store, &mut teller);
            teller.end(end);
            Ok(())
        })
    }

    /// One of the places for calls that take long.
    pub(in crate::console) fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let places = Arc::clone(&self.places);
        places.try_acquire_owned().map_err(|_| Refusal::Busy)
    }
}

fn answer(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    let fresh = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, fresh);
    response
}
