//! TLS and proxies as whoever runs the program meets them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use reprise::sandbox::{Options, Sandbox};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::call::soon;
use crate::program::{Home, KEY, Program};

struct Pair {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn pair(name: &str, expired: bool) -> Pair {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Pair {
        certificate: certificate.der().clone(),
        pem: certificate.pem(),
        key,
    }
}

fn put(home: &Home, name: &str, text: &str, mode: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let aside = home.write("aside", text);
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(mode)).unwrap();
    let path = home.path(name);
    std::fs::rename(aside, &path).unwrap();
    path
}

/// Puts the pair where the configuration says.
fn serve_with(home: &Home, pair: &Pair) {
    put(home, "cert.pem", &pair.pem, 0o644);
    put(home, "key.pem", &pair.key.serialize_pem(), 0o600);
}

const CONFIG: &str = "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";

/// The status of a GET by a client that believes this certificate alone.
async fn status(url: &str, pair: &Pair) -> Result<u16, String> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(reprise::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_all_versions()
        .build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let response = soon(client.get(url.parse().unwrap())).await;
    response
        .map(|response| response.status().as_u16())
        .map_err(|error| format!("{error:?}"))
}

/// Waits for the first line, and gives `https://ADDR`.
async fn listening(program: &mut Program) -> String {
    program.says("OPENAI_BASE_URL=").await;
    let err = program.err();
    let (_, rest) = err.split_once("listening on ").unwrap();
    rest.lines().next().unwrap().to_owned()
}

async fn list(home: &Home) -> crate::program::Ended {
    home.run(&["jobs", "list", "--json", "--data-dir", "data"])
        .await
}

#[tokio::test]
async fn https_from_the_first_line_to_a_renewal() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    let (first, second) = (pair("127.0.0.1", false), pair("localhost", false));
    serve_with(&home, &first);
    home.write("proxy.toml", CONFIG);
    let mut program = Program::start(&mut home.serving(&sandbox));
    let origin = listening(&mut program).await;
    assert!(origin.starts_with("https://127.0.0.1:"), "{origin}");
    let line = format!("export OPENAI_BASE_URL={origin}/v1\n");
    assert!(program.err().contains(&line), "{}", program.err());
    for path in ["/healthz", "/readyz", "/v1/models"] {
        assert_eq!(status(&format!("{origin}{path}"), &first).await, Ok(200));
    }

    // The commands know the certificate by the directory, whatever it is for.
    let listed = list(&home).await;
    assert_eq!(
        (listed.code, listed.out.trim()),
        (Some(0), "[]"),
        "{listed:?}"
    );
    serve_with(&home, &second);
    program.signal("HUP");
    program.says("another certificate is served").await;
    let named = origin.replace("127.0.0.1", "localhost");
    assert_eq!(status(&format!("{named}/healthz"), &second).await, Ok(200));
    assert!(status(&format!("{origin}/healthz"), &first).await.is_err());
    let listed = list(&home).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");

    put(&home, "key.pem", &first.key.serialize_pem(), 0o600);
    program.signal("HUP");
    program.says("does not fit the first certificate").await;
    assert_eq!(status(&format!("{named}/healthz"), &second).await, Ok(200));
    serve_with(&home, &second);
    program.signal("HUP");
    program
        .says("the certificate is the one that is served")
        .await;

    // SECURITY: the token goes to nobody who shows another certificate.
    let lock = std::fs::read_to_string(home.path("data/LOCK")).unwrap();
    let (rest, digits) = lock.trim_end().rsplit_once(' ').unwrap();
    let other: String = digits.chars().rev().collect();
    std::fs::write(home.path("data/LOCK"), format!("{rest} {other}\n")).unwrap();
    let listed = list(&home).await;
    assert_eq!(listed.code, Some(1), "{listed:?}");
    let words = "does not show the certificate that was announced";
    assert!(listed.err.contains(words), "{listed:?}");

    program.signal("TERM");
    assert_eq!(program.end().await.code, Some(0));
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_told_at_once_and_in_its_place() {
    let home = Home::new();
    home.write("proxy.toml", CONFIG);
    let (one, other) = (pair("localhost", false), pair("localhost", false));
    let key = one.key.serialize_pem();
    let cert = "proxy.toml:2:13: `tls.cert_file`: ";
    let file = "proxy.toml:3:12: `tls.key_file`: ";
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let table = [
        (
            "",
            "",
            0o600,
            vec![
                (cert, "holds no certificate"),
                (file, "holds no private key"),
            ],
        ),
        (
            "x",
            &*key,
            0o644,
            vec![(cert, "holds no certificate"), (file, "chmod 600")],
        ),
        (
            &*other.pem,
            &*key,
            0o600,
            vec![(file, "does not fit the first certificate")],
        ),
        (&*key, &*key, 0o600, vec![(cert, "holds no certificate")]),
        (
            &*one.pem,
            &*one.pem,
            0o600,
            vec![(file, "holds no private key")],
        ),
        (&*one.pem, locked, 0o600, vec![(file, "is encrypted")]),
        (
            &one.pem[..100],
            &key[..60],
            0o600,
            vec![(cert, "no whole PEM"), (file, "no whole PEM")],
        ),
    ];
    for (certificate, key, mode, expected) in table {
        put(&home, "cert.pem", certificate, 0o644);
        put(&home, "key.pem", key, mode);
        for command in ["check", "serve"] {
            let ended = home.run_with_key(&[command]).await;
            assert_eq!(ended.code, Some(2), "{ended:?}");
            let lines: Vec<&str> = ended.err.lines().collect();
            assert_eq!(lines.len(), expected.len(), "{ended:?}");
            for (line, (place, words)) in lines.iter().zip(&expected) {
                assert!(line.contains(place) && line.contains(words), "{line}");
            }
        }
    }
    std::fs::remove_file(home.path("cert.pem")).unwrap();
    std::fs::remove_file(home.path("key.pem")).unwrap();
    let ended = home.run_with_key(&["check"]).await;
    assert_eq!(ended.err.matches("cannot read").count(), 2, "{ended:?}");
}

#[tokio::test]
async fn a_doubtful_certificate_is_served_and_an_open_house_stays_at_home() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let home = Home::new();
    serve_with(&home, &pair("reprise.lan", true));
    home.write("proxy.toml", CONFIG);
    let mut program = Program::start(&mut home.serving(&sandbox));
    program.says("it expired on 2020-01-01").await;
    program
        .says("the certificate is for reprise.lan, and not for 127.0.0.1")
        .await;
    drop(program);

    home.write(
        "proxy.toml",
        &format!("allowed_hosts = [\"reprise.lan\"]\n{CONFIG}"),
    );
    let mut program = Program::start(&mut home.serving(&sandbox));
    program
        .says("export OPENAI_BASE_URL=https://reprise.lan:")
        .await;
    drop(program);

    let ended = home.run_with_key(&["serve", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.err.contains("can be reached from other machines"),
        "{ended:?}"
    );
}

/// A proxy that leads every tunnel to `to`; what it was asked.
async fn waypoint(to: u16) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(String::new()));
    let asking = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asking.clone();
            tokio::spawn(async move {
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    head.push(char::from(stream.read_u8().await.unwrap()));
                }
                asked.lock().unwrap().push_str(&head);
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut onward = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
    });
    (port, asked)
}

#[tokio::test]
async fn the_proxy_of_the_environment_leads_to_upstream() {
    let shown = pair("upstream.test", false);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key.serialize_der()));
    let config = ServerConfig::builder_with_provider(reprise::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sandbox = Sandbox::serve(Options::default(), listener, Some(Arc::new(config))).await;
    let (port, asked) = waypoint(sandbox.addr().port()).await;

    let home = Home::new();
    home.write("roots.pem", &shown.pem);
    home.write(
        "proxy.toml",
        "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[upstream]\n\
         base_url = \"https://upstream.test/v1\"\nca_file = \"roots.pem\"\n[log]\nlevel = \"trace\"\n",
    );
    let mut command = home.command(&[]);
    command.env("RELAYDANCE_API_KEY", KEY).env(
        "HTTPS_PROXY",
        format!("http://user:hunter2@127.0.0.1:{port}"),
    );
    let mut program = Program::start(&mut command);
    program.listening().await;
    let line = format!("upstream https://upstream.test/v1 through the proxy 127.0.0.1:{port}\n");
    program.says(&line).await;
    let reply = crate::call::send(crate::call::get(&program.url("/v1/models"))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(sandbox.count("GET /v1/models"), 1);
    let basic = "Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n";
    assert!(asked.lock().unwrap().contains(basic));
    let printed = program.printed();
    assert!(
        !printed.contains("hunter2") && !printed.contains("dXNlcjpo"),
        "{printed}"
    );

    let mut command = home.command(&["check"]);
    command
        .env("RELAYDANCE_API_KEY", KEY)
        .env("ALL_PROXY", "socks5://user:hunter2@127.0.0.1:1080");
    let ended = Program::start(&mut command).end().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended
            .err
            .contains("ALL_PROXY: must be a proxy that speaks HTTP"),
        "{ended:?}"
    );
    assert!(!ended.err.contains("hunter2"), "{ended:?}");
}
