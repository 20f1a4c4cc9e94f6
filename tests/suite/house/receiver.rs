//! Somebody who is called back: takes down every call, and answers as it was told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// One call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

/// What a call is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status, and further lines of the head.
    Status(u16, String),
    /// Nothing, until the caller goes.
    Silence,
    /// 200, once this says so.
    Held(Arc<Notify>),
    /// 200, and a body that never ends.
    Flood,
}

#[derive(Default)]
struct Book {
    heard: Mutex<Vec<Heard>>,
    /// What the next calls to a path get; the last one stays.
    replies: Mutex<BTreeMap<String, VecDeque<Reply>>>,
    /// The bytes of floods that were taken.
    flooded: Mutex<usize>,
    count: watch::Sender<usize>,
}

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    addr: SocketAddr,
    book: Arc<Book>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let book = Arc::new(Book::default());
        let shared = book.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let book = shared.clone();
                tokio::spawn(async move { serve(stream, &book).await });
            }
        });
        Self { addr, book }
    }

    /// An address of it; `path` begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Answers the next calls to `path` with these, and all later ones with the last.
    pub(crate) fn reply(&self, path: &str, replies: &[Reply]) {
        let replies = replies.iter().cloned().collect();
        let mut all = self.book.replies.lock().unwrap();
        all.insert(path.to_owned(), replies);
    }

    /// All calls so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.book.heard.lock().unwrap().clone()
    }

    /// The calls to one path, query included.
    pub(crate) fn heard_at(&self, target: &str) -> Vec<Heard> {
        let heard = self.heard().into_iter();
        heard.filter(|call| call.target == target).collect()
    }

    /// Waits until so many calls have come in all.
    pub(crate) async fn arrived(&self, n: usize) {
        let mut count = self.book.count.subscribe();
        let arrived = count.wait_for(|count| *count >= n);
        let arrived = tokio::time::timeout(Duration::from_secs(20), arrived).await;
        assert!(arrived.is_ok(), "no {n} calls: {:?}", self.heard());
    }

    /// How much of a flood was taken, once its caller has gone.
    pub(crate) async fn flooded(&self) -> usize {
        for _ in 0..1000 {
            let taken = *self.book.flooded.lock().unwrap();
            if taken > 0 {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the caller never went");
    }
}

async fn serve(mut stream: TcpStream, book: &Book) {
    let Ok(call) = read(&mut stream).await else {
        return;
    };
    let path = call.target.split('?').next().unwrap_or_default().to_owned();
    let reply = {
        let mut replies = book.replies.lock().unwrap();
        match replies.get_mut(&path) {
            Some(replies) if replies.len() > 1 => replies.pop_front().unwrap(),
            Some(replies) => replies[0].clone(),
            None => Reply::Status(200, String::new()),
        }
    };
    book.heard.lock().unwrap().push(call);
    book.count.send_modify(|count| *count += 1);
    match reply {
        Reply::Held(go) => {
            go.notified().await;
            let answer = b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
        Reply::Status(status, head) => {
            let answer = format!("HTTP/1.1 {status} X\r\n{head}content-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Reply::Silence => {
            let _ = stream.read(&mut [0]).await;
        }
        Reply::Flood => {
            let head = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", 10_u64 << 30);
            let _ = stream.write_all(head.as_bytes()).await;
            let piece = vec![b'x'; 64 * 1024];
            let mut taken = 1;
            while stream.write_all(&piece).await.is_ok() {
                taken += piece.len();
            }
            *book.flooded.lock().unwrap() = taken;
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Heard> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").unwrap().parse().unwrap();
    let mut body = bytes[head + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Heard {
        target,
        headers,
        body: String::from_utf8(body).unwrap(),
        at: Instant::now(),
    })
}
