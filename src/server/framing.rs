//! Where a client's HTTP/1.1 messages begin and end, read along with hyper.
//!
//! hyper takes `Content-Length` out of a request that also has `Transfer-Encoding` (RFC 9112 §6.1
//! lets it), so that nobody behind it can tell. And it does not say how far a head has come. Both
//! are read here, from the bytes as they arrive; hyper alone decides what they mean. A message that
//! hyper refuses may be misread here: its connection ends anyway.

use std::mem;

use super::streams::{self, Streams};

/// The longest line of which everything is kept: no number of a `Content-Length` is longer.
const KEPT: usize = 256;

/// The first line of HTTP/2's preface.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// What follows that line before an HTTP/2 connection is one: the rest of the preface, and the
/// head of the SETTINGS frame that a client has to begin with (RFC 9113 §3.4).
const HTTP2_OPENING: u64 = b"\r\nSM\r\n\r\n".len() as u64 + FRAME_HEAD;
const FRAME_HEAD: u64 = streams::HEAD as u64;

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The connection's first head, of which nothing has come.
    Opening,
    /// A head that has begun.
    Head,
    /// A body, or its framing.
    Body,
    /// The next head, of which nothing has come.
    Between,
    /// Another protocol.
    Beyond,
}

/// What hyper does not tell of a head, and nobody may act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It had both `Transfer-Encoding` and `Content-Length`.
    TwoLengths,
    /// Its target had a fragment, which hyper drops: another server might not.
    Fragment,
}

/// How far a client's messages have come.
#[derive(Default)]
pub(super) struct Framing {
    part: Part,
    line: Line,
    head: Head,
    heads: u64,
    doubt: Option<(u64, Doubt)>,
    fragment: bool,
    http2: bool,
    /// What is under way, once it is HTTP/2.
    pub(super) streams: Streams,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// Empty lines, then a request line.
    #[default]
    RequestLine,
    Headers,
    /// So many bytes of a body to come.
    Fixed(u64),
    ChunkSize,
    /// So many bytes of a chunk and the end of its line to come.
    Chunk(u64),
    Trailers,
    /// So many bytes of an HTTP/2 opening to come.
    Http2(u64),
    Other,
    /// A body that nobody can tell the end of.
    Unknown,
    /// A body that hyper may read otherwise than it is read here.
    Broken,
}

/// A line that may come in pieces.
#[derive(Default)]
struct Line {
    start: Vec<u8>,
    cut: bool,
    ends_in_cr: bool,
}

/// What a head says about the length of its body.
#[derive(Default)]
struct Head {
    length: Option<u64>,
    coded: bool,
}

impl Framing {
    /// Reads on.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match &mut self.part {
                Part::Fixed(left) => {
                    let rest = skip(left, bytes);
                    self.part = over(*left, Part::RequestLine, self.part);
                    rest
                }
                Part::Chunk(left) => {
                    let rest = skip(left, bytes);
                    self.part = over(*left, Part::ChunkSize, self.part);
                    rest
                }
                Part::Http2(left) => {
                    let rest = skip(left, bytes);
                    let taken = bytes.len() - rest.len();
                    // What is last of an opening is the head of a frame.
                    let of_frame = FRAME_HEAD.saturating_sub(*left);
                    let of_frame = usize::try_from(of_frame).map_or(taken, |most| most.min(taken));
                    self.streams.read(&bytes[taken - of_frame..taken]);
                    self.part = over(*left, Part::Other, self.part);
                    rest
                }
                Part::RequestLine | Part::Headers | Part::ChunkSize | Part::Trailers => {
                    self.read_line(bytes)
                }
                Part::Other if self.http2 => return self.streams.read(bytes),
                Part::Other | Part::Unknown | Part::Broken => return,
            };
        }
    }

    /// What comes next is no HTTP/1.1 any more.
    pub(super) fn leave(&mut self) {
        self.part = Part::Other;
    }

    /// Where the next byte belongs to.
    pub(super) fn place(&self) -> Place {
        match self.part {
            Part::RequestLine if self.line.has_begun() => Place::Head,
            Part::RequestLine if self.heads == 0 => Place::Opening,
            Part::RequestLine => Place::Between,
            Part::Headers | Part::Http2(_) => Place::Head,
            Part::Fixed(_)
            | Part::ChunkSize
            | Part::Chunk(_)
            | Part::Trailers
            | Part::Unknown
            | Part::Broken => Place::Body,
            Part::Other => Place::Beyond,
        }
    }

    /// How many heads have come whole.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Which head, counted from 0, must not be acted on. The connection is closed after its answer,
    /// so there is one at most.
    pub(super) fn doubt(&self) -> Option<(u64, Doubt)> {
        self.doubt
    }

    /// SECURITY: whether nobody can tell any more where the next message begins. What hyper makes of
    /// it may differ, so nothing more may be acted on.
    pub(super) fn is_broken(&self) -> bool {
        self.part == Part::Broken
    }

    /// Whether the connection speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2
    }

    /// Whether a request line has begun and not ended.
    pub(super) fn is_in_target(&self) -> bool {
        self.part == Part::RequestLine && self.line.has_begun()
    }

    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.fragment |= self.part == Part::RequestLine && line.contains(&b'#');
        self.line.keep(line);
        if end.is_none() {
            return &[];
        }
        self.end_line();
        rest.get(1..).unwrap_or_default()
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        let text = line.start.strip_suffix(b"\r").unwrap_or(&line.start);
        match self.part {
            Part::RequestLine if text.is_empty() => {}
            Part::RequestLine if text == HTTP2 && self.heads == 0 => {
                self.part = Part::Http2(HTTP2_OPENING);
                self.http2 = true;
            }
            Part::RequestLine => self.part = Part::Headers,
            Part::Headers if text.is_empty() => self.end_head(),
            Part::Headers => self.head.read(text, line.cut),
            Part::ChunkSize => self.part = chunk(text, line.cut),
            // To hyper, a bare line feed is part of a trailer.
            Part::Trailers if !line.ends_in_cr => self.part = Part::Broken,
            Part::Trailers if text.is_empty() => self.part = Part::RequestLine,
            Part::Trailers
            | Part::Fixed(_)
            | Part::Chunk(_)
            | Part::Http2(_)
            | Part::Other
            | Part::Unknown
            | Part::Broken => {}
        }
        // One allocation for all lines of a connection.
        self.line = line.emptied();
    }

    fn end_head(&mut self) {
        let head = mem::take(&mut self.head);
        self.part = match head {
            Head {
                length: Some(_),
                coded: true,
            } => {
                self.doubt = Some((self.heads, Doubt::TwoLengths));
                Part::Unknown
            }
            _ if self.fragment => {
                self.doubt = Some((self.heads, Doubt::Fragment));
                Part::Unknown
            }
            Head { coded: true, .. } => Part::ChunkSize,
            Head {
                length: Some(length @ 1..),
                ..
            } => Part::Fixed(length),
            Head { .. } => Part::RequestLine,
        };
        self.heads += 1;
    }
}

impl Head {
    /// hyper refuses folded lines, and white space before the colon.
    fn read(&mut self, line: &[u8], cut: bool) {
        let Some(colon) = memchr::memchr(b':', line) else {
            return;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.coded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            let length = str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok());
            self.length = length.or(Some(0));
            // SECURITY: a length that cannot be followed is refused like two of them.
            self.coded |= cut;
        }
    }
}

impl Line {
    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.start.len());
        self.cut |= bytes.len() > room;
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.start.extend_from_slice(kept);
        if let Some(last) = bytes.last() {
            self.ends_in_cr = *last == b'\r';
        }
    }

    /// An empty line before a request is nothing (RFC 9112 §2.2).
    fn has_begun(&self) -> bool {
        self.start.iter().any(|byte| *byte != b'\r')
    }

    fn emptied(mut self) -> Self {
        self.start.clear();
        self.cut = false;
        self.ends_in_cr = false;
        self
    }
}

/// What follows the line of a chunk's size (RFC 9112 §7.1); whether more of that line came than is
/// kept.
fn chunk(line: &[u8], cut: bool) -> Part {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if cut && digits == line.len() {
        return Part::Broken;
    }
    let digits = str::from_utf8(&line[..digits]).unwrap_or_default();
    match u64::from_str_radix(digits, 16) {
        Ok(0) => Part::Trailers,
        // The chunk is followed by a line's end.
        Ok(size) => Part::Chunk(size.saturating_add(2)),
        Err(_) => Part::Unknown,
    }
}

/// Takes what is `left` to come out of `bytes`, and gives back the rest of them.
fn skip<'a>(left: &mut u64, bytes: &'a [u8]) -> &'a [u8] {
    let step = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    *left -= step as u64;
    &bytes[step..]
}

fn over(left: u64, next: Part, this: Part) -> Part {
    if left == 0 { next } else { this }
}

#[cfg(test)]
mod tests;
