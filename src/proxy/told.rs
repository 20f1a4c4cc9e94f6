//! What is told of a request once it is over: its line in the log, and its place in the figures.
//!
//! Whoever handles the request writes down what it knows. The end of the answer, or its client's
//! leaving, ends it; a WebSocket the end of its tunnel.
//!
//! SECURITY: no query, no header of the client's, and nothing of a body is ever told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::HeaderValue;
use http::{Extensions, Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::answered::{Answered, Doubtful};
use super::paths::{pattern, printable};
use super::{REQUEST_ID, media};
use crate::message::{Body, headers};
use crate::metrics::{Metrics, Sort};

/// What the lines are found by in `log.level`.
const TARGET: &str = "reprise::request";

/// A request, as it will be told of. It travels as an extension of the request; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Told(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    started: Instant,
    /// Method and path; `None` where no line is written. A path of its own: a slice would hold the buffer
    /// that the request was read into for as long as its answer is waited for.
    asked: Option<(Method, Box<str>)>,
    said: Mutex<Said>,
    received: AtomicU64,
    sent: AtomicU64,
    silent: AtomicBool,
    over: AtomicBool,
}

/// What is known so far.
#[derive(Debug)]
struct Said {
    sort: Sort,
    client: Option<Arc<str>>,
    answered: Answered,
    code: Option<&'static str>,
    status: Option<StatusCode>,
    id: Option<HeaderValue>,
    upstream: Option<Duration>,
    /// When upstream was asked for an answer that passes as it comes.
    passing: Option<Instant>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With its last byte.
    Whole,
    /// It broke off before.
    Broken,
    /// Its client had left before.
    Left,
}

impl How {
    fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Left => "left",
        }
    }
}

impl Told {
    /// A request that has just come. Where its line is not written, nothing of it is copied.
    pub(crate) fn new<B>(request: &Request<B>) -> Self {
        let logged = tracing::enabled!(target: TARGET, tracing::Level::INFO);
        let asked = logged.then(|| (request.method().clone(), request.uri().path().into()));
        Self::of_asked(asked)
    }

    fn of_asked(asked: Option<(Method, Box<str>)>) -> Self {
        Self(Arc::new(Facts {
            started: Instant::now(),
            asked,
            said: Mutex::new(Said {
                sort: Sort::Unread,
                client: None,
                answered: Answered::SERVED,
                code: None,
                status: None,
                id: None,
                upstream: None,
                passing: None,
            }),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }))
    }

    /// The one that a request brings along; one that nobody hears of where it brings none.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let told = extensions.get::<Self>().cloned();
        told.unwrap_or_else(|| Self::of_asked(None))
    }

    /// What the request is about; the last word counts.
    pub(crate) fn is(&self, sort: Sort) {
        self.said().sort = sort;
    }

    pub(super) fn sort(&self) -> Sort {
        self.said().sort
    }

    /// Who asks.
    pub(super) fn comes_from(&self, client: &Arc<str>) {
        if self.0.asked.is_some() {
            self.said().client = Some(client.clone());
        }
    }

    /// Upstream took so long until the head of its answer, or until none could come any longer.
    pub(super) fn upstream(&self, took: Duration) {
        self.said().upstream = Some(took);
    }

    /// Upstream was asked at `asked`, and its answer passes as it comes: both end together.
    pub(super) fn passes(&self, asked: Instant) {
        self.said().passing = Some(asked);
    }

    /// How the answer came about, as its client is told.
    pub(super) fn answered(&self, response: &Response<Body>) {
        let doubtful = response.extensions().get::<Doubtful>().is_some();
        let answered = Answered::read(response.headers());
        self.said().answered = if doubtful {
            // What passed by the cache says why all the same.
            Answered {
                word: Answered::UNKNOWN.word,
                ..answered
            }
        } else {
            answered
        };
    }

    /// The proxy itself answers, with an error; `code` is the envelope's.
    pub(crate) fn refused(&self, code: &'static str) {
        let mut said = self.said();
        said.answered = Answered::of_code(code);
        said.code = Some(code);
    }

    /// The head of the answer, as it goes to the client.
    pub(crate) fn head(&self, response: &Response<Body>) {
        let mut said = self.said();
        said.status = Some(response.status());
        if self.0.asked.is_some() {
            said.id = response.headers().get(REQUEST_ID).cloned();
        }
    }

    /// So many bytes of the request's body came.
    pub(crate) fn received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes of the answer's body went.
    pub(crate) fn sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes of the answer's body went so far.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// The client fell silent in the middle of the request's body.
    pub(crate) fn fell_silent(&self) {
        self.0.silent.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.silent.load(Ordering::Relaxed)
    }

    /// The request is over: it is counted, and its line written. Only the first end counts.
    pub(crate) fn end(&self, metrics: &Metrics, how: How) {
        if self.0.over.swap(true, Ordering::Relaxed) {
            return;
        }
        let said = self.said();
        let answered = said.answered.at_the_end(said.status, how);
        metrics.request(said.sort, answered.word);
        metrics.bytes(self.0.received.load(Ordering::Relaxed), self.bytes_sent());
        if let Some(reason) = answered.reason {
            metrics.bypassed(reason);
        }
        if let Some(code) = said.code {
            metrics.failed(code);
        }
        if let (Some(asked), How::Whole) = (said.passing, how) {
            metrics.upstream_answer(said.sort, asked.elapsed());
        }
        if let Some(asked) = &self.0.asked {
            self.write(asked, &said, (answered, how));
        }
    }

    fn write(
        &self,
        (method, asked): &(Method, Box<str>),
        said: &Said,
        (answered, how): (Answered, How),
    ) {
        let path = media::loggable(asked);
        let path = printable(&path);
        let id = said.id.as_ref().and_then(|id| id.to_str().ok());
        let (id, method) = (id.map(printable), printable(method.as_str()));
        let client = said.client.as_deref();
        let status = said.status.map(|status| status.as_u16());
        let upstream_ms = said.upstream.map(milliseconds);
        let total_ms = milliseconds(self.0.started.elapsed());
        let bytes_in = self.0.received.load(Ordering::Relaxed);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    id = id.as_deref(),
                    client,
                    method = &*method,
                    route = %pattern(asked),
                    path = &*path,
                    kind = said.sort.as_str(),
                    outcome = answered.word,
                    reason = answered.reason,
                    error = said.code,
                    status,
                    upstream_ms,
                    total_ms,
                    bytes_in,
                    bytes_out = self.bytes_sent(),
                    ended = how.as_str(),
                    "request"
                )
            };
        }
        // A supervisor asks for health all day long.
        if said.sort == Sort::Own {
            line!(debug);
        } else {
            line!(info);
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request that never became one, and writes its line: its head could not be read.
pub(crate) fn unread(metrics: &Metrics, response: &Response<Body>, code: &'static str) {
    let outcome = Answered::of_code(code).word;
    metrics.request(Sort::Unread, outcome);
    metrics.failed(code);
    tracing::info!(
        target: TARGET,
        id = headers::text(response.headers(), REQUEST_ID.as_str()),
        kind = Sort::Unread.as_str(),
        outcome,
        error = code,
        status = response.status().as_u16(),
        ended = How::Whole.as_str(),
        "request"
    );
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
