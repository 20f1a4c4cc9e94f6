//! The way to the file behind a link.
//!
//! SECURITY: a link that leads to our own upstream goes through [`Upstream::send`], since some need
//! its key; every other one through [`Egress`], which has none. A redirect away from upstream goes on
//! without the key, and whoever stands behind it gets nothing fetched with the key any more.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};

use crate::config::BaseUrl;
use crate::egress::{Destination, Egress, EgressError, Refusal};
use crate::message::{Body, body};
use crate::upstream::{Reuse, Upstream};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 3;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(super) enum Astray {
    /// It leads to where nobody goes.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It did not work this time.
    #[error("{0}")]
    Failed(String),
}

/// An answer that is no redirect.
pub(super) struct Arrived {
    pub(super) answer: Response<Body>,
    /// The last segment of the path that gave it.
    pub(super) file_name: String,
    /// Whether our own upstream gave it.
    pub(super) own: bool,
}

/// Both ways out.
pub(super) struct Way {
    upstream: Arc<Upstream>,
    egress: Egress,
    /// Scheme, host and port of upstream, and what stands before every path of the API.
    own: Option<(String, String)>,
}

impl Way {
    pub(super) fn new(upstream: Arc<Upstream>, egress: Egress, base: &BaseUrl) -> Self {
        let own = Destination::parse(&base.to_string()).ok();
        let own = own.map(|to| (to.to_string(), base.path().to_owned()));
        Self {
            upstream,
            egress,
            own,
        }
    }

    /// Asks for what a link names, with these headers, and follows redirects.
    pub(super) async fn get(&self, link: &str, headers: &HeaderMap) -> Result<Arrived, Astray> {
        let mut to = Destination::parse(link)?;
        let mut trusted = true;
        for _ in 0..=MOST_REDIRECTS {
            let target = self.target(&to).filter(|_| trusted);
            trusted = target.is_some();
            let answer = self.step(&to, target, headers).await?;
            let Some(next) = to.redirected(answer.status(), answer.headers())? else {
                return Ok(Arrived {
                    answer,
                    file_name: to.file_name().to_owned(),
                    own: trusted,
                });
            };
            to = next;
        }
        let why = format!("it was redirected more than {MOST_REDIRECTS} times");
        Err(Astray::Failed(why))
    }

    async fn step(
        &self,
        to: &Destination,
        target: Option<Uri>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Astray> {
        let mut request = Request::new(body::empty());
        *request.headers_mut() = headers.clone();
        let sent = request.headers_mut();
        // Whatever is coded could not be continued, and would not be what it says it is.
        sent.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        let agent = HeaderValue::from_static(concat!("reprise/", env!("CARGO_PKG_VERSION")));
        sent.insert(header::USER_AGENT, agent);
        if let Some(target) = target {
            *request.uri_mut() = target;
            let answer = self.upstream.send(request, Reuse::Pooled).await;
            let answer = answer.map_err(|error| Astray::Failed(error.to_string()))?;
            return Ok(answer.map(body::boxed));
        }
        match self.egress.send(to, request).await {
            Ok(answer) => Ok(answer.map(body::boxed)),
            Err(EgressError::Refused(refusal)) => Err(Astray::Refused(refusal)),
            Err(error) => Err(Astray::Failed(error.to_string())),
        }
    }

    /// Path and query below the API's base, of a destination that belongs to upstream's API.
    fn target(&self, to: &Destination) -> Option<Uri> {
        let (origin, base) = self.own.as_ref()?;
        if to.to_string() != *origin {
            return None;
        }
        let rest = to.path_and_query().strip_prefix(base.as_str())?;
        rest.starts_with('/').then(|| rest.parse().ok())?
    }
}
