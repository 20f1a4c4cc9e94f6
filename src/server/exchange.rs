//! One request and its answer, between hyper and the routes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::Routes;
use super::framing::Doubt;
use super::refusal;
use super::tally::Tally;
use crate::message::{Body, BodyError, Fragment, Idle, Peer, Silence, TwoLengths, body, headers};
use crate::metrics::UnderWay;
use crate::proxy::{Error, How, Told};

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
        let told = Told::new(&request);
        request.extensions_mut().insert(told.clone());
        let mut underway = Underway {
            tally: self.tally.clone(),
            paced: (request.version() == Version::HTTP_2).then_some(nth),
            _counted: self.routes.metrics().request_begins(),
            routes: self.routes.clone(),
            told: Some(told.clone()),
            how: How::Left,
        };
        // Nobody knows where the next request begins, or wants to.
        let closes = doubt.is_some() || (too_large.is_some() && underway.paced.is_none());
        let routes = self.routes.clone();
        // Boxed, since all who hand it on hold it while its answer is waited for.
        let request = Box::new(request.map(|body| patient(body, self.idle, &told)));
        Box::pin(async move {
            let mut response = match too_large {
                Some(error) => {
                    told.refused(error.code());
                    error.named_response()
                }
                None => routes.answer(request).await,
            };
            if closes {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            if told.is_silent() {
                told.refused(Error::TooSlow.code());
                response = timed_out(&response);
            }
            told.head(&response);
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                underway.tally.upgrade();
                // Its tunnel tells of it.
                underway.told = None;
            }
            if let Some(nth) = underway.paced {
                // Until somebody asks for the first piece.
                underway.tally.paces.gave(nth);
            }
            let length = headers::text(response.headers(), header::CONTENT_LENGTH);
            let length = length.and_then(|length| length.parse().ok());
            Ok(response.map(|body| Answered {
                length: length.or(body.size_hint().exact()),
                body,
                underway,
            }))
        })
    }
}

/// The body of a request, which ends with an error when its client falls silent; `told` hears of that,
/// and of every byte.
fn patient(body: Incoming, limit: Duration, told: &Told) -> Body {
    if body.is_end_stream() {
        return body::empty();
    }
    body::boxed(Arriving {
        body: Idle::new(body, limit, "the client"),
        told: told.clone(),
    })
}

/// The body of a request on its way in.
struct Arriving {
    body: Idle<Incoming>,
    told: Told,
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.told.received(frame.data_ref().map_or(0, Bytes::len));
            }
            Poll::Ready(Some(Err(error))) if error.is::<Silence>() => self.told.fell_silent(),
            Poll::Ready(_) | Poll::Pending => {}
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

/// Counts its request as answered when it is dropped, however that came about, and has it told of.
struct Underway {
    tally: Arc<Tally>,
    /// The request's number, where its pace is looked at.
    paced: Option<u64>,
    _counted: UnderWay,
    routes: Arc<Routes>,
    /// `None` when somebody else tells of it.
    told: Option<Told>,
    /// How its answer ended; it has not, where its client left.
    how: How,
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(nth) = self.paced {
            self.tally.paces.moved(nth);
        }
        if let Some(told) = &self.told {
            told.end(self.routes.metrics(), self.how);
        }
        self.tally.answer();
    }
}

/// The body of an answer. hyper drops it when it has its last byte.
pub(super) struct Answered {
    body: Body,
    /// How long it is, where that is known.
    length: Option<u64>,
    underway: Underway,
}

impl Answered {
    /// Writes down what goes to the client.
    fn note(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) {
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(told), Some(data)) = (&self.underway.told, frame.data_ref()) {
                    told.sent(data.len());
                }
            }
            Poll::Ready(Some(Err(_))) => self.underway.how = How::Broken,
            Poll::Ready(None) if self.underway.how == How::Left => self.underway.how = How::Whole,
            Poll::Ready(None) | Poll::Pending => {}
        }
    }
}

impl Drop for Answered {
    /// hyper need not ask for the end of what it knows the length of.
    fn drop(&mut self) {
        let sent = self.underway.told.as_ref().map_or(0, Told::bytes_sent);
        let all = self.body.is_end_stream() || self.length.is_some_and(|length| sent >= length);
        if all && self.underway.how == How::Left {
            self.underway.how = How::Whole;
        }
    }
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.note(&polled);
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
