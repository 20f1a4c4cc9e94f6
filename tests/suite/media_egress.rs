//! The way out to addresses that others name: nothing private is reached by any spelling, name or
//! redirect, and nobody who is slow or too large is waited for.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Request, Response};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reprise::config::Network;
use reprise::egress::{Allowed, Destination, Egress, EgressError, Names, Patience, Received};
use reprise::message::{Silence, body};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::house::soon;
use crate::wire::Parrot;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const PATIENT: Patience = Patience {
    connect: LONG,
    head: LONG,
    idle: LONG,
};

/// Names that mean what a test says, one answer after the other; the last one stays.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let address = |text: &&str| text.parse().unwrap();
        let answers = answers
            .iter()
            .map(|answer| answer.iter().map(address).collect());
        Arc::new(Self {
            answers: Mutex::new(answers.collect()),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Names for Script {
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let last = answers.len() == 1;
        let answer = if last {
            answers.front().cloned()
        } else {
            answers.pop_front()
        };
        answer.ok_or_else(|| io::Error::other("no such name"))
    }
}

fn believing(root: Option<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(root) = root {
        roots.add(root).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn egress(allow: &[&str], names: &Arc<Script>, patience: Patience) -> Egress {
    let networks = allow.iter().map(|text| Network::parse(text).unwrap());
    let allowed = Allowed::new(networks.collect(), "media.allow");
    Egress::with_names(believing(None), allowed, patience, names.clone())
}

async fn get(egress: &Egress, link: &str) -> Result<Response<Received>, EgressError> {
    let to = Destination::parse(link).unwrap();
    soon(egress.send(&to, Request::new(body::empty()))).await
}

async fn refused(egress: &Egress, link: &str) -> String {
    match get(egress, link).await {
        Err(error @ EgressError::Refused(_)) => error.to_string(),
        other => panic!("{link}: {other:?}"),
    }
}

/// A server that must not be connected to.
struct Trap(std::net::TcpListener);

impl Trap {
    fn at(addr: &str) -> Self {
        let listener = std::net::TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// A connection that was made before this is asked waits here.
    fn assert_untouched(&self) {
        match self.0.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("somebody came: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_name_that_means_a_private_machine_is_not_gone_to() {
    let trap = Trap::at("127.0.0.1:0");
    let link = format!("http://clip.example:{}/a.mp4", trap.port());
    for (address, said) in [
        ("127.0.0.1", "loopback address 127.0.0.1"),
        ("::ffff:127.0.0.1", "loopback address 127.0.0.1"),
        ("0.0.0.0", "local address 0.0.0.0"),
        ("::ffff:0:127.0.0.1", "loopback address ::ffff:0:7f00:1"),
        ("10.0.0.1", "private address 10.0.0.1"),
        ("169.254.169.254", "link-local address 169.254.169.254"),
        ("64:ff9b::7f00:1", "loopback address 64:ff9b::7f00:1"),
        ("fe80::1", "link-local address fe80::1"),
    ] {
        let names = Script::of(&[&[address]]);
        let egress = egress(&["192.168.0.0/16"], &names, PATIENT);
        let expected = format!("{said}; allow it with media.allow");
        assert_eq!(refused(&egress, &link).await, expected);
        assert_eq!(names.asked(), 1);
    }
    trap.assert_untouched();
}

#[tokio::test]
async fn an_address_is_refused_in_every_spelling_and_nobody_is_asked() {
    let trap = Trap::at("127.0.0.1:0");
    let names = Script::of(&[&["127.0.0.1"]]);
    let egress = egress(&[], &names, PATIENT);
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0",
        "localhost",
        "localhost.",
        "clip.localhost",
    ] {
        for scheme in ["http", "https"] {
            let link = format!("{scheme}://{host}:{}/", trap.port());
            let said = refused(&egress, &link).await;
            assert!(said.contains("with media.allow"), "{said}");
        }
    }
    assert_eq!(names.asked(), 0);
    trap.assert_untouched();
}

#[tokio::test]
async fn of_several_addresses_only_the_good_ones_are_connected_to() {
    let parrot = Parrot::at(
        "127.0.0.2:0",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nclip",
    )
    .await;
    let port = parrot.addr().port();
    let trap = Trap::at(&format!("127.0.0.1:{port}"));
    let names = Script::of(&[&["127.0.0.1", "127.0.0.2", "::1"]]);
    let egress = egress(&["127.0.0.2"], &names, PATIENT);
    let answer = get(&egress, &format!("http://Clip.Example:{port}/a?sig=1"))
        .await
        .unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "clip"
    );
    trap.assert_untouched();
    let (head, _) = parrot.last();
    assert_eq!(head.first, "GET /a?sig=1 HTTP/1.1");
    assert_eq!(head.all("host"), [format!("clip.example:{port}")]);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_asked_once_for_each_connection() {
    let parrot = Parrot::at(
        "127.0.0.2:0",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let port = parrot.addr().port();
    let trap = Trap::at(&format!("127.0.0.1:{port}"));
    let names = Script::of(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let egress = egress(&["127.0.0.2"], &names, PATIENT);
    let link = format!("http://clip.example:{port}/");
    assert_eq!(get(&egress, &link).await.unwrap().status(), 200);
    assert_eq!(
        names.asked(),
        1,
        "once it was checked nobody is asked again"
    );
    assert_eq!(
        refused(&egress, &link).await,
        "loopback address 127.0.0.1; allow it with media.allow"
    );
    assert_eq!(names.asked(), 2);
    trap.assert_untouched();
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_its_target_is_checked_anew() {
    let trap = Trap::at("127.0.0.1:0");
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/latest/meta-data\r\ncontent-length: 0\r\n\r\n",
        trap.port()
    );
    let parrot = Parrot::at("127.0.0.2:0", answer).await;
    let names = Script::of(&[&["127.0.0.2"]]);
    let egress = egress(&["127.0.0.2"], &names, PATIENT);
    let link = format!("http://clip.example:{}/", parrot.addr().port());
    let answer = get(&egress, &link).await.unwrap();
    assert_eq!(answer.status(), 302);
    let next = Destination::parse(&link).unwrap();
    let next = next.redirected(answer.status(), answer.headers()).unwrap();
    let next = soon(egress.send(&next.unwrap(), Request::new(body::empty()))).await;
    assert_eq!(
        next.unwrap_err().to_string(),
        "loopback address 127.0.0.1; allow it with media.allow"
    );
    trap.assert_untouched();
}

#[tokio::test]
async fn no_credential_goes_this_way() {
    let parrot = Parrot::at("127.0.0.2:0", "HTTP/1.1 204 No Content\r\n\r\n").await;
    let egress = egress(&["127.0.0.2"], &Script::of(&[]), PATIENT);
    let to = Destination::parse(&format!("http://{}/hook", parrot.addr())).unwrap();
    let request = Request::post("http://elsewhere.example/x")
        .header("authorization", "Bearer sk-1")
        .header("proxy-authorization", "Basic sk-2")
        .header("cookie", "sk-3")
        .header("host", "elsewhere.example")
        .header("webhook-id", "msg_1")
        .body(body::full("{}"));
    let answer = soon(egress.send(&to, request.unwrap())).await.unwrap();
    assert_eq!(answer.status(), 204);
    let (head, said) = parrot.last();
    assert_eq!(
        (head.first.as_str(), said.as_slice()),
        ("POST /hook HTTP/1.1", &b"{}"[..])
    );
    let mut names: Vec<&str> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "host", "webhook-id"]);
    assert_eq!(head.all("host"), [parrot.addr().to_string()]);
}

/// Answers one TLS connection, and says which name it was asked for.
async fn tls_server(
    names: &[&str],
) -> (
    SocketAddr,
    CertificateDer<'static>,
    tokio::task::JoinHandle<Option<String>>,
) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config))
            .accept(stream)
            .await
            .ok()?;
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        let mut read = [0; 4096];
        let _ = stream.read(&mut read).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        let _ = stream.shutdown().await;
        name
    });
    (addr, cert.der().clone(), serving)
}

#[tokio::test]
async fn over_tls_the_name_is_the_links_and_so_is_the_certificate() {
    for (certified, good) in [("clip.example", true), ("other.example", false)] {
        let (addr, root, serving) = tls_server(&[certified]).await;
        let allowed = Allowed::new(vec![Network::parse("127.0.0.2").unwrap()], "media.allow");
        let names = Script::of(&[&["127.0.0.2"]]);
        let egress = Egress::with_names(believing(Some(root)), allowed, PATIENT, names);
        let answer = get(&egress, &format!("https://clip.example:{}/", addr.port())).await;
        if good {
            assert_eq!(answer.unwrap().status(), 200);
            assert_eq!(
                soon(serving).await.unwrap().as_deref(),
                Some("clip.example")
            );
        } else {
            let error = answer.unwrap_err();
            assert!(matches!(error, EgressError::Unreachable(_)), "{error}");
            assert!(error.to_string().contains("certificate"), "{error}");
            assert_eq!(soon(serving).await.unwrap(), None, "nothing was asked");
        }
    }
}

#[tokio::test]
async fn nobody_is_waited_for_too_long() {
    // Accepts connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let names = Script::of(&[]);
    let hurried = Patience {
        connect: SHORT,
        head: SHORT,
        idle: SHORT,
    };
    let egress = egress(&["127.0.0.2"], &names, hurried);
    let error = get(&egress, &format!("https://{at}/")).await.unwrap_err();
    assert!(
        error.to_string().contains("no connection within 0.3 s"),
        "{error}"
    );
    let error = get(&egress, &format!("http://{at}/")).await.unwrap_err();
    assert_eq!(error.to_string(), "sent no answer within 0.6 s");

    let half = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let at = half.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = half.accept().await.unwrap();
        let mut asked = [0; 1024];
        let _ = stream.read(&mut asked).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            .await;
        stream
    });
    let answer = get(&egress, &format!("http://{at}/")).await.unwrap();
    let error = soon(answer.into_body().collect()).await.unwrap_err();
    assert!(error.is::<Silence>(), "{error}");
    drop(serving);
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let many = (0..200).fold(String::new(), |head, at| format!("{head}x-{at}: 1\r\n"));
    let large = format!("x: {}\r\n", "a".repeat(256 * 1024));
    for fields in [many, large] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        let parrot = Parrot::at("127.0.0.2:0", answer).await;
        let egress = egress(&["127.0.0.2"], &Script::of(&[]), PATIENT);
        let error = get(&egress, &format!("http://{}/", parrot.addr()))
            .await
            .unwrap_err();
        assert!(matches!(error, EgressError::Cut(_)), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_says_why() {
    let nobody = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let at = nobody.local_addr().unwrap();
    drop(nobody);
    let egress = egress(&["127.0.0.2"], &Script::of(&[]), PATIENT);
    for (link, words) in [
        (format!("http://{at}/secret?sig=secret"), "refused"),
        ("http://unknown.example/secret".to_owned(), "no such name"),
    ] {
        let error = get(&egress, &link).await.unwrap_err();
        assert!(matches!(error, EgressError::Unreachable(_)), "{error}");
        let said = error.to_string();
        assert!(said.contains(words) && !said.contains("secret"), "{said}");
    }
}
