//! Proxies between this one and upstream, as the environment names them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reprise::config::{BaseUrl, Proxies};
use reprise::sandbox::{Options, Sandbox};
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Authority;
use crate::house::{House, UPSTREAM_KEY};

/// A proxy that leads every tunnel to one place, and keeps what it hears.
struct Waypoint {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// How it answers CONNECT.
#[derive(Clone, Copy)]
enum Manner {
    Connects,
    Answers(&'static str),
    Silent,
}

impl Waypoint {
    async fn new(to: u16, manner: Manner, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heard, tls) = (hearing.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => lead(stream, to, manner, heard).await,
                        Some(tls) => {
                            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                lead(stream, to, manner, heard).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }

    fn has_heard(&self, words: &str) -> bool {
        let heard = self.heard();
        heard
            .windows(words.len())
            .any(|part| part == words.as_bytes())
    }
}

async fn lead<S>(mut stream: S, to: u16, manner: Manner, heard: Arc<Mutex<Vec<u8>>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        question.push(byte);
    }
    heard.lock().unwrap().extend_from_slice(&question);
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Answers(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Manner::Connects => {
            let mut onward = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let made = b"HTTP/1.1 200 Connection established\r\n\r\n";
            stream.write_all(made).await.unwrap();
            let mut bytes = [0; 4096];
            let mut back = [0; 4096];
            loop {
                tokio::select! {
                    Ok(length @ 1..) = stream.read(&mut bytes) => {
                        heard.lock().unwrap().extend_from_slice(&bytes[..length]);
                        onward.write_all(&bytes[..length]).await.unwrap();
                    }
                    Ok(length @ 1..) = onward.read(&mut back) => {
                        stream.write_all(&back[..length]).await.unwrap();
                    }
                    else => return,
                }
            }
        }
    }
}

/// A house whose upstream is `url`, with these variables set.
async fn house(url: &str, env: &[(&str, String)], ca_file: Option<PathBuf>) -> House {
    let env: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let url = BaseUrl::parse(url).unwrap();
    House::new()
        .config(move |config| {
            config.upstream.base_url = url.clone();
            config.upstream.ca_file.clone_from(&ca_file);
            config.upstream.proxies = Proxies::of(&env);
            config.upstream.connect_timeout = Duration::from_secs(2);
        })
        .await
}

async fn upstream(tls: Option<Arc<ServerConfig>>) -> Sandbox {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Sandbox::serve(Options::default(), listener, tls).await
}

#[tokio::test]
async fn a_tunnel_leads_to_upstream_and_its_proxy_never_hears_the_key() {
    let authority = Authority::new("ours");
    let alpn = &["h2", "http/1.1"];
    for through_tls in [false, true] {
        let sandbox = upstream(Some(authority.server("upstream.test", false, alpn))).await;
        let tls = through_tls.then(|| authority.server("localhost", false, &[]));
        let waypoint = Waypoint::new(sandbox.addr().port(), Manner::Connects, tls).await;
        let scheme = if through_tls { "https" } else { "http" };
        let proxy = format!("{scheme}://user:hunter%322@localhost:{}", waypoint.port);
        let house = house(
            "https://upstream.test/v1",
            &[
                ("HTTPS_PROXY", proxy),
                ("HTTP_PROXY", "http://127.0.0.1:1".to_owned()),
            ],
            Some(authority.file()),
        )
        .await;
        let image = json!({"model": "gpt-image-2", "prompt": "a"});
        for _ in 0..2 {
            let call = house.client().post("/v1/images/generations").json(&image);
            assert_eq!(call.send().await.status, 200);
        }
        assert_eq!(sandbox.bill().total(), 1);
        let seen = sandbox.requests();
        assert_eq!(
            seen[0].header("authorization"),
            Some(format!("Bearer {UPSTREAM_KEY}").as_str())
        );
        assert!(seen[0].header("proxy-authorization").is_none());
        assert!(waypoint.heard().starts_with(
            b"CONNECT upstream.test:443 HTTP/1.1\r\nHost: upstream.test:443\r\n\
              Proxy-Authorization: Basic dXNlcjpodW50ZXIyMg==\r\n\r\n"
        ));
        assert!(!waypoint.has_heard(UPSTREAM_KEY) && !waypoint.has_heard("/v1/"));
    }
}

#[tokio::test]
async fn an_upstream_without_tls_is_reached_by_a_tunnel_too() {
    let sandbox = upstream(None).await;
    let waypoint = Waypoint::new(sandbox.addr().port(), Manner::Connects, None).await;
    let proxy = format!("http://127.0.0.1:{}", waypoint.port);
    let house = house(
        "http://upstream.test:8080/v1",
        &[("http_proxy", proxy)],
        None,
    )
    .await;
    assert_eq!(house.client().get("/v1/models").send().await.status, 200);
    assert!(waypoint.has_heard("CONNECT upstream.test:8080 HTTP/1.1\r\n"));
    let seen = sandbox.requests();
    assert_eq!(seen[0].header("host"), Some("upstream.test:8080"));
}

#[tokio::test]
async fn what_a_proxy_says_is_not_taken_for_upstreams_answer() {
    for (manner, reason) in [
        (
            Manner::Answers(
                "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            ),
            "does not take the credentials in its address (407)",
        ),
        (
            Manner::Answers("HTTP/1.1 502 Bad Gateway\r\n\r\nno such host"),
            "answered CONNECT with 502",
        ),
        (Manner::Answers("HTTP/1.1 200"), "broke off"),
        (Manner::Silent, "did not answer CONNECT within 2 s"),
    ] {
        let waypoint = Waypoint::new(1, manner, None).await;
        let proxy = format!("http://user:hunter2@127.0.0.1:{}", waypoint.port);
        let house = house("https://upstream.test/v1", &[("ALL_PROXY", proxy)], None).await;
        let image = json!({"model": "gpt-image-2", "prompt": "a"});
        for _ in 0..2 {
            let call = house.client().post("/v1/images/generations").json(&image);
            let answer = call.send().await;
            assert_eq!(
                (answer.status, answer.error_code().as_str()),
                (502, "upstream_unreachable"),
                "{reason}"
            );
            let message = answer.error_message();
            let named = format!("the proxy 127.0.0.1:{} ", waypoint.port);
            assert!(
                message.contains(&named) && message.contains(reason),
                "{message}"
            );
            assert!(
                !message.contains("hunter2") && !message.contains("user"),
                "{message}"
            );
        }
        assert!(!waypoint.has_heard(UPSTREAM_KEY));
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let house = house(
        "https://upstream.test/v1",
        &[("ALL_PROXY", "http://127.0.0.1:1".to_owned())],
        None,
    )
    .await;
    let answer = house.client().get("/v1/models").send().await;
    let message = answer.error_message();
    assert!(message.contains("the proxy 127.0.0.1:1 "), "{message}");
}

#[tokio::test]
async fn this_machine_is_reached_without_a_proxy() {
    let sandbox = upstream(None).await;
    let waypoint = Waypoint::new(sandbox.addr().port(), Manner::Connects, None).await;
    let proxy = format!("http://127.0.0.1:{}", waypoint.port);
    let house = house(&sandbox.base_url(), &[("ALL_PROXY", proxy)], None).await;
    assert_eq!(house.client().get("/v1/models").send().await.status, 200);
    assert!(waypoint.heard().is_empty());
    assert_eq!(sandbox.requests().len(), 1);
}
