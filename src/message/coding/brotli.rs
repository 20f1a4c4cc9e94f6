//! Brotli (RFC 7932) undone piece by piece.

use std::io;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf, Bytes};

use super::PIECE;

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// A message under way. Holds a window of at most 16 MiB.
pub(super) struct Brotli {
    state: Box<State>,
    /// More can be said without another byte of the coded form.
    more: bool,
    ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self {
            // The larger windows of an extension are for who has asked for them.
            state: Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())),
            more: false,
            ended: false,
        }
    }

    /// At most 64 KiB more; `None` when all of `coded` was used.
    pub(super) fn step(&mut self, coded: &mut Bytes) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            // What follows the end is nobody's.
            coded.clear();
        }
        if coded.is_empty() && !self.more {
            return Ok(None);
        }
        let mut plain = vec![0; PIECE];
        let (mut left, mut used) = (coded.len(), 0);
        let (mut room, mut written, mut total) = (plain.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut used,
            coded,
            &mut room,
            &mut written,
            &mut plain,
            &mut total,
            &mut self.state,
        );
        coded.advance(used.min(coded.len()));
        plain.truncate(written);
        self.more = matches!(result, BrotliResult::NeedsMoreOutput);
        match result {
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreOutput | BrotliResult::NeedsMoreInput => {}
            BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(Some(plain))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}
