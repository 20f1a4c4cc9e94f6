//! What a generation is recognised by.

use bytes::Bytes;
use http::HeaderMap;

use super::asked::Asked;
use super::reading::is_quick;
use super::{Error, Proxy};
use crate::config::Scope;
use crate::generation::{Identity, Kind, Request};

impl Proxy {
    /// What the request is recognised by.
    pub(super) async fn identify(
        &self,
        asked: &Asked,
        take: u32,
        body: &Bytes,
    ) -> Result<Identity, Error> {
        let headers = &asked.parts.headers;
        let request = Request {
            kind: asked.kind,
            path: asked.parts.uri.path(),
            query: asked.target.query(),
            scope: match self.config.cache.scope {
                Scope::Shared => None,
                Scope::Client => Some(&asked.client.name),
            },
            take,
            headers,
            body,
        };
        if is_quick(headers, body.len()) {
            return Ok(request.identify());
        }
        let read = Reading::of(&request);
        Box::pin(self.reading(headers, body.len(), move || read.identify())).await
    }
}

/// What a request is recognised by, for another thread to read.
struct Reading {
    kind: Kind,
    path: String,
    query: Option<String>,
    scope: Option<String>,
    take: u32,
    headers: HeaderMap,
    body: Bytes,
}

impl Reading {
    fn of(request: &Request<'_>) -> Self {
        Self {
            kind: request.kind,
            path: request.path.to_owned(),
            query: request.query.map(str::to_owned),
            scope: request.scope.map(str::to_owned),
            take: request.take,
            headers: request.headers.clone(),
            body: request.body.clone(),
        }
    }

    fn identify(&self) -> Identity {
        let request = Request {
            kind: self.kind,
            path: &self.path,
            query: self.query.as_deref(),
            scope: self.scope.as_deref(),
            take: self.take,
            headers: &self.headers,
            body: &self.body,
        };
        request.identify()
    }
}
