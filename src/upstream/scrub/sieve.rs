//! The key found in a text that comes in pieces, wherever the pieces are cut.

use std::mem;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use memchr::memmem::Finder;

/// What stands where the key stood.
const STARS: &[u8] = b"***";

/// The key, prepared to be found.
pub(super) struct Needle {
    key: Bytes,
    finder: Finder<'static>,
}

impl Needle {
    /// `key` has at least one byte.
    pub(super) fn new(key: &[u8]) -> Self {
        Self {
            key: Bytes::copy_from_slice(key),
            finder: Finder::new(key).into_owned(),
        }
    }

    /// `text` with `***` for every key in it; `None` when there is none.
    pub(super) fn replaced(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut clean = Vec::new();
        let mut after = 0;
        for at in self.finder.find_iter(text) {
            clean.extend_from_slice(&text[after..at]);
            clean.extend_from_slice(STARS);
            after = at + self.key.len();
        }
        if after == 0 {
            return None;
        }
        clean.extend_from_slice(&text[after..]);
        Some(clean)
    }

    /// How many bytes at the end of `text` may be the beginning of a key that goes on.
    fn overhang(&self, text: &[u8]) -> usize {
        let Some((first, rest)) = self.key.split_first() else {
            return 0;
        };
        let end = &text[text.len().saturating_sub(rest.len())..];
        memchr::memchr_iter(*first, end)
            .map(|at| &end[at..])
            .find(|end| self.key.starts_with(end))
            .map_or(0, <[u8]>::len)
    }
}

/// Replaces the key in a text that comes in pieces. It holds back nothing but an end that may be
/// the beginning of a key, and copies nothing but that.
pub(super) struct Sieve {
    needle: Arc<Needle>,
    mask: Bytes,
    /// So many bytes are held back; they are the first bytes of the key.
    held: usize,
    found: bool,
}

impl Sieve {
    /// Puts `***` for the key.
    pub(super) fn of_three_stars(needle: Arc<Needle>) -> Self {
        Self::new(needle, Bytes::from_static(STARS))
    }

    /// Puts as many stars as the key has bytes, so that a text keeps its length.
    pub(super) fn of_same_length(needle: Arc<Needle>) -> Self {
        let stars = vec![b'*'; needle.key.len()];
        Self::new(needle, stars.into())
    }

    fn new(needle: Arc<Needle>, mask: Bytes) -> Self {
        Self {
            needle,
            mask,
            held: 0,
            found: false,
        }
    }

    pub(super) fn needle(&self) -> &Needle {
        &self.needle
    }

    /// How many bytes are held back.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether there was a key.
    pub(super) fn has_found(&self) -> bool {
        self.found
    }

    /// Takes the next piece, and gives out what may be seen, in pieces that are not empty.
    pub(super) fn push(&mut self, piece: Bytes, emit: &mut impl FnMut(Bytes)) {
        let mut rest = match mem::take(&mut self.held) {
            0 => piece,
            held => self.close_seam(held, piece, emit),
        };
        while let Some(at) = self.needle.finder.find(&rest) {
            if at > 0 {
                emit(rest.split_to(at));
            }
            self.replace(emit);
            rest.advance(self.needle.key.len());
        }
        self.held = self.needle.overhang(&rest);
        rest.truncate(rest.len() - self.held);
        if !rest.is_empty() {
            emit(rest);
        }
    }

    /// The text is over: what was held back is no key.
    pub(super) fn finish(&mut self, emit: &mut impl FnMut(Bytes)) {
        let held = mem::take(&mut self.held);
        if held > 0 {
            emit(self.needle.key.slice(..held));
        }
    }

    /// Decides on the `held` bytes as far as `piece` allows, and gives back what is left to search.
    fn close_seam(&mut self, held: usize, mut piece: Bytes, emit: &mut impl FnMut(Bytes)) -> Bytes {
        let key = self.needle.key.clone();
        // A key that begins in what is held ends within the next `key.len() - 1` bytes, and no
        // other key fits into those.
        let reach = piece.len().min(key.len() - 1);
        let seam = [&key[..held], &piece[..reach]].concat();
        if let Some(at) = self.needle.finder.find(&seam) {
            if at > 0 {
                emit(key.slice(..at));
            }
            self.replace(emit);
            piece.advance(at + key.len() - held);
            piece
        } else if reach == piece.len() {
            seam.into()
        } else {
            emit(key.slice(..held));
            piece
        }
    }

    fn replace(&mut self, emit: &mut impl FnMut(Bytes)) {
        self.found = true;
        emit(self.mask.clone());
    }
}
