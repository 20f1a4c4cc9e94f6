//! HTTP letter by letter: a client and an upstream that say exactly what a test writes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reprise::config::{BaseUrl, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::house::soon;

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The head of a message.
#[derive(Debug)]
pub(crate) struct Head {
    /// The request line or the status line.
    pub(crate) first: String,
    /// Names in lower case, values as they came.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Self {
        let mut lines = bytes
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let colon = line.iter().position(|byte| *byte == b':').unwrap();
                let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
                (name, line[colon + 1..].trim_ascii().to_vec())
            })
            .collect();
        Self { first, fields }
    }

    pub(crate) fn status(&self) -> u16 {
        let word = self.first.split(' ').nth(1).unwrap_or_default();
        word.parse().unwrap_or_default()
    }

    /// The values of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.fields
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

impl Wire {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::over(soon(TcpStream::connect(addr)).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Writes; the other side may have hung up.
    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        let _ = soon(self.stream.write_all(text.as_ref())).await;
    }

    /// Reads more; `false` at the end.
    async fn more(&mut self) -> bool {
        soon(self.stream.read_buf(&mut self.read))
            .await
            .unwrap_or(0)
            > 0
    }

    /// Reads to the end of what `find` finds, and takes it; `None` when the connection ends before.
    async fn until(&mut self, find: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.read) {
                return Some(self.read.drain(..end).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next head; `None` when the connection ends before it.
    pub(crate) async fn try_head(&mut self) -> Option<Head> {
        let blank = |read: &[u8]| {
            read.windows(4)
                .position(|four| four == b"\r\n\r\n")
                .map(|at| at + 4)
        };
        self.until(blank).await.map(|head| Head::parse(&head))
    }

    pub(crate) async fn head(&mut self) -> Head {
        self.try_head().await.expect("a head")
    }

    /// The body behind this head; empty when its framing says that there is none.
    pub(crate) async fn body(&mut self, head: &Head) -> Vec<u8> {
        if head.has("transfer-encoding") {
            return self.chunks().await;
        }
        let length = head.all("content-length").first().map(|n| n.parse());
        let length: usize = length.transpose().unwrap().unwrap_or(0);
        self.until(|read| (read.len() >= length).then_some(length))
            .await
            .expect("a whole body")
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let line = |read: &[u8]| {
            read.windows(2)
                .position(|two| two == b"\r\n")
                .map(|at| at + 2)
        };
        let mut body = Vec::new();
        loop {
            let size = self.until(line).await.expect("a chunk");
            let size = String::from_utf8(size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                // Trailers, to the empty line.
                while self.until(line).await.expect("the end") != b"\r\n" {}
                return body;
            }
            let chunk = self
                .until(|read| (read.len() >= size + 2).then_some(size + 2))
                .await
                .expect("a whole chunk");
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Says no more, and waits until the other side has hung up as well.
    pub(crate) async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
        self.rest().await;
    }

    /// Says no more, and goes on listening.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next so many bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Vec<u8> {
        self.until(|read| (read.len() >= length).then_some(length))
            .await
            .expect("so many bytes")
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let moment = Duration::from_millis(200);
        if !self.read.is_empty() {
            return false;
        }
        let more = self.stream.read_buf(&mut self.read);
        tokio::time::timeout(moment, more).await.is_err()
    }

    /// What has come and was not taken.
    pub(crate) fn heard(&self) -> &[u8] {
        &self.read
    }

    /// Writes pieces until the other side takes no more for a moment; says how many bytes it took.
    pub(crate) async fn fill(&mut self, most: usize) -> usize {
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < most {
            let moment = Duration::from_millis(500);
            match tokio::time::timeout(moment, self.stream.write(&piece)).await {
                Ok(Ok(length)) if length > 0 => sent += length,
                Ok(_) | Err(_) => break,
            }
        }
        sent
    }

    /// Everything to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }
}

/// Says all of it on a connection of its own, and reads the head and the body of the answer.
pub(crate) async fn exchange(addr: SocketAddr, text: impl AsRef<[u8]>) -> (Head, Vec<u8>) {
    let mut wire = Wire::open(addr).await;
    wire.say(text).await;
    let head = wire.head().await;
    let body = wire.body(&head).await;
    (head, body)
}

/// An upstream whose every word is a test's.
pub(crate) struct Stage {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Stage {
    /// Its sockets hold little, so that who does not read is felt soon.
    pub(crate) fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let addr = listener.local_addr().unwrap();
        Self { listener, addr }
    }

    /// Makes it a house's upstream.
    pub(crate) fn behind(&self) -> impl Fn(&mut Config) + Send + 'static {
        behind(self.addr)
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Wire {
        Wire::over(soon(self.listener.accept()).await.unwrap().0)
    }

    /// Whether somebody has connected and was not accepted.
    pub(crate) async fn is_called(&self) -> bool {
        let moment = Duration::from_millis(100);
        tokio::time::timeout(moment, self.listener.accept())
            .await
            .is_ok()
    }
}

fn behind(addr: SocketAddr) -> impl Fn(&mut Config) + Send + 'static {
    let url = format!("http://{addr}/v1");
    move |config| config.upstream.base_url = BaseUrl::parse(&url).unwrap()
}

/// An upstream that gives every request the same answer and then hangs up.
pub(crate) struct Parrot {
    addr: SocketAddr,
    heard: Heard,
}

type Heard = Arc<Mutex<Vec<(Head, Vec<u8>)>>>;

impl Parrot {
    pub(crate) async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        Self::at("127.0.0.1:0", answer).await
    }

    pub(crate) async fn at(addr: &str, answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Heard::default();
        let (answer, book) = (answer.into(), heard.clone());
        // Ends with the runtime of its test.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut wire = Wire::over(stream);
                if let Some(head) = wire.try_head().await {
                    let body = wire.body(&head).await;
                    book.lock().unwrap().push((head, body));
                    wire.say(&answer).await;
                    let _ = wire.stream.shutdown().await;
                }
            }
        });
        Self { addr, heard }
    }

    /// Makes it a house's upstream.
    pub(crate) fn behind(&self) -> impl Fn(&mut Config) + Send + 'static {
        behind(self.addr)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it heard last.
    pub(crate) fn last(&self) -> (Head, Vec<u8>) {
        self.heard.lock().unwrap().pop().expect("it heard nothing")
    }

    pub(crate) fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}
