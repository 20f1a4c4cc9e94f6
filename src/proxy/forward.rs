//! Everything else: through, both ways, as it came.

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
        headers::remove_hop_by_hop(request.headers_mut());
        let reuse = if paid { Reuse::Fresh } else { Reuse::Pooled };
        let answer = self.upstream.send(request, reuse).await;
        let answer = answer.map_err(|error| refused(error, paid))?;
        let (mut head, body) = answer.into_parts();
        headers::remove_hop_by_hop(&mut head.headers);
        reply::mark(&mut head.headers, Status::Bypass(why), None);
        Ok(Response::from_parts(head, body::boxed(body)))
    }
}

fn refused(error: SendError, paid: bool) -> Error {
    if paid {
        Error::Bypassed(error)
    } else {
        Error::PassedThrough(error)
    }
}
