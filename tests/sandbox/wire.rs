//! Sockets, versions, mirrors, and the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reprise::sandbox::{Options, Sandbox, Seen};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::call::{Caller, sandbox, soon};

#[tokio::test]
async fn what_arrived_is_written_down() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let request = caller
        .request(Method::POST, "/v1/echo/a%2Fb?x=1&y=%20")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .body(Full::from("hello"))
        .unwrap();
    let mirror = caller.send(request).await.json();
    assert_eq!(
        (&mirror["method"], &mirror["uri"]),
        (&json!("POST"), &json!("/v1/echo/a%2Fb?x=1&y=%20"))
    );
    assert_eq!(
        mirror["body_blake3"],
        blake3::hash(b"hello").to_hex().as_str()
    );
    let seen = sandbox.requests().remove(0);
    assert_eq!(seen.route, "POST /v1/echo/a%2Fb");
    assert_eq!(
        (seen.uri.to_string().as_str(), seen.version),
        ("/v1/echo/a%2Fb?x=1&y=%20", Version::HTTP_11)
    );
    assert_eq!((&seen.body[..], seen.body_length), (&b"hello"[..], 5));
    assert_eq!(seen.header("authorization"), Some("Bearer sk-any"));
    let twice: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| name == "x-twice")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(twice, ["one", "two"]);
}

#[tokio::test]
async fn trailers_of_a_request_are_mirrored() {
    let sandbox = sandbox().await;
    let mut socket = TcpStream::connect(sandbox.addr()).await.unwrap();
    let head = "POST /v1/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\nconnection: close\r\n\
                trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut got = String::new();
    soon(socket.read_to_string(&mut got)).await.unwrap();
    assert!(got.contains(r#""trailers":[["x-sum","7"]]"#), "{got}");
}

#[tokio::test]
async fn http2_on_the_same_port() {
    let sandbox = sandbox().await;
    let caller = Caller::http2(&sandbox);
    let gate = sandbox.hold("/v1/bytes");
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.get("/v1/bytes/200000").await.body })
        })
        .collect();
    soon(gate.arrived(5)).await;
    gate.release();
    for call in calls {
        let body = soon(call).await.unwrap();
        assert_eq!(body.len(), 200_000);
        assert!(
            body.iter()
                .enumerate()
                .all(|(at, byte)| usize::from(*byte) == at % 251)
        );
    }
    assert!(
        sandbox
            .requests()
            .iter()
            .all(|seen| seen.version == Version::HTTP_2)
    );
    sandbox.on("/v1/bytes").cut_after(10);
    let request = caller
        .request(Method::GET, "/v1/bytes/100")
        .body(Full::default())
        .unwrap();
    assert!(caller.try_send(request).await.is_err());
    let head = caller
        .request(Method::HEAD, "/v1/echo")
        .body(Full::default())
        .unwrap();
    assert_eq!(caller.send(head).await.body.len(), 0);
}

#[tokio::test]
async fn a_live_echo_answers_while_it_is_asked() {
    let sandbox = sandbox().await;
    let mut socket = TcpStream::connect(sandbox.addr()).await.unwrap();
    let head = "POST /v1/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\nx-sandbox-echo: body\r\n\
                x-sandbox-trailer: fin\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.windows(5).any(|five| five == b"first") {
        soon(socket.read_buf(&mut got)).await.unwrap();
    }
    socket.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    while !got.ends_with(b"\r\n\r\n") || !got.windows(6).any(|six| six == b"second") {
        assert!(
            soon(socket.read_buf(&mut got)).await.unwrap() > 0,
            "{}",
            String::from_utf8_lossy(&got)
        );
    }
    assert!(
        String::from_utf8_lossy(&got).contains("x-sandbox-end: fin"),
        "{}",
        String::from_utf8_lossy(&got)
    );
}

#[tokio::test]
async fn an_upgrade_mirrors_bytes() {
    let sandbox = sandbox().await;
    let mut socket = TcpStream::connect(sandbox.addr()).await.unwrap();
    let head = "GET /v1/echo/ws HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        assert!(soon(socket.read_buf(&mut got)).await.unwrap() > 0);
    }
    assert!(
        got.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&got)
    );
    socket.write_all(b"\x00raw\xff").await.unwrap();
    let mut back = [0; 5];
    soon(socket.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"\x00raw\xff");
}

#[tokio::test]
async fn tls_with_both_versions() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sandbox = Sandbox::serve(Options::default(), listener, Some(Arc::new(server))).await;
    assert!(sandbox.base_url().starts_with("https://127.0.0.1:"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for protocol in ["http/1.1", "h2"] {
        client.alpn_protocols = vec![protocol.into()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client.clone()));
        let tcp = TcpStream::connect(sandbox.addr()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = soon(connector.connect(name, tcp)).await.unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            Some(protocol.as_bytes())
        );
        let uri = format!("https://localhost:{}/v1/models", sandbox.addr().port());
        let request = hyper::Request::get(uri).header("authorization", "Bearer k");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let io = TokioIo::new(stream);
        let response = if protocol == "h2" {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            soon(sender.send_request(request)).await.unwrap()
        } else {
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            soon(sender.send_request(request)).await.unwrap()
        };
        assert_eq!(response.status(), 200);
        let body = soon(response.into_body().collect())
            .await
            .unwrap()
            .to_bytes();
        assert!(!body.is_empty());
    }
    let versions: Vec<Version> = sandbox.requests().iter().map(|seen| seen.version).collect();
    assert_eq!(versions, [Version::HTTP_11, Version::HTTP_2]);
}

#[tokio::test]
async fn a_cut_http2_connection_takes_its_requests_along() {
    let sandbox = sandbox().await;
    let caller = Caller::http2(&sandbox);
    let gate = sandbox.hold("GET /v1/bytes");
    sandbox.on("GET /v1/models").close_before_head();
    let held = tokio::spawn({
        let request = caller
            .request(Method::GET, "/v1/bytes/9")
            .body(Full::default())
            .unwrap();
        let caller = caller.clone();
        async move { caller.try_send(request).await }
    });
    soon(gate.arrived(1)).await;
    let request = caller
        .request(Method::GET, "/v1/models")
        .body(Full::default())
        .unwrap();
    assert!(caller.try_send(request).await.is_err());
    assert!(soon(held).await.unwrap().is_err());
    let abandoned = async {
        while !sandbox.requests().iter().all(Seen::is_abandoned) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(abandoned).await;
}

#[tokio::test]
async fn stop_closes_everything() {
    let sandbox = sandbox().await;
    let gate = sandbox.hold("POST /v1/chat");
    let held: Vec<_> = [Caller::new(&sandbox), Caller::http2(&sandbox)]
        .into_iter()
        .map(|caller| {
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
            tokio::spawn(
                async move { caller.try_post("/v1/chat/completions", body).await.is_err() },
            )
        })
        .collect();
    soon(gate.arrived(2)).await;
    let addr = sandbox.addr();
    tokio::time::timeout(Duration::from_secs(4), sandbox.stop())
        .await
        .expect("it stops by itself");
    for held in held {
        assert!(soon(held).await.unwrap(), "the held request was cut");
    }
    assert!(TcpStream::connect(addr).await.is_err());
}
