//! One connection, spoken over without a library: what it costs is not to be seen beside a server.

use std::io;
use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is read at once.
const PIECE: usize = 256 * 1024;
/// How a chunked body ends.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// A connection that is kept alive.
pub(crate) struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer that has come whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Whether its status is 200.
    pub(crate) ok: bool,
    /// Whether the head has the words in it that it had to have.
    pub(crate) says: bool,
    /// The length of its body, where that is said.
    pub(crate) len: Option<u64>,
}

impl Line {
    pub(crate) async fn to(address: SocketAddr) -> io::Result<Self> {
        Self::with_buffer(address, PIECE).await
    }

    /// One of very many.
    pub(crate) async fn lean(address: SocketAddr) -> io::Result<Self> {
        Self::with_buffer(address, 4096).await
    }

    async fn with_buffer(address: SocketAddr, len: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; len],
        })
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn ask(&mut self, request: &[u8], says: Option<&str>) -> io::Result<Seen> {
        self.send(request).await?;
        self.hear(says).await
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Reads an answer to its end, and forgets its body.
    pub(crate) async fn hear(&mut self, says: Option<&str>) -> io::Result<Seen> {
        let (mut filled, head) = self.head().await?;
        let seen = look(&self.buffer[..head], says);
        match seen.len {
            Some(len) => {
                let mut left = len - (filled - head) as u64;
                while left > 0 {
                    left -= self.more(0).await? as u64;
                }
            }
            None => {
                while !self.buffer[..filled].ends_with(LAST_CHUNK) {
                    // Enough of the end stays to be found over two reads.
                    let keep = filled.min(LAST_CHUNK.len());
                    self.buffer.copy_within(filled - keep..filled, 0);
                    filled = keep + self.more(keep).await?;
                }
            }
        }
        Ok(seen)
    }

    /// A whole answer: its head, and its body without chunks.
    pub(crate) async fn read(&mut self) -> io::Result<(String, Vec<u8>)> {
        let (filled, head) = self.head().await?;
        let seen = look(&self.buffer[..head], None);
        let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        let mut body = self.buffer[head..filled].to_vec();
        let is_whole = |body: &[u8]| match seen.len {
            Some(len) => body.len() as u64 >= len,
            None => body.ends_with(LAST_CHUNK),
        };
        while !is_whole(&body) {
            let read = self.more(0).await?;
            body.extend_from_slice(&self.buffer[..read]);
        }
        if seen.len.is_none() {
            body = without_chunks(&body);
        }
        Ok((text, body))
    }

    /// Reads until the head is there; how much was read, and where the body begins.
    async fn head(&mut self) -> io::Result<(usize, usize)> {
        let mut filled = 0;
        loop {
            filled += self.more(filled).await?;
            if let Some(end) = memmem::find(&self.buffer[..filled], b"\r\n\r\n") {
                return Ok((filled, end + 4));
            }
        }
    }

    /// What comes next, behind `filled` bytes of the buffer.
    pub(crate) async fn more(&mut self, filled: usize) -> io::Result<usize> {
        match self.stream.read(&mut self.buffer[filled..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }

    /// What was read last.
    pub(crate) fn buffer(&self) -> &[u8] {
        &self.buffer
    }
}

fn look(head: &[u8], says: Option<&str>) -> Seen {
    let says = says.is_none_or(|words| memmem::find(head, words.as_bytes()).is_some());
    Seen {
        ok: head.starts_with(b"HTTP/1.1 200"),
        says,
        len: length(head),
    }
}

/// What a head says of the length of its body.
fn length(head: &[u8]) -> Option<u64> {
    let name = b"ontent-";
    for at in memmem::find_iter(head, name) {
        let rest = head.get(at + name.len()..)?;
        let said = rest.get(..7)?.eq_ignore_ascii_case(b"length:");
        if said {
            let digits = rest.get(7..)?.trim_ascii_start();
            let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
            return std::str::from_utf8(&digits[..end]).ok()?.parse().ok();
        }
    }
    None
}

fn without_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(at) = memmem::find(body, b"\r\n") {
        let digits = std::str::from_utf8(&body[..at]).unwrap();
        let len = usize::from_str_radix(digits, 16).unwrap();
        whole.extend_from_slice(&body[at + 2..at + 2 + len]);
        body = &body[at + 2 + len + 2..];
    }
    whole
}
