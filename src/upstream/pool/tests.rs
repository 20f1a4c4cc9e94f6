//! With a server of our own that says which connection a request came over.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::config::{BaseUrl, Sources};
use crate::message::body;
use crate::upstream::upload;

/// What a connection does with its requests.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers each with the number of the connection.
    Answers,
    /// Answers one, and closes.
    Closes,
    /// Answers before the body has come, and goes on when it has.
    Early,
    /// Answers in chunks, with a trailer.
    Trailers,
}

struct Served {
    address: SocketAddr,
    /// A connection is over.
    over: UnboundedReceiver<usize>,
}

async fn served(manner: Manner) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ends, over) = unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let ends = ends.clone();
            tokio::spawn(async move {
                let _ = speak(stream, number, manner).await;
                let _ = ends.send(number);
            });
        }
    });
    Served { address, over }
}

async fn speak(mut stream: TcpStream, number: usize, manner: Manner) -> std::io::Result<()> {
    let mut heard = Vec::new();
    loop {
        while !heard.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).await? == 0 {
                return Ok(());
            }
            heard.push(byte[0]);
        }
        heard.clear();
        if let Manner::Trailers = manner {
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                          1\r\na\r\n0\r\nx-sum: 1\r\n\r\n";
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
        stream.write_all(answer.as_bytes()).await?;
        if let Manner::Early = manner {
            let mut whole = vec![0; LARGE];
            stream.read_exact(&mut whole).await?;
        }
        stream.write_all(number.to_string().as_bytes()).await?;
        if let Manner::Closes = manner {
            return stream.shutdown().await;
        }
    }
}

/// More than the system takes before anybody reads, in bytes.
const LARGE: usize = 32 << 20;

fn pool(address: SocketAddr) -> Pool {
    let sources = Sources {
        data_dir: Some("/nowhere".into()),
        cwd: "/nowhere".into(),
        ..Sources::default()
    };
    let mut settings = config::load(&sources).expect("defaults").config.upstream;
    settings.base_url = BaseUrl::parse(&format!("http://{address}/v1")).unwrap();
    Pool::new(&settings, &Outgoing::default()).unwrap()
}

async fn ask(pool: &Pool, body: Bytes) -> (Response<Carried>, Given) {
    let (upload, watch) = upload::watched(body::full(body), false);
    let mut request = Request::post(pool.place.clone()).body(upload).unwrap();
    *request.version_mut() = http::Version::HTTP_11;
    let given = Given::default();
    let mut answer = pool.send(request, Reuse::Pooled, &given).await.unwrap();
    if !watch.is_over() {
        answer.body_mut().go_apart();
    }
    // Whoever watches an upload ends it.
    std::mem::forget(watch);
    (answer, given)
}

async fn text(answer: Response<Carried>) -> String {
    let whole = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(whole.to_vec()).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_as_soon_as_its_answer_was_read() {
    let served = served(Manner::Answers).await;
    let pool = pool(served.address);
    let (first, _) = ask(&pool, Bytes::new()).await;
    let (second, given) = ask(&pool, Bytes::new()).await;
    assert!(given.link().is_some());
    assert_eq!(text(second).await, "1", "the first is not read yet");
    assert_eq!(text(ask(&pool, Bytes::new()).await.0).await, "1");
    assert_eq!(text(first).await, "0");
    assert_eq!(
        text(ask(&pool, Bytes::new()).await.0).await,
        "0",
        "used last"
    );
    assert_eq!(pool.idle.len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_closes_its_connection() {
    let mut served = served(Manner::Answers).await;
    let pool = pool(served.address);
    drop(ask(&pool, Bytes::new()).await);
    assert_eq!(served.over.recv().await, Some(0));
    assert!(pool.idle.len() == 0);
}

#[tokio::test]
async fn a_connection_that_upstream_closed_is_not_asked() {
    let mut served = served(Manner::Closes).await;
    let pool = pool(served.address);
    for number in ["0", "1"] {
        assert_eq!(text(ask(&pool, Bytes::new()).await.0).await, number);
        served.over.recv().await;
        // What the system knows of a socket, the runtime hears of in its next turns.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_lies_idle_is_closed_after_a_while() {
    let mut served = served(Manner::Answers).await;
    let pool = pool(served.address);
    assert_eq!(text(ask(&pool, Bytes::new()).await.0).await, "0");
    tokio::time::pause();
    tokio::time::advance(IDLE).await;
    assert!(pool.idle.take().is_none(), "too old to be asked");
    assert_eq!(served.over.recv().await, Some(0));
    tokio::time::resume();
    assert_eq!(text(ask(&pool, Bytes::new()).await.0).await, "1");
    tokio::time::pause();
    // Nobody asks; time passes while all wait.
    assert_eq!(served.over.recv().await, Some(1));
    assert!(pool.idle.len() == 0);
}

#[tokio::test]
async fn a_request_goes_on_while_nobody_reads_its_early_answer() {
    let mut served = served(Manner::Early).await;
    let pool = pool(served.address);
    let (answer, _) = ask(&pool, Bytes::from(vec![7; LARGE])).await;
    // The server reads all of it before it says more; that takes no poll of the body.
    assert_eq!(text(answer).await, "0");
    assert_eq!(served.over.recv().await, Some(0), "it ends with its task");
    assert_eq!(pool.idle.len(), 0);
}

#[tokio::test]
async fn trailers_are_the_end_of_an_answer() {
    let served = served(Manner::Trailers).await;
    let pool = pool(served.address);
    let (answer, _) = ask(&pool, Bytes::new()).await;
    let mut body = answer.into_body();
    let piece = body.frame().await.unwrap().unwrap();
    assert!(piece.is_data());
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    // hyper's server asks for nothing behind them.
    drop(body);
    assert_eq!(pool.idle.len(), 1);
}

#[tokio::test]
async fn another_thread_takes_a_connection_only_when_it_has_none_of_its_own() {
    let served = served(Manner::Answers).await;
    let pool = pool(served.address);
    let (here, _) = ask(&pool, Bytes::new()).await;
    let there = tokio::task::spawn_blocking({
        let handle = tokio::runtime::Handle::current();
        let link = pool.connector.clone().stream(pool.place.clone());
        move || handle.block_on(async { Lane::open(link.await.unwrap(), Link::default()).await })
    });
    let mut there = there.await.unwrap().unwrap();
    // hyper takes requests once it was looked at.
    assert!(there.is_free() && there.home() != std::thread::current().id());
    assert_eq!(text(here).await, "0");
    pool.idle.put(there);
    let homes = [pool.idle.take(), pool.idle.take()].map(|lane| lane.unwrap().home());
    let here = std::thread::current().id();
    assert_eq!(homes.map(|home| home == here), [true, false]);
}
