//! Following an event stream to its end while it passes by.
//!
//! A stream is a paid answer that arrives in pieces. It is kept only when its end marker came, and
//! the end marker reaches no client before the whole is durable: [`EventScanner::safe_len`] says
//! how far a client may be shown it.
//!
//! The syntax is the event stream format of the HTML standard (§9.2.5): lines end in LF, CR or
//! CRLF, a blank line ends an event, a line that starts with a colon is a comment.

use super::marks::{Mark, Vocabulary};

/// Of a longer line only so many bytes are looked at, and of the data of one event.
const MOST_SCANNED: usize = 256 * 1024;

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Its end marker came, and no error.
    Complete,
    /// No end marker yet.
    Incomplete,
    /// It told of an error. It stays one, whatever follows.
    Error,
}

/// Reads an event stream in pieces of any size, in at most about 512 KiB of memory.
///
/// What it says depends on the bytes alone, not on where they were split.
#[derive(Debug)]
pub struct EventScanner {
    vocabulary: Vocabulary,
    /// Bytes pushed so far.
    len: u64,
    /// The line that has no end yet, as far as it is looked at.
    line: Vec<u8>,
    /// Where that line starts.
    line_at: u64,
    /// The last byte was a CR, which ended a line: an LF after it belongs to it.
    after_return: bool,
    event: Option<Event>,
    /// The end of the last complete event, or comment outside of one.
    settled: u64,
    /// The start of the event that ended the stream, and whether another may take its place.
    held: Option<Held>,
    failed: bool,
}

/// An event whose blank line has not come.
#[derive(Clone, Debug)]
struct Event {
    at: u64,
    mark: Mark,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    at: u64,
    last_for_sure: bool,
}

impl EventScanner {
    /// A scanner for the answer to a request on `path`, which decides what its last event is.
    pub fn new(path: &str) -> Self {
        Self {
            vocabulary: Vocabulary::of(path),
            len: 0,
            line: Vec::new(),
            line_at: 0,
            after_return: false,
            event: None,
            settled: 0,
            held: None,
            failed: false,
        }
    }

    /// Reads the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if self.after_return && !rest.is_empty() {
            self.after_return = false;
            if let Some(after) = rest.strip_prefix(b"\n") {
                rest = after;
                self.skip_line_feed();
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, terminator) = rest.split_at(end);
            self.add_to_line(line);
            rest = terminator.get(1..).unwrap_or_default();
            self.len += 1;
            self.end_line();
            if terminator.first() == Some(&b'\r') {
                if let Some(after) = rest.strip_prefix(b"\n") {
                    rest = after;
                    self.skip_line_feed();
                } else {
                    self.after_return = rest.is_empty();
                }
            }
        }
        self.add_to_line(rest);
    }

    /// How many bytes from the start of the stream may be shown to a client before the whole is
    /// durable: all complete events, and comments between them, up to the start of the event that
    /// ends the stream. It never shrinks.
    ///
    /// An event is held until its blank line, since any of its lines may make it the last. Where
    /// several results end with the same kind of event (images), each is held until another event
    /// follows.
    pub fn safe_len(&self) -> u64 {
        self.held.map_or(self.settled, |held| held.at)
    }

    /// Whether nothing that follows can matter: its end marker came, and no result that others may
    /// follow.
    pub fn is_over(&self) -> bool {
        let last = self.whole();
        !last.failed && last.held.is_some_and(|held| held.last_for_sure)
    }

    /// The same with a last line and a last event that are taken to be whole.
    fn whole(&self) -> Self {
        let mut last = Self {
            line: Vec::new(),
            event: self.event.clone(),
            ..*self
        };
        if !self.line.is_empty() {
            last.read_line(&self.line);
        }
        last.end_event();
        last
    }

    /// How the stream stands if nothing more comes. A last line without its end, and a last event
    /// without its blank line, count.
    pub fn end(&self) -> StreamEnd {
        let last = self.whole();
        if last.failed {
            StreamEnd::Error
        } else if last.held.is_some() {
            StreamEnd::Complete
        } else {
            StreamEnd::Incomplete
        }
    }

    fn add_to_line(&mut self, bytes: &[u8]) {
        let room = MOST_SCANNED.saturating_sub(self.line.len());
        self.line
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.len += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        self.read_line(&line);
        line.clear();
        // One huge line must not hold its memory for the rest of the stream.
        line.shrink_to(MOST_SCANNED / 64);
        self.line = line;
        self.line_at = self.len;
    }

    /// The LF of a CRLF whose CR has ended the line already.
    fn skip_line_feed(&mut self) {
        if self.event.is_none() && self.settled == self.len {
            self.settled += 1;
        }
        self.len += 1;
        self.line_at = self.len;
    }

    /// Reads the line that starts at `line_at` and ends at `len`.
    fn read_line(&mut self, line: &[u8]) {
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if self.line_at == 0 => rest,
            Some(_) | None => line,
        };
        if line.is_empty() {
            self.end_event();
            self.settled = self.len;
        } else if line.starts_with(b":") {
            if self.event.is_none() {
                self.settled = self.len;
            }
        } else {
            self.read_field(line);
        }
    }

    fn read_field(&mut self, line: &[u8]) {
        let event = self.event.get_or_insert_with(|| Event {
            at: self.line_at,
            mark: Mark::None,
            data: Vec::new(),
        });
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => event.mark = self.vocabulary.name(value),
            b"data" => {
                if !event.data.is_empty() {
                    event.data.push(b'\n');
                }
                let room = MOST_SCANNED.saturating_sub(event.data.len());
                event
                    .data
                    .extend_from_slice(value.get(..room).unwrap_or(value));
            }
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let Some(event) = self.event.take() else {
            return;
        };
        let mark = self.vocabulary.data(&event.data).or(event.mark);
        let started = Held {
            at: event.at,
            last_for_sure: mark == Mark::End,
        };
        match (mark, self.held) {
            (Mark::Error, _) => self.failed = true,
            // Something after the end: nothing of it is shown early.
            (_, Some(held)) if held.last_for_sure => {}
            (Mark::None, _) => self.held = None,
            // After a result that could be the last: now it was, and both wait.
            (Mark::End, Some(held)) => {
                let at = held.at;
                self.held = Some(Held { at, ..started });
            }
            (Mark::End, None) | (Mark::MaybeEnd, _) => self.held = Some(started),
        }
    }
}

#[cfg(test)]
mod tests;
