//! A hold on the bytes of a blob, for as long as somebody has them in hand.

use std::fmt;
use std::sync::Arc;

use super::blob_hash::BlobHash;
use super::book::Book;

/// Keeps a blob from being removed until the last clone is dropped.
///
/// MONEY: between a look at an entry and the opening of its body, and between a blob's end and the
/// record that names it, no file and no record speaks for the blob; a hold does. One that was
/// made by [`Default`] holds nothing. Holds are equal, whatever they hold: they are no part of
/// what is kept.
#[derive(Clone, Default)]
pub struct Hold(Option<Arc<Held>>);

struct Held {
    book: Book,
    hash: BlobHash,
}

impl Hold {
    pub(super) fn on(book: &Book, hash: BlobHash) -> Self {
        book.hold(hash);
        let book = book.clone();
        Self(Some(Arc::new(Held { book, hash })))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.book.let_go(&self.hash);
    }
}

impl PartialEq for Hold {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Hold {}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "held" } else { "not held" })
    }
}
