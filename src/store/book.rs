//! Which blobs there are, which generations need them, who has them in hand, and how much is kept.
//!
//! In memory, filled after a start from the rows and the folders ([`survey`](super::survey)), and
//! changed with every file: MONEY: the removal of what was paid for must not hang on an index that
//! may lose rows. A blob that nobody needs is free to go when nobody holds it and no record is about
//! to name it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::RangeFrom;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::blob_hash::BlobHash;
use crate::generation::Fingerprint;

/// How long a blob that was just finished waits for a record that names it.
const FRESH: Duration = Duration::from_mins(10);

/// The book; clones share it.
#[derive(Clone, Default)]
pub(super) struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    blobs: HashMap<BlobHash, Page>,
    /// Those on the disk that no generation needs.
    unneeded: BTreeSet<BlobHash>,
    /// Which generations need a blob.
    needed_by: BTreeSet<(BlobHash, Fingerprint)>,
    /// The same the other way round.
    needs: BTreeSet<(Fingerprint, BlobHash)>,
    /// The size of all files of generations, in bytes.
    files: u64,
    /// The size of all blobs, in bytes.
    blob_bytes: u64,
    /// Whether everything that was there at start stands here.
    complete: bool,
    /// How much was kept when it was last known, in bytes.
    expected: u64,
}

/// What is known about one blob.
#[derive(Default)]
struct Page {
    /// Its size in bytes, while it is on the disk.
    len: Option<u64>,
    /// How many have it in hand.
    holds: usize,
    /// Until when it waits for a record, after it was finished.
    fresh_until: Option<Instant>,
    /// Nobody needs it any longer: it goes as soon as it may, whatever its age.
    released: bool,
}

impl Book {
    /// Notes, at start, what a generation needs.
    pub(super) fn load(&self, key: &Fingerprint, blobs: &[(BlobHash, u64)]) {
        if !blobs.is_empty() {
            self.pages().name(key, blobs);
        }
    }

    /// Notes, at start, a blob that is there.
    pub(super) fn load_blob(&self, hash: BlobHash, len: u64) {
        let mut pages = self.pages();
        // Somebody else may have come to the end first, and the blob may be gone by now.
        if !pages.complete {
            pages.arrive(hash, len);
        }
    }

    /// Notes, at start, the size of files of generations, in bytes.
    pub(super) fn load_files(&self, bytes: u64) {
        let mut pages = self.pages();
        pages.files = pages.files.saturating_add(bytes);
    }

    /// Begins anew. Nothing may be in anybody's hand.
    pub(super) fn clear(&self) {
        *self.pages() = Pages::default();
    }

    /// Notes how much was kept when that was last known, in bytes, until it is known again.
    pub(super) fn last_known(&self, bytes: u64) {
        self.pages().expected = bytes;
    }

    /// Notes that everything which was there at start has been noted.
    pub(super) fn complete(&self) {
        let mut pages = self.pages();
        pages.complete = true;
        // Released, and not on the disk.
        let there = |page: &Page| page.len.is_some() || page.holds > 0;
        pages.blobs.retain(|_, page| there(page));
    }

    /// MONEY: until then nobody can say of a blob that no generation needs it.
    pub(super) fn is_complete(&self) -> bool {
        self.pages().complete
    }

    /// Notes that the file of `key` was written: its size before and now, and the blobs it needs.
    /// Gives back those that nobody needs any longer.
    pub(super) fn written(
        &self,
        key: &Fingerprint,
        (before, now): (u64, u64),
        blobs: &[(BlobHash, u64)],
    ) -> Vec<BlobHash> {
        let mut pages = self.pages();
        pages.resize(before, now);
        pages.name(key, blobs);
        pages.release(key, blobs)
    }

    /// Notes a write of which it is not certain whether it took place: both versions are needed.
    pub(super) fn maybe_written(
        &self,
        key: &Fingerprint,
        (before, now): (u64, u64),
        blobs: &[(BlobHash, u64)],
    ) {
        let mut pages = self.pages();
        pages.resize(before, now);
        pages.name(key, blobs);
    }

    /// Notes that the file of `key` is gone. Gives back the blobs that nobody needs any longer.
    pub(super) fn removed(&self, key: &Fingerprint, before: u64) -> Vec<BlobHash> {
        let mut pages = self.pages();
        pages.resize(before, 0);
        pages.release(key, &[])
    }

    /// Notes that a blob was finished: for a while it waits for the record that will name it.
    pub(super) fn finished(&self, hash: BlobHash, len: u64) {
        let mut pages = self.pages();
        pages.arrive(hash, len);
        if let Some(page) = pages.blobs.get_mut(&hash) {
            page.fresh_until = Some(Instant::now() + FRESH);
        }
    }

    pub(super) fn hold(&self, hash: BlobHash) {
        self.pages().blobs.entry(hash).or_default().holds += 1;
    }

    pub(super) fn let_go(&self, hash: &BlobHash) {
        let mut pages = self.pages();
        let complete = pages.complete;
        let Some(page) = pages.blobs.get_mut(hash) else {
            return;
        };
        page.holds = page.holds.saturating_sub(1);
        // Of one that was released it is not known yet whether it is on the disk.
        let wanted = page.holds > 0 || page.len.is_some() || (page.released && !complete);
        if !wanted {
            pages.blobs.remove(hash);
        }
    }

    /// Removes a blob with `unlink`, when it may go; gives back its size in bytes, if it went.
    ///
    /// The book stays closed meanwhile, so that nobody takes the blob in hand; `unlink` only takes
    /// the name away.
    pub(super) fn free<E>(
        &self,
        hash: &BlobHash,
        unlink: impl FnOnce() -> Result<(), E>,
    ) -> Result<Option<u64>, E> {
        let mut pages = self.pages();
        if pages.is_needed(hash) {
            return Ok(None);
        }
        let Some(page) = pages.blobs.get(hash).filter(|page| page.may_go()) else {
            return Ok(None);
        };
        let len = page.len.unwrap_or(0);
        unlink()?;
        pages.blobs.remove(hash);
        pages.unneeded.remove(hash);
        pages.blob_bytes = pages.blob_bytes.saturating_sub(len);
        Ok(Some(len))
    }

    /// The blobs that nobody needs and nobody has in hand, and whether a generation had needed them
    /// before.
    pub(super) fn unneeded(&self) -> Vec<(BlobHash, bool)> {
        let pages = self.pages();
        let blobs = pages.unneeded_pages();
        blobs
            .filter(|(_, page)| page.may_go())
            .map(|(hash, page)| (*hash, page.released))
            .collect()
    }

    /// The size of the blobs that no generation needs and that somebody has in hand, or that are on
    /// their way out, in bytes: the end of a generation frees nothing of it.
    pub(super) fn passing_bytes(&self) -> u64 {
        let pages = self.pages();
        let passing = pages
            .unneeded_pages()
            .filter(|(_, page)| page.released || !page.may_go());
        passing.filter_map(|(_, page)| page.len).sum()
    }

    /// The generations that need a blob, at most `limit`.
    pub(super) fn needed_by(&self, hash: &BlobHash, limit: usize) -> Vec<Fingerprint> {
        let pages = self.pages();
        let keys = pages.needed_by.range(from_blob(*hash));
        keys.take_while(|(blob, _)| blob == hash)
            .take(limit)
            .map(|(_, key)| *key)
            .collect()
    }

    /// The size of everything kept, each blob once, in bytes; what was kept when that was last
    /// known, as long as less is known now.
    pub(super) fn bytes(&self) -> u64 {
        let pages = self.pages();
        let known = pages.files.saturating_add(pages.blob_bytes);
        if pages.complete {
            known
        } else {
            known.max(pages.expected)
        }
    }

    /// The size of all blobs, in bytes, as far as they are known.
    pub(super) fn blob_bytes(&self) -> u64 {
        self.pages().blob_bytes
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn resize(&mut self, before: u64, now: u64) {
        self.files = self.files.saturating_sub(before).saturating_add(now);
    }

    fn arrive(&mut self, hash: BlobHash, len: u64) {
        let page = self.blobs.entry(hash).or_default();
        let before = page.len.replace(len).unwrap_or(0);
        self.blob_bytes = self.blob_bytes.saturating_sub(before).saturating_add(len);
        if !self.is_needed(&hash) {
            self.unneeded.insert(hash);
        }
    }

    fn unneeded_pages(&self) -> impl Iterator<Item = (&BlobHash, &Page)> {
        let hashes = self.unneeded.iter();
        hashes.filter_map(|hash| Some((hash, self.blobs.get(hash)?)))
    }

    fn name(&mut self, key: &Fingerprint, blobs: &[(BlobHash, u64)]) {
        for (hash, _) in blobs {
            self.needed_by.insert((*hash, *key));
            self.needs.insert((*key, *hash));
            self.unneeded.remove(hash);
            if let Some(page) = self.blobs.get_mut(hash) {
                page.fresh_until = None;
                page.released = false;
            }
        }
    }

    /// Takes back what `key` needs, but for `but`.
    fn release(&mut self, key: &Fingerprint, but: &[(BlobHash, u64)]) -> Vec<BlobHash> {
        let from = BlobHash::from_bytes([0; 32]);
        let old: Vec<BlobHash> = self
            .needs
            .range((*key, from)..)
            .take_while(|(owner, _)| owner == key)
            .map(|(_, hash)| *hash)
            .filter(|hash| !but.iter().any(|(kept, _)| kept == hash))
            .collect();
        for hash in &old {
            self.needs.remove(&(*key, *hash));
            self.needed_by.remove(&(*hash, *key));
        }
        let gone: Vec<BlobHash> = old
            .into_iter()
            .filter(|hash| !self.is_needed(hash))
            .collect();
        for hash in &gone {
            // Until everything is known, one that is not known may be on the disk all the same.
            let page = if self.complete {
                self.blobs.get_mut(hash)
            } else {
                Some(self.blobs.entry(*hash).or_default())
            };
            if let Some(page) = page {
                page.released = true;
                if page.len.is_some() {
                    self.unneeded.insert(*hash);
                }
            }
        }
        gone
    }

    fn is_needed(&self, hash: &BlobHash) -> bool {
        let next = self.needed_by.range(from_blob(*hash)).next();
        next.is_some_and(|(blob, _)| blob == hash)
    }
}

impl Page {
    fn may_go(&self) -> bool {
        self.holds == 0 && self.fresh_until.is_none_or(|until| Instant::now() >= until)
    }
}

fn from_blob(hash: BlobHash) -> RangeFrom<(BlobHash, Fingerprint)> {
    (hash, Fingerprint::from_bytes([0; 32]))..
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Book")
    }
}
