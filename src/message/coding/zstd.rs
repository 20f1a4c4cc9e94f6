//! Zstandard (RFC 8878) undone piece by piece.
//!
//! The decoder wants headers and blocks whole. How long the next one is stands in its first bytes;
//! it waits here until it is complete, at most 128 KiB.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::PIECE;

/// No larger window may be needed: 8 MiB (RFC 9659 §3).
const WINDOW: u64 = 8 * 1024 * 1024;
/// The longest block (RFC 8878 §3.1.1.2.4).
const BLOCK: usize = 128 * 1024;
/// A block of this type is one byte, repeated.
const REPEATED: u32 = 1;

/// A message under way.
pub(super) struct Zstd {
    frame: FrameDecoder,
    /// What came of the next header or block.
    unit: Vec<u8>,
    next: Next,
}

#[derive(Clone, Copy)]
enum Next {
    /// The message begins.
    First,
    /// A frame ended; another one may follow.
    Frame,
    Block {
        /// The last one is followed by a checksum.
        has_checksum: bool,
    },
    /// So many bytes of a frame that says nothing, and whether nothing came before it.
    Skipped(usize, bool),
}

impl Zstd {
    pub(super) fn new() -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW);
        Self {
            frame,
            unit: Vec::new(),
            next: Next::First,
        }
    }

    /// At most 64 KiB more; `None` when all of `coded` was used.
    pub(super) fn step(&mut self, coded: &mut Bytes) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.frame.can_collect() > 0 {
                let mut plain = vec![0; PIECE];
                let length = self.frame.read(&mut plain)?;
                plain.truncate(length);
                return Ok(Some(plain));
            }
            self.check()?;
            if let Next::Skipped(left, first) = &mut self.next {
                let skipped = coded.len().min(*left);
                coded.advance(skipped);
                *left -= skipped;
                if *left == 0 {
                    self.next = if *first { Next::First } else { Next::Frame };
                }
            }
            if coded.is_empty() {
                return Ok(None);
            }
            let missing = self.wanted()?.saturating_sub(self.unit.len());
            let piece = coded.split_to(missing.min(coded.len()));
            self.unit.extend_from_slice(&piece);
            if self.unit.len() >= self.wanted()? {
                self.take()?;
            }
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.next, Next::Frame) && self.unit.is_empty()
    }

    /// How long the next header or block is, as far as what came of it says.
    fn wanted(&self) -> io::Result<usize> {
        match (self.next, &self.unit[..]) {
            (Next::First | Next::Frame, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) => Ok(8),
            (Next::First | Next::Frame, [_, _, _, _, about, ..]) => Ok(header_length(*about)),
            (Next::First | Next::Frame, _) => Ok(5),
            (Next::Block { has_checksum }, [a, b, c, ..]) => {
                let head = u32::from_le_bytes([*a, *b, *c, 0]);
                let length = usize::try_from(head >> 3).unwrap_or(usize::MAX);
                if length > BLOCK {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let is_repeated = head >> 1 & 3 == REPEATED;
                let checksum = if has_checksum && head & 1 == 1 { 4 } else { 0 };
                Ok(3 + if is_repeated { 1 } else { length } + checksum)
            }
            (Next::Block { .. }, _) => Ok(3),
            (Next::Skipped(..), _) => Ok(0),
        }
    }

    /// Takes the header or block that is complete now.
    fn take(&mut self) -> io::Result<()> {
        let unit = std::mem::take(&mut self.unit);
        self.next = match (self.next, &unit[..]) {
            (now @ (Next::First | Next::Frame), [0x50..=0x5f, 0x2a, 0x4d, 0x18, length @ ..]) => {
                let length = length.try_into().map(u32::from_le_bytes);
                let length = usize::try_from(length.unwrap_or_default()).unwrap_or(usize::MAX);
                Next::Skipped(length, matches!(now, Next::First))
            }
            (Next::First | Next::Frame, header) => {
                self.frame.reset(header).map_err(io::Error::other)?;
                let has_checksum = header.get(4).is_some_and(|about| about & 4 != 0);
                Next::Block { has_checksum }
            }
            (now, block) => {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.frame.decode_blocks(block, one);
                decoded.map_err(io::Error::other)?;
                now
            }
        };
        Ok(())
    }

    /// Ends a frame of which everything was handed on.
    fn check(&mut self) -> io::Result<()> {
        if matches!(self.next, Next::Block { .. }) && self.frame.is_finished() {
            let told = self.frame.get_checksum_from_data();
            if told.is_some() && told != self.frame.get_calculated_checksum() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.next = Next::Frame;
        }
        Ok(())
    }
}

/// How long the header of a frame is, by its fifth byte (RFC 8878 §3.1.1.1).
fn header_length(about: u8) -> usize {
    let is_single_segment = about & 0x20 != 0;
    let window = usize::from(!is_single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(about & 3)];
    let size = match about >> 6 {
        0 => usize::from(is_single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    5 + window + dictionary + size
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::message::coding::{Coding, decoded};

    fn plain(coded: &[u8]) -> Option<Vec<u8>> {
        decoded(Coding::Zstd, &Bytes::copy_from_slice(coded), 1 << 30)
    }

    fn frame(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    #[test]
    fn frames_follow_each_other_and_some_say_nothing() {
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let nothing = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        let two = [&skipped, &frame(b"one, ")[..], &nothing, &frame(b"two")].concat();
        assert_eq!(plain(&two).unwrap(), b"one, two");
        let after = [&frame(b"one")[..], &skipped].concat();
        assert_eq!(plain(&after).unwrap(), b"one");
        assert_eq!(plain(&after[..after.len() - 1]), None, "cut off");
        assert_eq!(plain(&skipped), None, "no frame at all");
        assert_eq!(plain(&[&frame(b"one")[..], b"x"].concat()), None);
    }

    #[test]
    fn what_was_made_elsewhere() {
        // Made with the zstd program, 1.5: a frame that ends with its checksum.
        let made = b"\x28\xb5\x2f\xfd\x04\x58\x29\x00\x00hello\xa3\x6d\x9f\x88";
        assert_eq!(plain(made).unwrap(), b"hello");
        for at in 9..made.len() {
            let mut changed = *made;
            changed[at] ^= 1;
            assert_eq!(plain(&changed), None, "{at}");
        }
        assert_eq!(plain(&made[..made.len() - 4]), None, "without its checksum");
    }

    #[test]
    fn a_window_that_is_too_large_is_none() {
        for (exponent, taken) in [(13, true), (14, false), (31, false)] {
            let window = exponent << 3;
            let head = [0x28, 0xb5, 0x2f, 0xfd, 0, window];
            let coded = [&head[..], &[0x09, 0, 0, b'a']].concat();
            assert_eq!(plain(&coded).is_some(), taken, "{exponent}");
        }
    }
}
