//! The folder `owners/`: which client the things belong to that upstream keeps, for as long as it
//! may keep them: longer than their generations are kept here, and also where none is.
//!
//! ```text
//! owners/000001      <key> <check> "<client>"     a line for each thing, oldest first
//! ```
//!
//! A key is a hash of the id ([`ThingKey`]), the check is of the rest of the line. A segment that is full
//! is followed by the next one; of the oldest nothing is known any more once there are too many.
//! Everything is in memory as well, some 30 bytes for each thing. Who came first stays the owner.

mod segment;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::StoreError;
use super::files;
use crate::generation::ThingKey;
use segment::{Tail, path_of, read, segments};

/// How many things one segment names, and how large it may be, in bytes.
const SEGMENT: u64 = 100_000;
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// How many segments there are at most.
const SEGMENTS: usize = 10;
/// Lines that a failing disk has not taken wait for the next write, up to so many bytes.
const WAITING: usize = 1024 * 1024;
/// Who owns what.
#[derive(Debug)]
pub(super) struct Owners {
    dir: PathBuf,
    book: Mutex<Book>,
    /// One writes at a time, for everybody who waits.
    tail: Mutex<Tail>,
    /// How many things one segment names.
    segment: u64,
}

#[derive(Debug, Default)]
struct Book {
    /// The place of the owner in `clients`, and the segment that says so.
    owners: HashMap<ThingKey, (u32, u32)>,
    clients: Vec<Arc<str>>,
    /// Lines that are not durable yet.
    waiting: Vec<u8>,
    segment: u32,
}

impl Owners {
    /// Reads what is known; beside it the segments with lines that cannot be read.
    ///
    /// # Errors
    /// When a segment cannot be read: whose things are would be guessed.
    pub(super) fn open(dir: PathBuf) -> Result<(Self, Vec<PathBuf>), StoreError> {
        Self::with_segments_of(SEGMENT, dir)
    }

    fn with_segments_of(things: u64, dir: PathBuf) -> Result<(Self, Vec<PathBuf>), StoreError> {
        let (mut book, mut tail, mut damaged) = (Book::default(), Tail::default(), Vec::new());
        for segment in segments(&dir)? {
            let path = path_of(&dir, segment);
            let text = read(&path)?;
            book.segment = segment;
            let whole = text.iter().rposition(|byte| *byte == b'\n');
            let whole = text.get(..whole.map_or(0, |at| at + 1)).unwrap_or_default();
            let (mut lines, mut unread) = (0, 0_u64);
            for line in whole.split_inclusive(|byte| *byte == b'\n') {
                lines += 1;
                match parse(line) {
                    Some((key, client)) => book.note(key, &client),
                    None => unread += 1,
                }
            }
            if unread > 0 {
                tracing::warn!(path = %path.display(), unread, "whose some things are cannot be read");
                damaged.push(path);
            }
            tail = Tail {
                file: None,
                segment,
                len: whole.len() as u64,
                lines,
            };
        }
        let owners = Self {
            dir,
            book: Mutex::new(book),
            tail: Mutex::new(tail),
            segment: things,
        };
        Ok((owners, damaged))
    }

    /// Whose it is, as far as is known. Does not wait for a disk.
    pub(super) fn owner(&self, thing: &ThingKey) -> Option<Arc<str>> {
        let book = self.book();
        let (client, _) = book.owners.get(thing)?;
        book.clients.get(*client as usize).cloned()
    }

    /// Notes that things are a client's, where nobody owns them yet. Durable when it returns; known
    /// to this process in any case.
    ///
    /// # Errors
    /// When it could not be made durable; the next call tries again.
    pub(super) fn own(&self, things: &[ThingKey], client: &str) -> Result<(), StoreError> {
        {
            let mut book = self.book();
            for thing in things {
                if book.owners.contains_key(thing) {
                    continue;
                }
                book.note(*thing, client);
                if book.waiting.len() < WAITING {
                    let line = line(thing, client);
                    book.waiting.extend_from_slice(line.as_bytes());
                }
            }
            if book.waiting.is_empty() {
                return Ok(());
            }
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut self.book().waiting);
        if lines.is_empty() {
            return Ok(());
        }
        let written = tail.append(&self.dir, &lines);
        if written.is_err() {
            // Behind them stands what has come meanwhile.
            let mut book = self.book();
            let newer = std::mem::replace(&mut book.waiting, lines);
            book.waiting.extend_from_slice(&newer);
        } else if tail.lines >= self.segment || tail.len >= SEGMENT_BYTES {
            self.begin_segment(&mut tail);
        }
        written
    }

    /// Goes on in a new file, and lets the oldest go where there are too many.
    fn begin_segment(&self, tail: &mut Tail) {
        let segment = tail.segment + 1;
        *tail = Tail {
            segment,
            ..Tail::default()
        };
        self.book().segment = segment;
        let all = match segments(&self.dir) {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(%error, "old segments of owners stay");
                return;
            }
        };
        let surplus = (all.len() + 1).saturating_sub(SEGMENTS);
        for old in all.into_iter().take(surplus) {
            let path = path_of(&self.dir, old);
            match files::remove_durably(&path) {
                Ok(_) => {
                    self.book().owners.retain(|_, (_, segment)| *segment != old);
                    tracing::warn!(path = %path.display(), "of the oldest things it is no longer known whose they are");
                }
                Err(error) => tracing::warn!(%error, "an old segment of owners stays"),
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn note(&mut self, thing: ThingKey, client: &str) {
        let known = self.clients.iter().position(|known| **known == *client);
        let place = known.unwrap_or_else(|| {
            self.clients.push(client.into());
            self.clients.len() - 1
        });
        // There are never so many clients.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.owners.entry(thing).or_insert((place, self.segment));
    }
}

fn line(thing: &ThingKey, client: &str) -> String {
    let client = serde_json::Value::from(client);
    let check = check(thing, &client);
    format!("{thing} {check} {client}\n")
}

fn check(thing: &ThingKey, client: &serde_json::Value) -> String {
    let hash = blake3::hash(format!("{thing} {client}").as_bytes());
    hash.to_hex().chars().take(8).collect()
}

fn parse(line: &[u8]) -> Option<(ThingKey, String)> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let mut words = text.splitn(3, ' ');
    let (digits, told, client) = (words.next()?, words.next()?, words.next()?);
    let number = u128::from_str_radix(digits, 16).ok()?;
    let thing = ThingKey::from_bytes(number.to_be_bytes());
    let client: serde_json::Value = serde_json::from_str(client).ok()?;
    let whole = digits.len() == 32 && check(&thing, &client) == told;
    whole.then_some((thing, client.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> ThingKey {
        ThingKey::job(&format!("task_{number}"))
    }

    fn owner(owners: &Owners, number: u32) -> Option<String> {
        owners.owner(&key(number)).map(|name| name.to_string())
    }

    #[test]
    fn who_came_first_is_remembered() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("owners");
        for _ in 0..2 {
            let (owners, damaged) = Owners::open(dir.clone()).unwrap();
            assert!(damaged.is_empty());
            owners.own(&[key(1), key(2)], "alice \"a\"\n").unwrap();
            owners.own(&[key(2), key(3)], "bob").unwrap();
            assert_eq!(owner(&owners, 2).as_deref(), Some("alice \"a\"\n"));
            assert_eq!(owner(&owners, 3).as_deref(), Some("bob"));
            assert_eq!(owner(&owners, 4), None);
        }
        let text = std::fs::read_to_string(dir.join("000000")).unwrap();
        assert_eq!(text.lines().count(), 3, "said once: {text}");
    }

    #[test]
    fn a_torn_line_is_cut_and_a_damaged_one_costs_only_itself() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("owners");
        let (owners, _) = Owners::open(dir.clone()).unwrap();
        owners.own(&[key(1), key(2), key(3)], "alice").unwrap();
        drop(owners);
        let path = dir.join("000000");
        let mut text = std::fs::read(&path).unwrap();
        text[60] ^= 1;
        text.extend_from_slice(b"0123 torn");
        std::fs::write(&path, &text).unwrap();
        let (owners, damaged) = Owners::open(dir.clone()).unwrap();
        assert_eq!(damaged, [path]);
        let known: Vec<_> = (1..=3).map(|n| owner(&owners, n).is_some()).collect();
        assert_eq!(known, [true, false, true]);
        owners.own(&[key(4)], "bob").unwrap();
        drop(owners);
        let (owners, _) = Owners::open(dir).unwrap();
        assert_eq!(
            owner(&owners, 4).as_deref(),
            Some("bob"),
            "behind the torn line"
        );
    }

    #[test]
    fn what_a_disk_did_not_take_is_written_later() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("owners");
        let (owners, _) = Owners::open(dir.clone()).unwrap();
        // A file where the folder should be.
        std::fs::write(&dir, "").unwrap();
        assert!(owners.own(&[key(1)], "alice").is_err());
        assert_eq!(
            owner(&owners, 1).as_deref(),
            Some("alice"),
            "known at least"
        );
        std::fs::remove_file(&dir).unwrap();
        owners.own(&[key(2)], "bob").unwrap();
        drop(owners);
        let (owners, _) = Owners::open(dir).unwrap();
        assert_eq!(owner(&owners, 1).as_deref(), Some("alice"));
        assert_eq!(owner(&owners, 2).as_deref(), Some("bob"));
    }

    #[test]
    fn many_at_once_and_no_more_than_many() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("owners");
        let (owners, _) = Owners::with_segments_of(100, dir.clone()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let owners = &owners;
                scope.spawn(move || {
                    for n in 0..20 {
                        owners.own(&[key(thread * 100 + n)], "alice").unwrap();
                    }
                });
            }
        });
        let known = (0..8).all(|thread| owner(&owners, thread * 100).is_some());
        assert!(known, "two segments hold them all");
        // So many segments are written that the first has to go.
        for segment in 1..=10_u32 {
            let keys: Vec<_> = (0..100).map(|n| key(segment * 10_000 + n)).collect();
            owners.own(&keys, "bob").unwrap();
        }
        assert_eq!(owner(&owners, 1), None, "in memory too");
        drop(owners);
        let (owners, damaged) = Owners::with_segments_of(100, dir.clone()).unwrap();
        assert!(damaged.is_empty());
        assert!(std::fs::read_dir(&dir).unwrap().count() <= SEGMENTS);
        assert_eq!(owner(&owners, 1), None, "the oldest are let go");
        assert_eq!(owner(&owners, 100_001).as_deref(), Some("bob"));
    }
}
