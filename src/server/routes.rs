//! Who answers what: health and metrics here, `/api` the console, everything else the proxy.

use std::sync::atomic::{AtomicU8, Ordering};

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;

use super::figures;
use crate::config::Live;
use crate::console::Console;
use crate::message::{Body, TwoLengths, body};
use crate::metrics::{Metrics, Page, Sort};
use crate::proxy::{Error, Proxy, Told};

/// How far the program is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not everything is there yet.
    Starting = 0,
    /// Everything is.
    Ready = 1,
    /// Ending: what is under way goes on, nothing new should come.
    Draining = 2,
}

/// The table of routes, and the state that `/readyz` tells.
pub struct Routes {
    proxy: Live<Proxy>,
    console: Live<Option<Console>>,
    page: Page,
    metrics: Metrics,
    phase: AtomicU8,
}

impl Routes {
    /// Routes to `proxy`, to `console`, if there is one, and to the `page` of figures; not ready yet.
    pub fn new(proxy: Live<Proxy>, console: Live<Option<Console>>, page: Page) -> Self {
        Self {
            metrics: proxy.load().metrics().clone(),
            proxy,
            console,
            page,
            phase: AtomicU8::new(Phase::Starting as u8),
        }
    }

    /// Moves on to another phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Where events are counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Answers one request; never fails.
    pub(super) async fn answer(&self, request: Box<Request<Body>>) -> Response<Body> {
        let head = request.method() == Method::HEAD;
        let response = self.route(request).await;
        if head {
            without_body(response)
        } else {
            response
        }
    }

    /// Up, not draining, and able to keep what would be paid for.
    async fn is_ready(&self) -> bool {
        self.is_in(Phase::Ready) && self.proxy.load().can_keep().await
    }

    async fn route(&self, request: Box<Request<Body>>) -> Response<Body> {
        let plain = request.extensions().get::<TwoLengths>().is_none();
        let reads = plain && matches!(*request.method(), Method::GET | Method::HEAD);
        let told = Told::of(request.extensions());
        if plain
            && Console::serves(request.uri().path())
            && let Some(console) = self.console.load().as_ref()
        {
            told.is(Sort::Own);
            return Box::pin(console.handle(*request)).await;
        }
        match request.uri().path() {
            path @ ("/healthz" | "/readyz" | "/metrics") if reads => {
                told.is(Sort::Own);
                match path {
                    "/healthz" => ok(),
                    "/readyz" if self.is_ready().await => ok(),
                    "/readyz" => unready(),
                    _ => {
                        let (proxy, console) = (self.proxy.load(), self.console.load());
                        let console = console.as_ref().as_ref();
                        Box::pin(figures::answer(&self.page, &proxy, console, *request)).await
                    }
                }
            }
            _ if self.is_in(Phase::Draining) => {
                let error = Error::ShuttingDown;
                told.refused(error.code());
                error.response()
            }
            // From here to its end, the request goes by this configuration.
            _ => self.proxy.load().handle(request).await,
        }
    }
}

/// The answer to a HEAD: over HTTP/2 nobody else takes the body away (RFC 9110 §9.3.2).
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        head.headers
            .entry(header::CONTENT_LENGTH)
            .or_insert(HeaderValue::from(length));
    }
    Response::from_parts(head, body::empty())
}

fn ok() -> Response<Body> {
    json(StatusCode::OK, r#"{"status":"ok"}"#)
}

fn unready() -> Response<Body> {
    json(
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"status":"unavailable"}"#,
    )
}

fn json(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
