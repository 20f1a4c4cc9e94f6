//! What every part does with its listener, and what hyper needs to be told.

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// What a body may break off with.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A free port of this machine's own; tells whoever started the process.
pub(crate) async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    listener
}

/// The next client, with small packets sent at once.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            return stream;
        }
    }
}

/// Serves HTTP/1.1 for ever.
pub(crate) async fn serve<F, A, B>(answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Fault>> + Send + 'static,
{
    let listener = listen().await;
    loop {
        let stream = accept(&listener).await;
        tokio::spawn(speak(TokioIo::new(stream), answer.clone()));
    }
}

/// One connection to its end; who leaves early ends it too.
pub(crate) async fn speak<I, F, A, B>(stream: I, answer: F)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<B>>,
    B: Body<Data = Bytes, Error: Into<Fault>> + 'static,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async { Ok::<_, Infallible>(answered.await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(stream, service)
        .await;
}

/// The whole body of a request.
pub(crate) async fn whole(body: Incoming) -> Bytes {
    body.collect()
        .await
        .map(Collected::to_bytes)
        .unwrap_or_default()
}

/// A request's canonical hash: equal JSON is equal, whatever the order of its members.
pub(crate) fn canonical_hash(body: &[u8]) -> blake3::Hash {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    blake3::hash(&serde_json::to_vec(&value).unwrap())
}
