//! A host of files on a port of its own: answers as a test says, and takes down who asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{UPSTREAM_KEY, soon};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// How many came before it.
    pub(crate) nth: usize,
    /// `GET /path?query`.
    pub(crate) line: String,
    /// Its whole head, in lower case.
    pub(crate) head: String,
}

impl Visit {
    /// A header's value; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found == name).then_some(value)
        });
        line.unwrap_or_default().trim()
    }
}

/// What is answered, letter for letter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    status: u16,
    headers: String,
    body: Bytes,
    /// So many bytes of the body are sent, and the connection is closed.
    cut: Option<usize>,
    /// Waits behind so many bytes until the host is released.
    hold: Option<usize>,
}

impl Page {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: format!("content-length: {}\r\n", body.len()),
            body,
            ..Self::default()
        }
    }

    /// A good answer with a file, as a storage host gives it.
    pub(crate) fn file(body: &Bytes) -> Self {
        Self::new(200, body.clone())
            .header("content-type", "video/mp4")
            .header("etag", "\"one\"")
    }

    /// The rest of a file from `from` on.
    pub(crate) fn rest(body: &Bytes, from: usize) -> Self {
        let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
        Self::new(206, body.slice(from..))
            .header("etag", "\"one\"")
            .header("content-range", &range)
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::new(302, "").header("location", to)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &[name, ": ", value, "\r\n"].concat();
        self
    }

    /// Says another length than it has.
    pub(crate) fn length(mut self, said: &str) -> Self {
        let length = format!("content-length: {}\r\n", self.body.len());
        self.headers = self.headers.replace(&length, "");
        self.headers.push_str(said);
        self
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub(crate) fn hold(mut self, after: usize) -> Self {
        self.hold = Some(after);
        self
    }
}

type Script = Arc<dyn Fn(&Visit) -> Page + Send + Sync>;

/// A host of files. It fails a test when a credential comes.
pub(crate) struct Host {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Visit>>>,
    script: Arc<Mutex<Script>>,
    released: watch::Sender<bool>,
    is_upstream: bool,
}

impl Host {
    /// A host of files, which must never see a credential.
    pub(crate) async fn start(script: impl Fn(&Visit) -> Page + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", script, false).await
    }

    /// Somebody who plays upstream, and may see its key.
    pub(crate) async fn upstream(script: impl Fn(&Visit) -> Page + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", script, true).await
    }

    pub(crate) async fn at(
        addr: &str,
        script: impl Fn(&Visit) -> Page + Send + Sync + 'static,
        is_upstream: bool,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script: Script = Arc::new(script);
        let host = Self {
            addr,
            seen: Arc::default(),
            script: Arc::new(Mutex::new(script)),
            released: watch::Sender::new(false),
            is_upstream,
        };
        let (seen, script) = (host.seen.clone(), host.script.clone());
        let released = host.released.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (seen.clone(), script.clone());
                let released = released.subscribe();
                tokio::spawn(async move { serve(stream, &seen, &script, released).await });
            }
        });
        host
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Visit> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Answers otherwise from now on; requests are counted on.
    pub(crate) fn answer(&self, script: impl Fn(&Visit) -> Page + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// Waits until `n` requests have come.
    pub(crate) async fn asked(&self, n: usize) {
        super::until(|| self.count() >= n).await;
    }

    /// Lets go what waits, and whatever will come.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for request in self.seen().iter().filter(|_| !self.is_upstream) {
            for name in [
                "authorization",
                "cookie",
                "x-api-key",
                "x-goog-api-key",
                "proxy-authorization",
            ] {
                assert_eq!(
                    request.header(name),
                    "",
                    "a credential came: {}",
                    request.head
                );
            }
            assert!(!request.head.contains(UPSTREAM_KEY), "{}", request.head);
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Visit>>,
    script: &Mutex<Script>,
    mut released: watch::Receiver<bool>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    let head = head.to_ascii_lowercase();
    let request = {
        let mut seen = seen.lock().unwrap();
        let request = Visit {
            nth: seen.len(),
            line,
            head,
        };
        seen.push(request.clone());
        request
    };
    let length = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let script = script.lock().unwrap().clone();
    let reply = script(&request);
    let head = format!(
        "HTTP/1.1 {} Said\r\nconnection: close\r\n{}\r\n",
        reply.status, reply.headers
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let end = reply.cut.unwrap_or(reply.body.len()).min(reply.body.len());
    let pause = reply.hold.unwrap_or(end).min(end);
    stream.write_all(&reply.body[..pause]).await.ok()?;
    stream.flush().await.ok()?;
    if pause < end || reply.hold.is_some() {
        soon(released.wait_for(|released| *released)).await.ok()?;
    }
    stream.write_all(&reply.body[pause..end]).await.ok()?;
    stream.shutdown().await.ok()
}
