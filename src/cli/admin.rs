//! How a command reaches what is kept: a running proxy through its admin API, the data directory
//! itself while none runs.
//!
//! The directory's LOCK tells which: it is held as long as a process has the directory, and says
//! where that one serves. What it says is not believed once nobody holds it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::Failure;
use crate::config::{self, Config};
use crate::message::{Body, BodyError, body, causes};
use crate::store::{self, Holder, Served};
use crate::tls;

/// How long a connection to the proxy may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take: a listing reads every record.
pub(super) const ANSWER: Duration = Duration::from_mins(2);
/// How long a proxy that is starting is waited for until it says where it serves.
const STARTING: Duration = Duration::from_secs(3);
/// The largest answer that is read, in bytes: a few hundred thousand jobs.
const LARGEST: usize = 128 * 1024 * 1024;

/// What makes a running proxy answer.
const ENABLE: &str = "set console.enabled = true in its proxy.toml, which it takes up at once";

/// Where what is kept can be asked for.
pub(super) enum Reach {
    /// At this proxy.
    Running(Box<Admin>),
    /// In the directory: no process has it.
    Stopped,
}

impl Reach {
    /// Finds out whether a process has the data directory, and where it serves.
    ///
    /// # Errors
    /// When one has it that cannot be asked.
    pub(super) async fn find(
        config: &Config,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let dir = &config.data_dir;
        let deadline = Instant::now() + STARTING;
        let at = loop {
            match store::holder(dir)? {
                None => return Ok(Self::Stopped),
                Some(Holder { at: Some(at), .. }) => break at,
                Some(holder) if Instant::now() >= deadline => {
                    return Err(Failure::Runtime(format!(
                        "{} is in use by {holder}, which does not say where it serves: try again \
                         when it does, or has ended",
                        dir.display()
                    )));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let token = match config::admin_token(config, env)? {
            Some(token) => Some(token),
            None => store::admin_token(dir)?,
        };
        let token = token.ok_or_else(|| {
            Failure::Runtime(format!(
                "the proxy at {at} is running, and there is no admin-token in {} to ask it with: \
                 {ENABLE}; or give this command the variable that its console.token_env names; or \
                 stop it first",
                dir.display()
            ))
        })?;
        Ok(Self::Running(Box::new(Admin::new(at, token)?)))
    }
}

/// The admin API of a running proxy.
pub(super) struct Admin {
    /// `http://ADDR` or `https://ADDR`.
    origin: String,
    token: SecretString,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl Admin {
    /// SECURITY: over TLS the token goes only to who has the key of the certificate that the holder
    /// of the directory wrote into it; its name and its authority are of no account.
    fn new(at: Served, token: SecretString) -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.enforce_http(false);
        let untold = blake3::Hash::from_bytes([0; blake3::OUT_LEN]);
        let config = tls::pinned(at.certificate.unwrap_or(untold))
            .map_err(|error| Failure::Runtime(error.to_string()))?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(config);
        let connector = match at.certificate {
            Some(_) => connector.https_only(),
            None => connector.https_or_http(),
        };
        let at = Served {
            addr: reachable(at.addr),
            ..at
        };
        Ok(Self {
            origin: at.to_string(),
            token,
            client: Client::builder(TokioExecutor::new())
                .build(connector.enable_http1().wrap_connector(tcp)),
        })
    }

    /// Asks for something. `path` begins with `/api/`.
    ///
    /// # Errors
    /// When the proxy does not answer, or refuses; then its message is the error.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Bytes,
    ) -> Result<T, Failure> {
        self.call(Method::POST, path, body).await
    }

    /// Has something taken away.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }

    /// Begins an exchange of any length; the answer is one that went well.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        sent: Body,
    ) -> Result<Response<Body>, Failure> {
        let request = self.request(method, path, sent);
        let response = self.client.request(request).await.map_err(|error| {
            let why = tls::why(&error).unwrap_or_else(|| causes(&error));
            self.failed(&format!("does not answer: {why}"))
        })?;
        let (head, body) = response.into_parts();
        let body = body::boxed(body.map_err(BodyError::from));
        if head.status == StatusCode::OK {
            return Ok(Response::from_parts(head, body));
        }
        let bytes = body::collect(body, LARGEST).await.unwrap_or_default();
        Err(self.refusal(head.status, &bytes))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        sent: Bytes,
    ) -> Result<T, Failure> {
        let exchange = async {
            let answer = self.open(method, path, body::full(sent)).await?;
            let bytes = body::collect(answer.into_body(), LARGEST).await;
            bytes.map_err(|error| self.failed(&format!("broke off: {error}")))
        };
        let late = || self.failed(&format!("did not answer within {} s", ANSWER.as_secs()));
        let bytes = tokio::time::timeout(ANSWER, exchange)
            .await
            .map_err(|_| late())??;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error))
    }

    /// What the proxy did instead, in words that follow its name.
    pub(super) fn failed(&self, what: &str) -> Failure {
        Failure::Runtime(format!("the proxy at {} {what}", self.origin))
    }

    /// It said something that cannot be read.
    pub(super) fn strange(&self, error: &serde_json::Error) -> Failure {
        self.failed(&format!("gave an answer of another version: {error}"))
    }

    fn request(&self, method: Method, path: &str, sent: Body) -> Request<Body> {
        let mut request = Request::new(sent);
        *request.method_mut() = method;
        // An address and a path that is encoded make a URI; `/` would be answered with 404.
        *request.uri_mut() = format!("{}{path}", self.origin).parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Ok(mut value) =
            HeaderValue::try_from(format!("Bearer {}", self.token.expose_secret()))
        {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        request
    }

    fn refusal(&self, status: StatusCode, bytes: &[u8]) -> Failure {
        let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| answer.get("error")?.get(name)?.as_str();
        if text("code") == Some("not_found") {
            return Failure::Runtime(format!(
                "the proxy at {} does not serve the admin API: {ENABLE}, or stop it first",
                self.origin
            ));
        }
        let message = match text("message") {
            Some(message) => printable(message),
            None => format!("the proxy at {} answered {status}", self.origin),
        };
        Failure::Runtime(message)
    }
}

/// An address to connect to, also when all are listened on.
pub(super) fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}

/// SECURITY: what clients and upstream chose must not steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' => '\n',
            letter if letter.is_control() => '?',
            letter => letter,
        })
        .collect()
}

/// A segment of a path, percent-encoded (RFC 3986 §2.3).
pub(super) fn segment(text: &str) -> String {
    // A dot is encoded too: a segment of dots would be taken for a way up.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_is_one_segment() {
        for (id, expected) in [
            ("task_Xy-1", "task_Xy-1"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("..", "%2E%2E"),
            ("ä%", "%C3%A4%25"),
        ] {
            assert_eq!(segment(id), expected);
        }
    }

    #[test]
    fn every_address_can_be_connected_to() {
        for (bound, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("192.168.1.5:1", "192.168.1.5:1"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn a_refusal_says_what_the_proxy_said() {
        let at = Served {
            addr: "127.0.0.1:1".parse().unwrap(),
            certificate: None,
        };
        let admin = Admin::new(at, SecretString::from("t")).unwrap();
        for (body, expected) in [
            (
                r#"{"error":{"message":"No\u001b[2J","code":"x"}}"#,
                "No?[2J",
            ),
            (
                r#"{"error":{"message":"gone","code":"not_found"}}"#,
                "the proxy at http://127.0.0.1:1 does not serve the admin API: set \
                 console.enabled = true in its proxy.toml, which it takes up at once, or stop it \
                 first",
            ),
            (
                "<html>",
                "the proxy at http://127.0.0.1:1 answered 418 I'm a teapot",
            ),
        ] {
            let failure = admin.refusal(StatusCode::IM_A_TEAPOT, body.as_bytes());
            assert_eq!(failure.to_string(), expected);
        }
    }
}
