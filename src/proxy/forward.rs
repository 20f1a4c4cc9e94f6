//! Everything else: through, both ways, as it came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use tokio::time::Instant;

use super::answered::Doubtful;
use super::auth::Client;
use super::reply::{self, Status};
use super::{Error, Proxy, Told, directives, owners};
use crate::generation::Kind;
use crate::generation::outcome::{self, Answer, BodySummary, Verdict};
use crate::jobs::dialect;
use crate::message::{Body, Gather, body, coding, headers, peek};
use crate::upstream::{Received, Reuse, SendError};

/// The largest body of a 500 that is read for its code, as it comes and in its plain form; and how
/// long its end is waited for.
const READ: u64 = 64 * 1024;
const PLAIN: u64 = 1024 * 1024;
const READING: Duration = Duration::from_secs(10);

/// A request that is passed through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    /// Why the cache has nothing to do with it: a token for `Cache-Status`.
    pub(super) why: &'static str,
    /// The kind of generation that it is all the same, and costs money as.
    pub(super) kind: Option<Kind>,
}

impl Passing {
    /// What is no generation at all.
    pub(super) const NO_GENERATION: Self = Self {
        why: "not-a-generation",
        kind: None,
    };
}

impl Proxy {
    /// Passes on what is no generation, and notes whose the things are that it makes.
    ///
    /// # Errors
    /// When no answer's head came.
    pub(super) async fn pass_through(
        self: &Arc<Self>,
        mut parts: Parts,
        target: Uri,
        (body, client): (Body, &Client),
    ) -> Result<Response<Body>, Error> {
        directives::strip(&mut parts.headers);
        if let Some(task) = dialect::deletion_target(&parts.method, parts.uri.path()) {
            let task = task.to_owned();
            return self.delete((parts, target, body), task).await;
        }
        let polled = dialect::poll_target(&parts.method, parts.uri.path());
        if let Some(task) = polled.filter(|task| self.polls.follows(task)) {
            let task = task.to_owned();
            return self.poll_past((parts, target, body), task).await;
        }
        let made_in = self.made_in(&parts, None);
        if made_in.is_some() {
            owners::ask_plain(&mut parts.headers);
        }
        let passing = Passing::NO_GENERATION;
        let answer = self.forward(parts, target, body, passing).await?;
        Ok(match made_in {
            Some(collection) => self.claim(answer, collection, &client.name).await,
            None => answer,
        })
    }

    /// Passes a request on and its answer back, both streamed.
    ///
    /// # Errors
    /// When no answer's head came.
    ///
    /// # Cancel safety
    /// Dropped with its client, it is cancelled upstream.
    pub(super) async fn forward(
        &self,
        parts: Parts,
        target: Uri,
        body: Body,
        Passing { why, kind }: Passing,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::from_parts(parts, body);
        *request.uri_mut() = target;
        if request.version() == Version::HTTP_2 {
            join_cookies(request.headers_mut());
        }
        let wants_trailers = accepts_trailers(request.headers());
        headers::remove_hop_by_hop(request.headers_mut());
        if wants_trailers {
            ask_for_trailers(request.headers_mut());
        }
        let reuse = match kind {
            Some(_) => Reuse::Fresh,
            None => Reuse::Pooled,
        };
        let answer = self.send_passing(request, reuse).await;
        let answer = answer.map_err(|error| refused(error, kind))?;
        let answer = passed(answer, why);
        match kind {
            Some(kind) if outcome::unknown_matters(kind) => Ok(warn_off(kind, answer).await),
            Some(_) | None => Ok(answer),
        }
    }

    /// Sends a request whose answer passes as it comes, and notes how long upstream takes.
    pub(super) async fn send_passing(
        &self,
        request: Request<Body>,
        reuse: Reuse,
    ) -> Result<Response<Received>, SendError> {
        let told = Told::of(request.extensions());
        let asked = Instant::now();
        let answer = self.upstream.send(request, reuse).await;
        told.upstream(asked.elapsed());
        if answer.is_ok() {
            self.metrics.upstream_head(told.sort(), asked.elapsed());
            told.passes(asked);
        }
        answer
    }
}

/// Upstream's answer as its client gets it; `why` it is not kept.
pub(super) fn passed(answer: Response<Received>, why: &'static str) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    // The version is one of the connection to upstream, not of the one to the client.
    head.version = Version::HTTP_11;
    headers::remove_hop_by_hop(&mut head.headers);
    reply::mark(&mut head.headers, Status::Bypass(why), None);
    let body = match body.size_hint().exact() {
        Some(_) => body::boxed(body),
        None => body::boxed(Gather::new(body)),
    };
    Response::from_parts(head, body)
}

/// A client of HTTP/2 may split a cookie over several fields; elsewhere it is one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, whole);
    }
}

/// Whether this hop takes trailers (RFC 9110 §10.1.4). They are end-to-end, the word for them is not.
fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

fn ask_for_trailers(headers: &mut HeaderMap) {
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
}

/// MONEY: where upstream's answer leaves open whether a run was paid for, the stock SDKs are told
/// not to send it twice more. What cannot be read leaves it open. The body passes as it came.
async fn warn_off(kind: Kind, answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    // Of every other answer the status alone decides.
    let (text, body) = if head.status == StatusCode::INTERNAL_SERVER_ERROR {
        let (read, body) = peek(body, READ, READING).await;
        let text = read.and_then(|coded| coding::plain(&head.headers, &coded, PLAIN));
        (text, body)
    } else {
        (Some(Bytes::new()), body)
    };
    let unknown =
        !head.status.is_success() && text.is_none_or(|text| leaves_open(kind, head.status, &text));
    if unknown {
        head.extensions.insert(Doubtful);
        let stop = HeaderValue::from_static("false");
        head.headers.insert("x-should-retry", stop);
    }
    Response::from_parts(head, body)
}

fn leaves_open(kind: Kind, status: StatusCode, text: &[u8]) -> bool {
    let answer = Answer {
        status,
        content_type: None,
        body: BodySummary::Whole(text),
    };
    matches!(outcome::judge(kind, "", &answer), Verdict::Unknown(_))
}

/// MONEY: only where something was sent may a run have been paid for; a request that its client did
/// not send whole was aborted, and is none.
fn refused(error: SendError, kind: Option<Kind>) -> Error {
    match (error, kind) {
        (SendError::Unreachable(reason), Some(_)) => Error::Unreachable(reason),
        (error @ SendError::Client(_), _) | (error, None) => Error::PassedThrough(error),
        (error, Some(_)) => Error::Bypassed(error),
    }
}
