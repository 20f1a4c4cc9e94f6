//! A client as it would be written against any OpenAI-compatible API.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::message::{BodyError, headers};

/// Somebody with a base URL.
pub(super) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
}

/// What came back.
pub(super) struct Answer {
    /// `Cache-Status`.
    pub(super) cache: String,
    pub(super) body: Bytes,
    pub(super) took: Duration,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    pub(super) fn new(base: &str) -> Self {
        let http = Http::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            base: base.to_owned(),
        }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, BodyError> {
        self.send(Method::POST, path, body.to_string()).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, BodyError> {
        self.send(Method::GET, path, String::new()).await
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Answer, BodyError> {
        let started = Instant::now();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", "Bearer any")
            .header("content-type", "application/json")
            .body(Full::from(body))?;
        let response = self.http.request(request).await?;
        let status = response.status();
        let cache = headers::text(response.headers(), "cache-status")
            .unwrap_or_default()
            .to_owned();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(Answer {
            cache,
            body,
            took: started.elapsed(),
        })
    }
}
