//! Everything that is kept, as one file: a tar archive, so that anybody can look into it.
//!
//! ```text
//! reprise-export.json        {"format":1,"created_at":"…"}
//! blobs/ab/<blake3>          each before the first generation that needs it, and once
//! generations/ab/<key>.gen   as in a data directory, with its own checksum
//! end.json                   {"generations":…,"blobs":…,"bytes":…}: so nothing was cut off
//! ```
//!
//! The store may be in use meanwhile: each generation is written with all its blobs as they were
//! at one moment, or not at all.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tar::{Builder, Header};

use super::blob_hash::BlobHash;
use super::{Entry, Store, StoreError, codec, row};
use crate::generation::Fingerprint;

/// The format that this version writes, and the newest that it reads.
pub(super) const FORMAT: u64 = 1;
pub(super) const HEAD: &str = "reprise-export.json";
pub(super) const END: &str = "end.json";

/// How many keys are noted at a time.
const BATCH: usize = 4_096;
/// How often an entry that changes while it is gathered is looked at again.
const TRIES: u32 = 4;

/// What stands in an export, and in its last file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Generations.
    pub generations: u64,
    /// Blobs.
    pub blobs: u64,
    /// The size of both, in bytes.
    pub bytes: u64,
    /// Generations that were left out, since a file of theirs is damaged.
    pub left_out: u64,
}

impl Exported {
    /// How long the end of an export is, in bytes: the head of [`END`], what stands in it, and the
    /// two empty blocks that end an archive.
    pub const TAIL: usize = 4 * 512;

    /// What stands at the end of an export, of which `tail` is the last bytes; `None` when it is not
    /// whole.
    pub fn at_end(tail: &[u8]) -> Option<Self> {
        let end = tail.get(tail.len().checked_sub(Self::TAIL)?..)?;
        let (head, rest) = end.split_at_checked(512)?;
        let name = head.get(..END.len() + 1)?;
        let (note, empty) = rest.split_at_checked(512)?;
        if name.strip_suffix(&[0]) != Some(END.as_bytes()) || empty.iter().any(|byte| *byte != 0) {
            return None;
        }
        let len = note.iter().position(|byte| *byte == 0)?;
        serde_json::from_slice(note.get(..len)?).ok()
    }
}

/// The first file of an export.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u64,
    pub(super) created_at: Timestamp,
}

/// Writes everything that is kept to `to`. Intents, client keys and tokens are not in it.
///
/// `progress` hears of the bytes that were written since it was last called, and may break; `None`
/// then, and what was written is no whole export.
///
/// # Errors
/// When something cannot be read or written.
pub fn export(
    store: &dyn Store,
    to: impl Write,
    now: Timestamp,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Option<Exported>, StoreError> {
    // What the index says is only a guess before that.
    store.survey(&|| false)?;
    let mut writing = Writing {
        tar: Builder::new(to),
        written: HashSet::new(),
        done: Exported::default(),
        mtime: u64::try_from(now.as_second()).unwrap_or(0),
    };
    let head = Head {
        format: FORMAT,
        created_at: now,
    };
    writing.json(HEAD, &head)?;
    let mut after = None;
    loop {
        let keys = next_keys(store, after.as_ref())?;
        for key in &keys {
            let before = writing.done.bytes;
            writing.generation(store, key)?;
            if progress(writing.done.bytes - before).is_break() {
                return Ok(None);
            }
        }
        if keys.len() < BATCH {
            break;
        }
        after = keys.last().copied();
    }
    let done = writing.done;
    writing.json(END, &done)?;
    let mut to = writing.tar.into_inner().map_err(unwritten)?;
    to.flush().map_err(unwritten)?;
    Ok(Some(done))
}

fn next_keys(
    store: &dyn Store,
    after: Option<&Fingerprint>,
) -> Result<Vec<Fingerprint>, StoreError> {
    let mut keys = Vec::new();
    store.list_kept(after, &mut |kept| {
        // Of a job that was passed by nothing is kept, and its end is booked here.
        if !kept.passed_by {
            keys.push(kept.key);
        }
        if keys.len() < BATCH {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(keys)
}

struct Writing<W: Write> {
    tar: Builder<W>,
    /// The blobs that are in it.
    written: HashSet<BlobHash>,
    done: Exported,
    /// In seconds since 1970.
    mtime: u64,
}

/// One generation with the files of its blobs open: nothing can take them away any more.
struct Gathered {
    entry: Entry,
    blobs: Vec<(BlobHash, u64, File)>,
}

impl<W: Write> Writing<W> {
    fn generation(&mut self, store: &dyn Store, key: &Fingerprint) -> Result<(), StoreError> {
        let Some(gathered) = self.gather(store, key)? else {
            return Ok(());
        };
        for (hash, len, file) in gathered.blobs {
            let name = hash.to_string();
            let shard = name.get(..2).unwrap_or_default();
            self.file(&format!("blobs/{shard}/{name}"), len, file)?;
            self.written.insert(hash);
            self.done.blobs += 1;
        }
        let bytes = codec::encode(&gathered.entry)?;
        let name = key.to_string();
        let shard = name.get(..2).unwrap_or_default();
        let path = format!("generations/{shard}/{name}.gen");
        self.file(&path, bytes.len() as u64, bytes.as_slice())?;
        self.done.generations += 1;
        Ok(())
    }

    /// `None` when it is gone by now, or cannot be had whole.
    fn gather(
        &mut self,
        store: &dyn Store,
        key: &Fingerprint,
    ) -> Result<Option<Gathered>, StoreError> {
        for _ in 0..TRIES {
            let Some(entry) = store.get(key)? else {
                self.done.left_out += u64::from(store.glance(key)?.is_some());
                return Ok(None);
            };
            match self.open_blobs(store, &entry) {
                Ok(blobs) => return Ok(Some(Gathered { entry, blobs })),
                // It may have been replaced since it was read.
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        tracing::warn!(%key, "left out of an export: one of its blobs is damaged or missing");
        self.done.left_out += 1;
        Ok(None)
    }

    fn open_blobs(
        &self,
        store: &dyn Store,
        entry: &Entry,
    ) -> Result<Vec<(BlobHash, u64, File)>, StoreError> {
        let blobs = row::blobs_of(entry).into_iter();
        blobs
            .filter(|(hash, _)| !self.written.contains(hash))
            .map(|(hash, len)| Ok((hash, len, store.open_blob(&hash)?)))
            .collect()
    }

    fn json(&mut self, path: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_vec(value)
            .map_err(|_| StoreError::Refused("an export's own note has no form in JSON"))?;
        let before = self.done.bytes;
        self.file(path, text.len() as u64, text.as_slice())?;
        self.done.bytes = before;
        Ok(())
    }

    fn file(&mut self, path: &str, len: u64, content: impl Read) -> Result<(), StoreError> {
        let mut header = Header::new_gnu();
        header.set_size(len);
        header.set_mode(0o600);
        header.set_mtime(self.mtime);
        let mut content = Counted(content.take(len), 0);
        self.tar
            .append_data(&mut header, path, &mut content)
            .map_err(unwritten)?;
        if content.1 != len {
            let why = format!("{} bytes instead of {len}", content.1);
            let path = path.into();
            return Err(StoreError::Damaged { path, why });
        }
        self.done.bytes += len;
        Ok(())
    }
}

/// Counts what is read.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += count as u64;
        Ok(count)
    }
}

fn unwritten(error: io::Error) -> StoreError {
    StoreError::io("write", Path::new("the export"))(error)
}
