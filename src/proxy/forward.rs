//! Everything else: through, both ways, as it came.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Uri};

use super::reply::{self, Status};
use super::{Error, Proxy};
use crate::message::{Body, body, headers};
use crate::upstream::{Reuse, SendError};

impl Proxy {
    /// Passes a request on and its answer back, both streamed.
    ///
    /// `why` is the reason for not looking into the cache; `paid` says whether the request may
    /// cost money although it is passed by.
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
        (why, paid): (&'static str, bool),
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::from_parts(parts, body);
        *request.uri_mut() = target;
        let wants_trailers = accepts_trailers(request.headers());
        headers::remove_hop_by_hop(request.headers_mut());
        if wants_trailers {
            ask_for_trailers(request.headers_mut());
        }
        let reuse = if paid { Reuse::Fresh } else { Reuse::Pooled };
        let answer = self.upstream.send(request, reuse).await;
        let answer = answer.map_err(|error| refused(error, paid))?;
        let (mut head, body) = answer.into_parts();
        headers::remove_hop_by_hop(&mut head.headers);
        reply::mark(&mut head.headers, Status::Bypass(why), None);
        Ok(Response::from_parts(head, body::boxed(body)))
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

fn refused(error: SendError, paid: bool) -> Error {
    if paid {
        Error::Bypassed(error)
    } else {
        Error::PassedThrough(error)
    }
}
