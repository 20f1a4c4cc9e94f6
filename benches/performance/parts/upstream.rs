//! The API behind all systems: as fast as hyper is, plain or with TLS.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::answers::{self, Sort};
use super::served;

/// Lets answers go that were held.
pub(crate) const OPEN: &str = "/gate/open";
/// A body of [`LARGE_LEN`] bytes.
pub(crate) const BIG: &str = "/v1/files/big/content";
/// A stream whose events say when they were sent, one every few milliseconds.
pub(crate) const STAMPED: &str = "/v1/responses/resp_stamped";
/// How long the largest body is, in bytes.
pub(crate) const LARGE_LEN: u64 = 200 * 1000 * 1000;

const STAMPED_EVENTS: usize = 100;
const BETWEEN_STAMPED: Duration = Duration::from_millis(5);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Everything it answers, made once.
struct Api {
    question: Bytes,
    small: Bytes,
    large: Bytes,
    picture: Bytes,
    events: Vec<Bytes>,
    piece: Bytes,
    gate: watch::Sender<bool>,
}

pub(super) async fn run(shown: &[PathBuf]) {
    let api = Arc::new(Api {
        question: answers::small(),
        small: Sort::Small.body(),
        large: Sort::Large.body(),
        picture: Sort::Picture.body(),
        events: answers::events(),
        piece: Bytes::from(vec![b'x'; 64 * 1024]),
        gate: watch::Sender::new(false),
    });
    let answer = move |request| {
        let api = api.clone();
        async move { api.answer(request).await }
    };
    let [certificate, key] = shown else {
        return served::serve(answer).await;
    };
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let config = ServerConfig::builder_with_provider(reprise::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        );
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = served::listen().await;
    loop {
        let stream = served::accept(&listener).await;
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                served::speak(TokioIo::new(stream), answer).await;
            }
        });
    }
}

impl Api {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        match (parts.method, parts.uri.path()) {
            (Method::GET, BIG) => self.big(),
            (Method::GET, STAMPED) => stamped(),
            (Method::GET, OPEN) => {
                self.gate.send_replace(true);
                json(self.question.clone())
            }
            (Method::GET, path) if path.starts_with("/v1/responses/") => self.ready(),
            (Method::GET, path) if path.ends_with("/large") => json(self.large.clone()),
            (Method::GET, path) if path.ends_with("/small") => json(self.small.clone()),
            (Method::POST, "/v1/files") => {
                drain(body).await;
                json(self.question.clone())
            }
            (Method::POST, _) => self.generate(&served::whole(body).await).await,
            _ => json(self.question.clone()),
        }
    }

    async fn generate(&self, body: &[u8]) -> Answer {
        if memmem::find(body, b"[hold]").is_some() {
            let mut gate = self.gate.subscribe();
            let _ = gate.wait_for(|open| *open).await;
        }
        json(match Sort::asked_for(body) {
            Sort::Small => self.small.clone(),
            Sort::Large => self.large.clone(),
            Sort::Picture => self.picture.clone(),
        })
    }

    /// A stream whose every event is ready at once, each a chunk.
    fn ready(&self) -> Answer {
        let frames = self.events.clone().into_iter().map(Frame::data).map(Ok);
        streamed(StreamBody::new(stream::iter(frames)).boxed_unsync())
    }

    fn big(&self) -> Answer {
        let piece = self.piece.clone();
        let frames = stream::unfold(LARGE_LEN, move |left| {
            let len = left.min(piece.len() as u64);
            let frame = piece.slice(..usize::try_from(len).unwrap_or(0));
            async move { (len > 0).then(|| (Ok(Frame::data(frame)), left - len)) }
        });
        Response::builder()
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, LARGE_LEN)
            .body(StreamBody::new(frames).boxed_unsync())
            .unwrap()
    }
}

/// Events far apart, each with the time at which it was sent.
fn stamped() -> Answer {
    let frames = stream::unfold(0, |nth| async move {
        if nth == STAMPED_EVENTS {
            return None;
        }
        tokio::time::sleep(BETWEEN_STAMPED).await;
        let now = jiff::Timestamp::now().as_nanosecond();
        let event = Bytes::from(format!("data: {now}\n\n"));
        Some((Ok(Frame::data(event)), nth + 1))
    });
    streamed(StreamBody::new(frames).boxed_unsync())
}

fn streamed(body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    Response::builder()
        .header(CONTENT_TYPE, "text/event-stream")
        .body(body)
        .unwrap()
}

fn json(body: Bytes) -> Answer {
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body).boxed_unsync())
        .unwrap()
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
