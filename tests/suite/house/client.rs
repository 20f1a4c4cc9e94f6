//! Who comes to the door: a client, the call it makes, and the call while it is under way.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Builder;
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Connections;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Answer, Broken, Opened, soon};

/// One client with its own connections.
#[derive(Clone)]
pub(crate) struct Client {
    connections: Connections<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: &'static str,
    addr: SocketAddr,
}

impl Client {
    pub(super) fn new(addr: SocketAddr, http2: bool) -> Self {
        let nobody = ClientConfig::builder_with_provider(reprise::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Self {
            scheme: "http",
            ..Self::secure(addr, http2, nobody)
        }
    }

    /// One that comes over TLS and offers HTTP/2, or only HTTP/1.1.
    pub(crate) fn secure(addr: SocketAddr, http2: bool, tls: ClientConfig) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http();
        let connector = if http2 {
            connector.enable_all_versions().build()
        } else {
            connector.enable_http1().build()
        };
        let connections = Connections::builder(TokioExecutor::new())
            .http2_only(http2)
            .build(connector);
        Self {
            connections,
            scheme: "https",
            addr,
        }
    }

    /// A call of any method; `target` is a path with its query, or a whole link.
    pub(crate) fn call(&self, method: Method, target: &str) -> Call {
        let uri = if target.starts_with('/') {
            format!("{}://{}{target}", self.scheme, self.addr)
        } else {
            target.to_owned()
        };
        Call {
            client: self.clone(),
            builder: Request::builder().method(method).uri(uri),
            body: Bytes::new(),
        }
    }

    pub(crate) fn get(&self, target: &str) -> Call {
        self.call(Method::GET, target)
    }

    pub(crate) fn post(&self, target: &str) -> Call {
        self.call(Method::POST, target)
    }
}

/// A request that is being put together.
pub(crate) struct Call {
    client: Client,
    builder: Builder,
    body: Bytes,
}

impl Call {
    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Presents a client key.
    pub(crate) fn key(mut self, key: &str) -> Self {
        let value = HeaderValue::try_from(format!("Bearer {key}")).unwrap();
        self.builder = self.builder.header(AUTHORIZATION, value);
        self
    }

    /// Sends `Cache-Control`.
    pub(crate) fn cache_control(self, directives: &str) -> Self {
        self.header("cache-control", directives)
    }

    /// A JSON body, as serde writes it.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.json_text(body.to_string())
    }

    /// A JSON body, letter for letter.
    pub(crate) fn json_text(self, body: impl Into<Bytes>) -> Self {
        self.raw("application/json", body)
    }

    /// Any body; no content type when that is empty.
    pub(crate) fn raw(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        if !content_type.is_empty() {
            self.builder = self.builder.header(CONTENT_TYPE, content_type);
        }
        self.body = body.into();
        self
    }

    /// A form as its parts say.
    pub(crate) fn form(self, form: &Form) -> Self {
        let content_type = format!("multipart/form-data; boundary={}", form.boundary);
        self.raw(&content_type, form.body())
    }

    /// Sends it and waits for the head.
    pub(crate) async fn open(self) -> Result<Opened, Broken> {
        let request = self.builder.body(Full::new(self.body)).unwrap();
        let response = soon(self.client.connections.request(request)).await;
        response.map(Opened::new).map_err(|_| Broken::BeforeHead)
    }

    /// Sends it and waits for the whole answer, or says where it broke off.
    pub(crate) async fn try_send(self) -> Result<Answer, Broken> {
        self.open().await?.rest().await
    }

    /// Sends it and waits for the whole answer.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("an answer that is whole")
    }

    /// Sends it while the test goes on.
    pub(crate) fn begin(self) -> Underway {
        Underway(tokio::spawn(self.try_send()))
    }
}

/// A call that somebody waits for. Dropping it does not hang up; [`Underway::leave`] does.
pub(crate) struct Underway(JoinHandle<Result<Answer, Broken>>);

impl Underway {
    /// The whole answer, or where it broke off.
    pub(crate) async fn try_answer(self) -> Result<Answer, Broken> {
        soon(self.0).await.unwrap()
    }

    /// The whole answer.
    pub(crate) async fn answer(self) -> Answer {
        self.try_answer().await.expect("an answer that is whole")
    }

    /// Whether the answer, or its end, is there.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Hangs up.
    pub(crate) async fn leave(self) {
        self.0.abort();
        assert!(self.0.await.is_err(), "it was answered before it left");
    }
}

/// A multipart form, part by part.
#[derive(Clone)]
pub(crate) struct Form {
    boundary: String,
    parts: Vec<(String, Vec<u8>)>,
}

impl Form {
    pub(crate) fn new(boundary: &str) -> Self {
        Self {
            boundary: boundary.to_owned(),
            parts: Vec::new(),
        }
    }

    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\n");
        self.parts.push((head, value.as_bytes().to_vec()));
        self
    }

    pub(crate) fn file(mut self, name: &str, file: (&str, &str), bytes: &[u8]) -> Self {
        let (file_name, content_type) = file;
        let mut head = format!(
            "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n"
        );
        if !content_type.is_empty() {
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        self.parts.push((head, bytes.to_vec()));
        self
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (head, bytes) in &self.parts {
            body.extend_from_slice(format!("--{}\r\n{head}\r\n", self.boundary).as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        body
    }
}
