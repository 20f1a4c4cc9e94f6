//! What a generation is recognised by.

use bytes::Bytes;
use http::HeaderMap;

use super::generate::Asked;
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
        let scope = match self.config.cache.scope {
            Scope::Shared => None,
            Scope::Client => Some(asked.client.name.clone()),
        };
        let read = Reading {
            kind: asked.kind,
            path: asked.parts.uri.path().to_owned(),
            query: asked.target.query().map(str::to_owned),
            scope,
            take,
            headers: asked.parts.headers.clone(),
            body: body.clone(),
        };
        let headers = &asked.parts.headers;
        self.reading(headers, body.len(), move || read.identify())
            .await
    }
}

/// What a request is recognised by, for whichever thread reads it.
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
