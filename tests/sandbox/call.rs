//! A client that waits ten seconds at most.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reprise::sandbox::{Options, Sandbox};
use serde_json::Value;

pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Fails a test that hangs.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what)
        .await
        .expect("nothing happened for a minute")
}

/// A sandbox with the defaults.
pub(crate) async fn sandbox() -> Sandbox {
    Sandbox::start(Options::default()).await.unwrap()
}

#[derive(Clone)]
pub(crate) struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: String,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {} {text}", self.status))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The `data:` lines of an event stream.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        text.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(str::to_owned)
            .collect()
    }
}

/// Why there is no whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    BeforeHead,
    InBody,
}

impl Caller {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            client,
            origin: sandbox.base_url().trim_end_matches("/v1").to_owned(),
        }
    }

    pub(crate) fn http2(sandbox: &Sandbox) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        Self {
            client,
            ..Self::new(sandbox)
        }
    }

    /// A request with a key; `path` may be a whole link.
    pub(crate) fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let uri = if path.starts_with('/') {
            format!("{}{path}", self.origin)
        } else {
            path.into()
        };
        Request::builder()
            .method(method)
            .uri(uri)
            .header(AUTHORIZATION, "Bearer sk-any")
    }

    pub(crate) async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Reply, Broken> {
        let response = soon(self.client.request(request))
            .await
            .map_err(|_| Broken::BeforeHead)?;
        let (head, body) = response.into_parts();
        let body = soon(body.collect())
            .await
            .map_err(|_| Broken::InBody)?
            .to_bytes();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(
            self.request(Method::GET, path)
                .body(Full::default())
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn try_post(&self, path: &str, body: Value) -> Result<Reply, Broken> {
        let request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/json");
        self.try_send(request.body(Full::from(body.to_string())).unwrap())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.try_post(path, body).await.unwrap()
    }

    /// A form of these text fields, and of one file where a name is given for it.
    pub(crate) async fn post_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        file: Option<&str>,
    ) -> Reply {
        let text = |(name, value): &(&str, &str)| {
            format!("--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let upload = |name: &str| {
            format!(
                "--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n12345\r\n"
            )
        };
        let mut body: String = fields.iter().map(text).chain(file.map(upload)).collect();
        body += "--BOUND--\r\n";
        let request = self.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, "multipart/form-data; boundary=BOUND");
        self.send(request.body(Full::from(body)).unwrap()).await
    }
}
