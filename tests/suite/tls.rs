//! HTTPS to upstream: whom the proxy believes, and whom it tells nothing.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::Version;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use reprise::config::BaseUrl;
use reprise::sandbox::{Options, Sandbox};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::house::House;

/// An authority of one's own, and the file that says so.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What a server of this name shows.
    pub(crate) fn server(&self, name: &str, expired: bool, alpn: &[&str]) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

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

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_hears_nothing() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("theirs"));
    let alpn = &["h2", "http/1.1"];
    for (what, tls, ca_file, reason) in [
        (
            "unknown authority",
            ours.server("localhost", false, alpn),
            None,
            "UnknownIssuer",
        ),
        (
            "another authority",
            foreign.server("localhost", false, alpn),
            Some(ours.file()),
            "UnknownIssuer",
        ),
        (
            "another name",
            ours.server("other.example", false, alpn),
            Some(ours.file()),
            "not valid for name",
        ),
        (
            "a certificate of last year",
            ours.server("localhost", true, alpn),
            Some(ours.file()),
            "expired",
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
