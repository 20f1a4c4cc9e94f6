//! Who answers what below `/api`.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use http_body_util::LengthLimitError;
use serde::Serialize;

use super::Console;
use super::decision::Decision;
use super::jobs::{Census, Job, JobDetail, Seen};
use super::pick::{note_of, pick};
use super::refusal::Refusal;
use crate::generation;
use crate::message::{Body, body};
use crate::store::Store;

/// The largest body of a request: a decision takes a few hundred bytes.
pub(super) const LARGEST: usize = 64 * 1024;

impl Console {
    /// Answers a request that was let in.
    pub(super) async fn answer(
        &self,
        parts: &Parts,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let path = parts.uri.path();
        let rest = path.strip_prefix("/api/").unwrap_or_default();
        let segments: Vec<&str> = rest.split('/').collect();
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        match segments.as_slice() {
            ["cache", below @ ..] => self.answer_cache(parts, below, body).await,
            ["stats"] if reads => self.stats(parts).await,
            ["jobs"] if reads => self.list(parts).await,
            ["jobs", id] if reads && !id.is_empty() => self.show(&decoded(id)).await,
            ["jobs", key, "resolve"] if parts.method == Method::POST => {
                self.resolve(&decoded(key), body).await
            }
            ["stats" | "jobs"] | ["jobs", _] | ["jobs", _, "resolve"] => {
                Err(Refusal::Method(parts.method.to_string()))
            }
            _ => Err(Refusal::not_found(parts)),
        }
    }

    async fn list(&self, parts: &Parts) -> Result<Response<Body>, Refusal> {
        let all = wants_all(parts.uri.query().unwrap_or_default())?;
        let jobs: Vec<Job> = self
            .jobs()
            .await?
            .into_iter()
            .filter(|detail| all || detail.is_open())
            .map(|detail| detail.job)
            .collect();
        json(&jobs)
    }

    async fn show(&self, id: &str) -> Result<Response<Body>, Refusal> {
        let jobs = self.jobs().await?;
        let detail = pick(&jobs, id)?.clone();
        let task_id = detail.job.task_id.as_deref();
        let prospect = task_id.and_then(|id| self.proxy().prospect(id));
        let deliveries = match task_id.map(str::to_owned) {
            Some(id) => {
                let of_job = move |store: &dyn Store| store.deliveries_of(&id);
                self.shelf.blocking(of_job).await?
            }
            None => Vec::new(),
        };
        let detail = detail.with_callbacks(&deliveries);
        json(&detail.seen_at(self.proxy().now(), prospect))
    }

    async fn resolve(&self, key: &str, body: Body) -> Result<Response<Body>, Refusal> {
        let bytes = whole(body).await?;
        let decision: Decision = serde_json::from_slice(&bytes).map_err(|error| {
            Refusal::BadRequest(format!(
                "The body is no decision ({error}); send {{\"action\":\"rerun\"}}, \
                 {{\"action\":\"forget\"}} or {{\"action\":\"task\",\"task_id\":\"…\"}}."
            ))
        })?;
        let resolution = decision.clone().resolution().map_err(Refusal::BadRequest)?;
        let key = note_of(&self.census().await?, key)??;
        let intent = self.proxy().resolve(key, resolution).await?;
        json(&decision.done(key, intent.kind))
    }

    async fn jobs(&self) -> Result<Vec<JobDetail>, Refusal> {
        let proxy = self.proxy();
        let once = proxy.once();
        // Asked before the store and after: a call that ends in between must not look like one
        // that nobody knows about.
        let mut under_way: HashSet<_> = once.keys_under_way().into_iter().collect();
        under_way.extend(once.notes_under_way().await?);
        let census = self.census().await?;
        under_way.extend(once.keys_under_way());
        under_way.extend(once.notes_under_way().await?);
        Ok(census.jobs(|key| Seen {
            under_way: under_way.contains(key),
            callers: once.callers(key),
        }))
    }

    async fn census(&self) -> Result<Census, Refusal> {
        Ok(self.shelf.blocking(Census::of_store).await?)
    }
}

/// Reads `all` from a query.
fn wants_all(query: &str) -> Result<bool, Refusal> {
    let mut all = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        all = match pair {
            "all" | "all=1" | "all=true" => true,
            "all=0" | "all=false" => false,
            _ => {
                let message = "The only thing to ask for here is all=1.".to_owned();
                return Err(Refusal::BadRequest(message));
            }
        };
    }
    Ok(all)
}

/// The body of a request that is small.
pub(super) async fn whole(body: Body) -> Result<Bytes, Refusal> {
    body::collect(body, LARGEST).await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Refusal::TooLarge(LARGEST)
        } else {
            Refusal::BadRequest(format!(
                "The request's body did not arrive whole ({error})."
            ))
        }
    })
}

pub(super) fn decoded(segment: &str) -> Cow<'_, str> {
    match generation::percent_decoded(segment.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(segment),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

pub(super) fn json(answer: &impl Serialize) -> Result<Response<Body>, Refusal> {
    let text = serde_json::to_vec(answer)
        .map_err(|error| Refusal::BadRequest(format!("It has no form in JSON: {error}")))?;
    let mut response = Response::new(body::full(text));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let fresh = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, fresh);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_asked_for_in_few_words() {
        for (query, expected) in [
            ("", Some(false)),
            ("all=1", Some(true)),
            ("all", Some(true)),
            ("all=true&", Some(true)),
            ("all=1&all=0", Some(false)),
            ("all=2", None),
            ("al=1", None),
        ] {
            assert_eq!(wants_all(query).ok(), expected, "{query}");
        }
    }

    #[test]
    fn an_id_may_be_encoded() {
        assert_eq!(decoded("task_1"), "task_1");
        assert_eq!(decoded("a%2Fb%20c"), "a/b c");
        assert_eq!(decoded("%ff"), "\u{fffd}");
    }
}
