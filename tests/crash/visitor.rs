//! Who calls: one connection for each call, and a memory of nothing.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Whoever waits this long for a local answer waits for ever.
const PATIENCE: Duration = Duration::from_mins(1);

/// A call that is put together.
#[derive(Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Bytes,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The connection was refused, or it broke before the answer was whole: what there was of its body.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) Bytes);

impl Call {
    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            body: body.to_string().into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            body: Bytes::new(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cache_control(self, directives: &str) -> Self {
        self.header(CACHE_CONTROL.as_str(), directives)
    }

    /// The whole answer, if it came whole.
    pub(crate) async fn send(&self, addr: SocketAddr) -> Result<Answer, Broken> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("http://{addr}{}", self.path));
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body.clone())).unwrap();
        let exchange = async {
            let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build_http();
            let response = client.request(request).await;
            let response = response.map_err(|_| Broken(Bytes::new()))?;
            let (head, mut body) = response.into_parts();
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    return Err(Broken(read.freeze()));
                };
                if let Ok(piece) = frame.into_data() {
                    read.extend_from_slice(&piece);
                }
            }
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: read.freeze(),
            })
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| panic!("{} {} is not answered", self.method, self.path))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap_or_default())
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.cache_status().starts_with("reprise; hit; key=\"")
    }

    /// Answered from what is kept: a hit, or the submit of a job that still runs.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_hit() || self.cache_status() == "reprise; fwd=miss; collapsed"
    }

    /// Whether the proxy has promised to keep it.
    pub(crate) fn is_promised(&self) -> bool {
        let status = self.cache_status();
        self.status == 200 && (self.is_kept() || status.ends_with("; stored"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn error_code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// One line for a failure.
    pub(crate) fn brief(&self) -> String {
        let body = String::from_utf8_lossy(self.body.get(..300).unwrap_or(&self.body));
        format!("{} [{}] {body}", self.status, self.cache_status())
    }
}
