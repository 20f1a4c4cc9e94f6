//! An upstream that writes down every byte it hears.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reprise::config::{BaseUrl, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::house::UPSTREAM_KEY;

const ANSWER: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"data\":[]}",
];

/// What belongs to one connection only, and what a client could slip in.
const NOT_FORWARDED: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
    "x-api-key",
    "x-goog-api-key",
    "x-listed",
    "http2-settings",
];

type Heard = Arc<Mutex<Vec<String>>>;

/// Answers every request that it hears whole.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    whole: Heard,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self::saying(ANSWER).await
    }

    /// Answers everything with these pieces, one by one.
    pub(crate) async fn saying(answer: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let whole = Heard::default();
        let book = whole.clone();
        // Ends with the runtime of its test.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listen(stream, book.clone(), answer));
            }
        });
        Self { addr, whole }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Makes it a house's upstream.
    pub(crate) fn behind(&self) -> impl FnOnce(&mut Config) + use<> {
        let url = self.base_url();
        move |config| config.upstream.base_url = BaseUrl::parse(&url).unwrap()
    }

    /// The requests that came whole since it was last asked, each one as one server and no two could
    /// read it: one host, which is upstream's; our key and no other; one length.
    pub(crate) fn heard(&self) -> Vec<String> {
        let heard = self.whole();
        for request in &heard {
            self.check(request);
        }
        heard
    }

    /// The same, unchecked.
    pub(crate) fn whole(&self) -> Vec<String> {
        std::mem::take(&mut *self.whole.lock().unwrap())
    }

    fn check(&self, request: &str) {
        let head = request
            .split("\r\n\r\n")
            .next()
            .unwrap()
            .to_ascii_lowercase();
        let all = |name: &str| -> Vec<&str> {
            let fields = head.split("\r\n").skip(1);
            let named = fields.filter_map(|field| field.split_once(':'));
            let these = named.filter(|(known, _)| *known == name);
            these.map(|(_, value)| value.trim()).collect()
        };
        assert_eq!(all("host"), [self.addr.to_string()], "{request}");
        let key = format!("bearer {UPSTREAM_KEY}");
        assert_eq!(all("authorization"), [key], "{request}");
        let lengths = all("content-length").len() + all("transfer-encoding").len();
        assert!(lengths <= 1, "{request}");
        for name in NOT_FORWARDED {
            assert_eq!(all(name), [""; 0], "{name} in {request}");
        }
        assert!(
            !head.contains('\0') && !request.contains("smuggled"),
            "{request}"
        );
        assert!(
            head.split("\r\n").all(|line| !line.contains(['\r', '\n'])),
            "{request}"
        );
    }
}

async fn listen(mut stream: TcpStream, book: Heard, answer: &[&str]) {
    let mut read = Vec::new();
    loop {
        if let Some(end) = end_of_request(&read) {
            let request = read.drain(..end).collect::<Vec<u8>>();
            let request = String::from_utf8_lossy(&request).into_owned();
            book.lock().unwrap().push(request);
            for piece in answer {
                if stream.write_all(piece.as_bytes()).await.is_err() {
                    return;
                }
                // So that the proxy does not read two of them at once.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        } else if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// Where the first request ends, if it has.
fn end_of_request(read: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(read);
    if text.len() != read.len() {
        // Bytes that are no text: lengths would not fit.
        return text.contains("\r\n\r\n").then_some(read.len());
    }
    let head = text.find("\r\n\r\n")? + 4;
    let lower = text[..head].to_ascii_lowercase();
    if lower.contains("\r\ntransfer-encoding:") {
        let end = text[head..].find("0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let length = lower.split("\r\ncontent-length:").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    (read.len() >= head + length).then_some(head + length)
}
