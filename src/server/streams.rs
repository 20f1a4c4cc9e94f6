//! Which answers of an HTTP/2 connection are still to leave, read along with hyper.
//!
//! hyper takes an answer whole long before its client does: what the client has made no room for
//! waits in hyper, and nobody is told when it has gone. So the frames are read as they pass
//! (RFC 9113 §4.1); of their content only which stream they begin and end.

/// The length of what every frame begins with.
pub(super) const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Streams that are told apart. hyper ends a connection that has far fewer at once.
const MOST: usize = 1024;

/// The streams of one connection.
#[derive(Default)]
pub(super) struct Streams {
    read: Heads,
    written: Heads,
    /// Those that were asked on and not answered to the end, by number.
    open: Vec<u32>,
    /// The highest that was asked on: what comes on it or below is more of the same request.
    last: u32,
    /// The one on which a head has begun that goes on in further frames.
    begun: Option<u32>,
    /// How many frames of answers have left.
    moved: u64,
}

/// The heads of the frames that pass in one direction, in whatever pieces.
#[derive(Default)]
struct Heads {
    head: [u8; HEAD],
    have: usize,
    /// How much of the payload is still to pass.
    left: usize,
}

struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Streams {
    /// What the client has said, from its first frame on.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let Self {
            read,
            open,
            last,
            begun,
            ..
        } = self;
        read.pass(bytes, |head| {
            match head.kind {
                HEADERS if head.stream > *last => {
                    *last = head.stream;
                    *begun = Some(head.stream);
                }
                RST_STREAM => close(open, head.stream),
                _ => {}
            }
            // Nobody waits for the answer to a head that is not whole.
            if matches!(head.kind, HEADERS | CONTINUATION)
                && head.flags & END_HEADERS != 0
                && open.len() < MOST
            {
                open.extend(begun.take());
            }
        });
    }

    /// What hyper has said. Whether the last answer has left with it.
    pub(super) fn wrote(&mut self, bytes: &[u8]) -> bool {
        let Self {
            written,
            open,
            moved,
            ..
        } = self;
        let before = open.len();
        written.pass(bytes, |head| match head.kind {
            DATA | HEADERS => {
                *moved += 1;
                if head.flags & END_STREAM != 0 {
                    close(open, head.stream);
                }
            }
            RST_STREAM => close(open, head.stream),
            _ => {}
        });
        before > 0 && open.is_empty()
    }

    /// Whether an answer is still to leave, or the rest of one.
    pub(super) fn is_any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A number that grows whenever something of an answer leaves.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }
}

fn close(open: &mut Vec<u32>, stream: u32) {
    if let Some(at) = open.iter().position(|known| *known == stream) {
        open.swap_remove(at);
    }
}

impl Heads {
    /// Tells of each frame that has passed whole.
    fn pass(&mut self, mut bytes: &[u8], mut each: impl FnMut(&Head)) {
        while !bytes.is_empty() {
            if self.have < HEAD {
                let wanted = (HEAD - self.have).min(bytes.len());
                let (now, rest) = bytes.split_at(wanted);
                self.head[self.have..self.have + wanted].copy_from_slice(now);
                self.have += wanted;
                bytes = rest;
                let [high, middle, low, ..] = self.head;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            }
            if self.have < HEAD {
                return;
            }
            let payload = self.left.min(bytes.len());
            self.left -= payload;
            bytes = &bytes[payload..];
            if self.left == 0 {
                self.have = 0;
                let [_, _, _, kind, flags, stream @ ..] = self.head;
                each(&Head {
                    kind,
                    flags,
                    stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        // What a payload looks like must not matter.
        frame.extend((0..length).map(|_| RST_STREAM));
        frame
    }

    /// Says so in pieces of every size.
    fn in_pieces(bytes: &[u8], mut say: impl FnMut(usize, &[u8])) {
        for size in 1..=bytes.len() {
            for piece in bytes.chunks(size) {
                say(size, piece);
            }
            say(size, &[]);
        }
    }

    #[test]
    fn an_answer_is_under_way_from_its_head_to_its_last_frame() {
        let asked = [
            frame(4, 0, 0, 6),
            frame(HEADERS, END_STREAM | END_HEADERS, 1, 20),
            frame(HEADERS, 0, 3, 20),
            frame(CONTINUATION, 0, 3, 20),
            frame(CONTINUATION, END_HEADERS, 3, 20),
            frame(DATA, 0, 3, 30),
            // Trailers of a request are no further request.
            frame(HEADERS, END_STREAM | END_HEADERS, 3, 5),
        ]
        .concat();
        let answered = [
            frame(HEADERS, 0, 1, 9),
            frame(DATA, 0, 1, 30),
            frame(HEADERS, END_STREAM, 3, 9),
            frame(6, END_STREAM, 1, 8),
            frame(DATA, END_STREAM, 1, 0),
        ]
        .concat();
        let mut all: Vec<Streams> = (0..asked.len().max(answered.len()))
            .map(|_| Streams::default())
            .collect();
        in_pieces(&asked, |size, piece| all[size - 1].read(piece));
        for streams in &mut all {
            let rest = if streams.open.is_empty() {
                &asked[..]
            } else {
                &[]
            };
            streams.read(rest);
            assert_eq!(streams.open, [1, 3]);
        }
        let mut left = vec![0; all.len()];
        in_pieces(&answered, |size, piece| {
            left[size - 1] += usize::from(all[size - 1].wrote(piece));
        });
        for (streams, left) in all.iter_mut().zip(left).take(answered.len()) {
            assert_eq!(
                (left, streams.is_any_open(), streams.moved()),
                (1, false, 4)
            );
        }
    }

    #[test]
    fn half_a_head_asks_for_nothing() {
        let whole = frame(HEADERS, END_HEADERS, 1, 20);
        for end in 0..whole.len() {
            let mut streams = Streams::default();
            streams.read(&whole[..end]);
            assert!(!streams.is_any_open(), "{end} bytes");
            streams.read(&whole[end..]);
            assert!(streams.is_any_open());
            let answer = frame(DATA, END_STREAM, 1, 20);
            assert!(!streams.wrote(&answer[..end]) && streams.is_any_open());
            assert!(streams.wrote(&answer[end..]), "now all of it has left");
        }
    }

    #[test]
    fn whoever_resets_a_stream_ends_it() {
        let mut streams = Streams::default();
        for stream in [1, 3] {
            streams.read(&frame(HEADERS, END_HEADERS, stream, 2));
        }
        assert!(!streams.wrote(&frame(RST_STREAM, 0, 1, 4)));
        assert!(streams.is_any_open());
        streams.read(&frame(RST_STREAM, 0, 3, 4));
        assert!(!streams.is_any_open());
        assert!(!streams.wrote(&frame(RST_STREAM, 0, 3, 4)), "it is known");
    }

    #[test]
    fn there_is_an_end_to_what_is_told_apart() {
        let mut streams = Streams::default();
        for stream in 1..5_000_u32 {
            let mut frame = frame(HEADERS, END_HEADERS, 0, 0);
            frame[5..].copy_from_slice(&stream.to_be_bytes());
            streams.read(&frame);
        }
        assert_eq!(streams.open.len(), MOST);
    }
}
