//! One request and its answer, between hyper and the routes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::Routes;
use super::framing::Doubt;
use super::refusal;
use super::tally::Tally;
use crate::message::{Body, BodyError, Fragment, Idle, Peer, Silence, TwoLengths, body};
use crate::proxy::Error;

/// The routes as hyper calls them, for one connection.
pub(super) struct Service {
    pub(super) routes: Arc<Routes>,
    pub(super) tally: Arc<Tally>,
    /// How long a request's body may be silent.
    pub(super) idle: Duration,
    /// Both ends of the connection.
    pub(super) peer: Peer,
    /// `server.max_header_bytes`.
    pub(super) largest_head: usize,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Answered>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answered>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (nth, doubt) = self.tally.ask();
        match doubt {
            Some(Doubt::TwoLengths) => drop(request.extensions_mut().insert(TwoLengths)),
            Some(Doubt::Fragment) => drop(request.extensions_mut().insert(Fragment)),
            None => {}
        }
        request.extensions_mut().insert(self.peer);
        let too_large = refusal::too_large(&request, self.largest_head);
        let underway = Underway {
            tally: self.tally.clone(),
            paced: (request.version() == Version::HTTP_2).then_some(nth),
        };
        // Nobody knows where the next request begins, or wants to.
        let closes = doubt.is_some() || (too_large.is_some() && underway.paced.is_none());
        let routes = self.routes.clone();
        let silent = Arc::new(AtomicBool::new(false));
        let request = request.map(|body| patient(body, self.idle, silent.clone()));
        Box::pin(async move {
            let mut response = match too_large {
                Some(error) => error.named_response(),
                None => routes.answer(request).await,
            };
            if closes {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            if silent.load(Ordering::Relaxed) {
                response = timed_out(&response);
            }
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                underway.tally.upgrade();
            }
            if let Some(nth) = underway.paced {
                // Until somebody asks for the first piece.
                underway.tally.paces.gave(nth);
            }
            Ok(response.map(|body| Answered { body, underway }))
        })
    }
}

/// The body of a request, which ends with an error when its client falls silent; `silent` says so
/// to whoever makes the answer.
fn patient(body: Incoming, limit: Duration, silent: Arc<AtomicBool>) -> Body {
    if body.is_end_stream() {
        return body::empty();
    }
    let body = Idle::new(body, limit, "the client");
    body::boxed(body.map_err(move |error: BodyError| {
        if error.is::<Silence>() {
            silent.store(true, Ordering::Relaxed);
        }
        error
    }))
}

/// Whatever the proxy made of a body that did not arrive, the client is told that it was too slow.
fn timed_out(response: &Response<Body>) -> Response<Body> {
    let mut told = Error::TooSlow.response();
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH && !told.headers().contains_key(name) {
            told.headers_mut().insert(name.clone(), value.clone());
        }
    }
    tracing::info!("a client fell silent in the middle of a request's body");
    told
}

/// Counts its request as answered when it is dropped, however that came about.
struct Underway {
    tally: Arc<Tally>,
    /// The request's number, where its pace is looked at.
    paced: Option<u64>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(nth) = self.paced {
            self.tally.paces.moved(nth);
        }
        self.tally.answer();
    }
}

/// The body of an answer. hyper drops it when it has its last byte.
pub(super) struct Answered {
    body: Body,
    underway: Underway,
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Some(nth) = self.underway.paced {
            match polled {
                Poll::Ready(_) => self.underway.tally.paces.gave(nth),
                Poll::Pending => self.underway.tally.paces.moved(nth),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
