//! HTTP/2 by hand: frames as bytes, so that they may be wrong (RFC 9113 §4.1, RFC 7541 §6).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::house::{House, soon};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection on which the preface is said.
pub(crate) struct Http2 {
    pub(crate) ears: Ears,
    pub(crate) mouth: OwnedWriteHalf,
}

/// What the other side says.
pub(crate) struct Ears(OwnedReadHalf);

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field that enters no table.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(length(text.len(), 0x7f));
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// An integer behind a prefix of which all of `full` is free (RFC 7541 §5.1).
pub(crate) fn length(mut number: usize, full: u8) -> Vec<u8> {
    if number < usize::from(full) {
        return vec![u8::try_from(number).unwrap()];
    }
    number -= usize::from(full);
    let mut bytes = vec![full];
    while number >= 128 {
        bytes.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// The fields that every request begins with.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    [
        field(":method", method),
        field(":scheme", "http"),
        field(":authority", "localhost"),
        field(":path", path),
    ]
    .concat()
}

/// A GET as it is said.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    let flags = END_HEADERS | END_STREAM;
    frame(HEADERS, flags, stream, &request("GET", path))
}

impl Http2 {
    pub(crate) async fn open(house: &House, settings: &[u8]) -> Self {
        let stream = soon(TcpStream::connect(house.addr)).await.unwrap();
        let (ears, mut mouth) = stream.into_split();
        let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        opening.extend(frame(SETTINGS, 0, 0, settings));
        opening.extend(frame(SETTINGS, 1, 0, &[]));
        mouth.write_all(&opening).await.unwrap();
        Self {
            ears: Ears(ears),
            mouth,
        }
    }

    /// Says something, as far as the other side listens.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> bool {
        soon(self.mouth.write_all(bytes)).await.is_ok()
    }

    /// A GET on a stream of its own.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) -> bool {
        self.say(&get(stream, path)).await
    }

    /// Says the same again and again, until the other side hangs up or so many times; how often it
    /// could be said.
    pub(crate) async fn repeat(self, bytes: Vec<u8>, times: usize) -> usize {
        let Self {
            mut ears,
            mut mouth,
        } = self;
        // What is answered is read, or else both sides would stand still.
        let reading = tokio::spawn(async move { while ears.next().await.is_some() {} });
        let mut said = 0;
        while said < times && soon(mouth.write_all(&bytes)).await.is_ok() {
            said += 1;
        }
        drop(mouth);
        soon(reading).await.unwrap();
        said
    }
}

impl Ears {
    /// The next frame; `None` when the other side has hung up.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            payload,
        })
    }

    /// The next frame of this kind.
    pub(crate) async fn until(&mut self, kind: u8) -> Option<Frame> {
        soon(async {
            loop {
                let frame = self.next().await?;
                if frame.kind == kind {
                    return Some(frame);
                }
            }
        })
        .await
    }

    /// Whether the other side ends without taking anything back; to be asked at its end.
    pub(crate) async fn end_well(&mut self) -> bool {
        let mut rest = Vec::new();
        soon(self.0.read_to_end(&mut rest)).await.is_ok()
    }

    /// How long until the other side hangs up, whatever it says.
    pub(crate) async fn closed(&mut self) -> Duration {
        let started = std::time::Instant::now();
        soon(async { while self.next().await.is_some() {} }).await;
        started.elapsed()
    }
}
