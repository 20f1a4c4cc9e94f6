//! HTTPS to upstream: whom the proxy believes, and whom it tells nothing.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa};
use reprise::config::BaseUrl;
use reprise::sandbox::{Options, Sandbox};
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Authority;
use crate::house::{House, UPSTREAM_KEY};

/// A sandbox behind TLS, and a proxy before it that reaches it by `localhost`.
pub(crate) async fn house(tls: Arc<ServerConfig>, ca_file: Option<PathBuf>) -> (House, Sandbox) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = Sandbox::serve(Options::default(), listener, Some(tls)).await;
    let house = House::new()
        .config(move |config| {
            let url = format!("https://localhost:{port}/v1");
            config.upstream.base_url = BaseUrl::parse(&url).unwrap();
            config.upstream.ca_file.clone_from(&ca_file);
        })
        .await;
    (house, sandbox)
}

#[tokio::test]
async fn an_extra_root_is_believed_in_both_protocols() {
    let authority = Authority::new("ours");
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"][..], Version::HTTP_11),
        (&[][..], Version::HTTP_11),
    ] {
        let tls = authority.server("localhost", false, alpn);
        let (house, sandbox) = house(tls, Some(authority.file())).await;
        let models = house.client().get("/v1/models").send().await;
        assert_eq!(models.status, 200, "{}", models.text());
        let image = json!({"model": "gpt-image-2", "prompt": "a"});
        for client in [house.client(), house.client_h2()] {
            let call = client.post("/v1/images/generations").json(&image);
            assert_eq!(call.send().await.status, 200);
        }
        let large = house.client().get("/v1/bytes/3000000").send().await;
        assert_eq!(large.body.len(), 3_000_000);
        let echo = house
            .client()
            .post("/v1/echo")
            .raw("text/plain", vec![7; 300_000]);
        assert_eq!(echo.send().await.json()["body_length"], 300_000);
        let chat = json!({"model": "grok-4.5", "stream": true, "messages": [{"role": "user", "content": "a"}]});
        let chat = house
            .client()
            .post("/v1/chat/completions")
            .json(&chat)
            .send()
            .await;
        assert!(chat.text().ends_with("data: [DONE]\n\n"));
        assert_eq!(sandbox.bill().total(), 2);
        for seen in sandbox.requests() {
            assert_eq!(seen.version, version, "{alpn:?} {}", seen.route);
            // HTTP/2 has one name for the host, and forbids the headers of HTTP/1 connections.
            assert!(seen.header("connection").is_none());
        }
    }
}

fn early(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2101, 1, 1);
    params.not_after = rcgen::date_time_ymd(2102, 1, 1);
}

fn authoritative(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_hears_nothing() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("theirs"));
    let alpn = &["h2", "http/1.1"];
    for (what, tls, ca_file, reason) in [
        (
            "unknown authority",
            ours.server("localhost", false, alpn),
            None,
            "no root is known that signed its certificate; if it is the right server, set upstream.ca_file",
        ),
        (
            "another authority",
            foreign.server("localhost", false, alpn),
            Some(ours.file()),
            "no root is known that signed its certificate; if it is the right server, set upstream.ca_file",
        ),
        (
            "another name",
            ours.server("other.example", false, alpn),
            Some(ours.file()),
            "its certificate is for other.example, not for localhost",
        ),
        (
            "a certificate of last year",
            ours.server("localhost", true, alpn),
            Some(ours.file()),
            "its certificate expired on 2020-01-01",
        ),
        (
            "a certificate of next century",
            ours.shown(&["localhost"], early).server(alpn),
            Some(ours.file()),
            "valid only from 2101-01-01 on",
        ),
        (
            "an authority's own certificate",
            ours.shown(&["localhost"], authoritative).server(alpn),
            Some(ours.file()),
            "an authority's (CA:TRUE)",
        ),
        (
            "no protocol of ours",
            ours.server("localhost", false, &["smtp"]),
            Some(ours.file()),
            "neither HTTP/2 nor HTTP/1.1",
        ),
    ] {
        let (house, sandbox) = house(tls, ca_file).await;
        let image = json!({"model": "gpt-image-2", "prompt": "a"});
        for call in [
            house.client().get("/v1/models"),
            house.client().post("/v1/images/generations").json(&image),
            house.client().post("/v1/images/generations").json(&image),
            house
                .client()
                .post("/v1/images/generations")
                .cache_control("no-store")
                .json(&image),
        ] {
            let answer = call.send().await;
            // The second image is no 409: nothing was sent, so nothing is in doubt.
            assert_eq!(
                (answer.status, answer.error_code().as_str()),
                (502, "upstream_unreachable"),
                "{what}"
            );
            let message = answer.error_message();
            assert!(message.contains(reason), "{what}: {message}");
        }
        assert_eq!(sandbox.requests().len(), 0, "{what}");
        assert_eq!(sandbox.bill().total(), 0, "{what}");
    }
}

/// No silent step down to plain HTTP.
#[tokio::test]
async fn an_upstream_without_tls_is_not_spoken_to_in_the_clear() {
    let house = House::new().await;
    let port = house.sandbox.addr().port();
    let behind = House::new()
        .config(move |config| {
            let url = format!("https://127.0.0.1:{port}/v1");
            config.upstream.base_url = BaseUrl::parse(&url).unwrap();
        })
        .await;
    let answer = behind.client().get("/v1/models").send().await;
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (502, "upstream_unreachable")
    );
    assert_eq!(house.sandbox.requests().len(), 0);
}

/// A server that answers whatever comes with these bytes and keeps what it hears.
async fn answering(answer: &'static [u8], then_close: bool) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = hearing.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    heard.lock().unwrap().extend_from_slice(&bytes[..length]);
                    if stream.write_all(answer).await.is_err() || then_close {
                        break;
                    }
                }
            });
        }
    });
    (port, heard)
}

/// An alert: fatal, of this number (RFC 8446 §6).
const PROTOCOL_VERSION: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
const CERTIFICATE_REQUIRED: &[u8] = &[21, 3, 3, 0, 2, 2, 116];

/// The hello of a server that chose TLS 1.1: version, random, no session, a cipher, no compression.
const HELLO_OF_TLS_1_1: &[u8] = &[
    22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 47, 0,
];

#[tokio::test]
async fn what_is_wrong_with_a_handshake_is_said_and_the_key_is_not_sent() {
    for (what, answer, then_close, reason) in [
        (
            "plain HTTP",
            &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..],
            true,
            "what it speaks is no TLS",
        ),
        (
            "an alert for the version",
            PROTOCOL_VERSION,
            true,
            "neither TLS 1.3 nor 1.2",
        ),
        (
            "TLS 1.1",
            HELLO_OF_TLS_1_1,
            false,
            "neither TLS 1.3 nor 1.2",
        ),
        (
            "a certificate of the client",
            CERTIFICATE_REQUIRED,
            true,
            "wants a certificate of its clients",
        ),
        (
            "hanging up",
            b"",
            true,
            "closed the connection in the middle of the TLS handshake",
        ),
        (
            "silence",
            b"",
            false,
            "no end of the TLS handshake within 0.3 s",
        ),
    ] {
        let (port, heard) = answering(answer, then_close).await;
        let house = House::new()
            .config(move |config| {
                let url = format!("https://localhost:{port}/v1");
                config.upstream.base_url = BaseUrl::parse(&url).unwrap();
                config.upstream.connect_timeout = Duration::from_millis(300);
            })
            .await;
        let image = json!({"model": "gpt-image-2", "prompt": "a"});
        for _ in 0..2 {
            let call = house.client().post("/v1/images/generations").json(&image);
            let answer = call.send().await;
            // The second one is no 409: nothing was sent, so nothing is in doubt.
            assert_eq!(
                (answer.status, answer.error_code().as_str()),
                (502, "upstream_unreachable"),
                "{what}"
            );
            let message = answer.error_message();
            assert!(message.contains(reason), "{what}: {message}");
        }
        let heard = heard.lock().unwrap();
        assert!(
            heard.starts_with(&[22, 3]),
            "{what}: a handshake, no request"
        );
        let key = UPSTREAM_KEY.as_bytes();
        assert!(!heard.windows(key.len()).any(|part| part == key), "{what}");
    }
}

/// A connection may take longer to come about than an answer may: nothing was sent meanwhile.
#[tokio::test]
async fn a_connection_that_takes_longer_than_an_answer_may_leaves_no_doubt() {
    let (port, heard) = answering(b"", false).await;
    let house = House::new()
        .config(move |config| {
            let url = format!("https://localhost:{port}/v1");
            config.upstream.base_url = BaseUrl::parse(&url).unwrap();
            config.upstream.response_timeout = Duration::from_millis(300);
        })
        .await;
    let image = json!({"model": "gpt-image-2", "prompt": "a"});
    for directive in ["max-age=9", "max-age=9", "no-store"] {
        let call = house.client().post("/v1/images/generations").json(&image);
        let answer = call.cache_control(directive).send().await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (502, "upstream_unreachable"),
            "{directive}"
        );
        let message = answer.error_message();
        assert!(message.contains("upstream.response_timeout"), "{message}");
        assert!(message.contains("nothing was sent"), "{message}");
    }
    assert!(heard.lock().unwrap().starts_with(&[22, 3]), "a handshake");
}

/// An upstream over HTTP/2 whose connections fall silent, one more each time it is told so: they stay
/// open, and nobody reads them.
async fn falling_silent(tls: Arc<ServerConfig>) -> (u16, watch::Sender<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = watch::channel(0);
    // Ends with the runtime of its test.
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(tls);
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
            let service = service_fn(|_| async {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("{}")))
            });
            let server = http2::Builder::new(TokioExecutor::new());
            let mut connection = Box::pin(server.serve_connection(stream, service));
            let before = silent.len();
            tokio::select! {
                _ = &mut connection => {}
                _ = told.wait_for(|count| *count > before) => {}
            }
            silent.push(connection);
        }
    });
    (port, tell)
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_does_not_swallow_what_comes_after() {
    let authority = Authority::new("ours");
    let (port, silence) = falling_silent(authority.server("localhost", false, &["h2"])).await;
    let ca_file = authority.file();
    let house = House::new()
        .config(move |config| {
            let url = format!("https://localhost:{port}/v1");
            config.upstream.base_url = BaseUrl::parse(&url).unwrap();
            config.upstream.ca_file = Some(ca_file.clone());
        })
        .await;
    let models = house.client().get("/v1/models").send().await;
    assert_eq!(models.status, 200, "{}", models.text());
    silence.send_replace(1);
    let mut socket = TcpStream::connect(house.addr()).await.unwrap();
    let request = "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx";
    socket.write_all(request.as_bytes()).await.unwrap();
    // The minute goes by as soon as there is nothing else to do.
    tokio::time::pause();
    let (mut answer, started) = ([0; 12], Instant::now());
    socket.read_exact(&mut answer).await.unwrap();
    let waited = started.elapsed();
    tokio::time::resume();
    assert_eq!(&answer, b"HTTP/1.1 502");
    assert!(waited < Duration::from_mins(1), "{waited:?}");
    let models = house.client().get("/v1/models").send().await;
    assert_eq!(models.status, 200, "{}", models.text());
}

/// Without TLS nothing is known of what upstream speaks: HTTP/2 is not tried.
#[tokio::test]
async fn plain_upstreams_are_spoken_to_in_http_1() {
    let house = House::new().await;
    assert_eq!(house.client_h2().get("/v1/models").send().await.status, 200);
    let seen = house.sandbox.requests();
    assert_eq!(seen[0].version, Version::HTTP_11);
}
