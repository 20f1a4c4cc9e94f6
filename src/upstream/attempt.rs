//! One request on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, StatusCode, Version};
use http_body::Body as _;
use hyper::{Request, Response};
use tokio::sync::Notify;

use super::go_ahead::GoAhead;
use super::pool::{Given, Pool};
use super::received::Arriving;
use super::upload::{self, Limits, Upload};
use super::{Reuse, SendError};
use crate::message::{Body, body};

/// Interim answers (1xx) to one request over HTTP/1.1. One a second is a heartbeat, this many are no
/// answer at all.
const MOST_INTERIM: u32 = 10_000;

/// No answer's head came.
pub(super) struct Failed {
    pub(super) error: SendError,
    /// An idle connection was used, and closed without a byte of an answer.
    pub(super) stale: bool,
}

/// The same request once more, when that can have no effect beyond the first (RFC 9110 §9.2.2).
pub(super) fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(body::empty());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}

/// Sends a request and waits for the head of its answer.
pub(super) async fn attempt(
    (pool, reuse): (&Pool, Reuse),
    request: Request<Body>,
    limits: Limits,
) -> Result<Response<Arriving>, Failed> {
    let (parts, body) = request.into_parts();
    let (upload, mut watch) = upload::watched(body, limits.expects_100);
    let mut request = Request::from_parts(parts, upload);
    let storm = hear_interim(&mut request, watch.go_ahead());
    let given = Given::default();
    let answer = tokio::select! {
        biased;
        answer = pool.send(request, reuse, &given) => answer,
        late = watch.overdue(limits) => Err(late),
        () = storm.notified() => Err(SendError::Cut("it sends interim answers without end".to_owned())),
    };
    let link = given.link();
    match answer {
        Ok(mut answer) => {
            if !watch.is_over() {
                answer.body_mut().go_apart();
            }
            // A connection of HTTP/2 has other requests on it.
            watch.over(link.filter(|_| answer.version() < Version::HTTP_2));
            Ok(answer.map(|body| Arriving::new(body, watch, limits.piece)))
        }
        Err(error) => {
            let error = match link {
                Some(_) => error,
                None => unasked(error, limits),
            };
            let error = watch.broken().map_or(error, SendError::Client);
            let stale =
                matches!(error, SendError::Cut(_)) && link.is_some_and(|link| link.is_stale());
            Err(Failed { error, stale })
        }
    }
}

/// MONEY: a request that was given no connection was not sent. A connection may take longer to come
/// about than an answer may.
fn unasked(error: SendError, limits: Limits) -> SendError {
    match error {
        SendError::TimedOut(_) | SendError::Stalled(_) => SendError::Unreachable(format!(
            "no connection within {} s, the time for an answer (upstream.response_timeout)",
            limits.answer.as_secs_f32()
        )),
        SendError::Unreachable(_) | SendError::Cut(_) | SendError::Client(_) => error,
    }
}

/// Notified when there are too many. hyper skips them without end, each for itself. A 100 lets the
/// body go.
fn hear_interim(request: &mut Request<Upload>, go_ahead: GoAhead) -> Arc<Notify> {
    let storm = Arc::new(Notify::new());
    let (told, seen) = (storm.clone(), AtomicU32::new(0));
    hyper::ext::on_informational(request, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            go_ahead.give();
        }
        if seen.fetch_add(1, Ordering::Relaxed) == MOST_INTERIM {
            told.notify_one();
        }
    });
    storm
}
