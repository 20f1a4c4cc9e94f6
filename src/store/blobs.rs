//! Larger bodies and media: files named by their content, kept once.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::blob_hash::BlobHash;
use super::book::Book;
use super::checks::Checks;
use super::error::StoreError;
use super::files::{self, Stamp, Temporary};
use super::hold::Hold;
use crate::fault;

/// A finished blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The hash of its bytes.
    pub hash: BlobHash,
    /// Its size in bytes.
    pub len: u64,
    /// Keeps it until a record names it.
    pub hold: Hold,
}

/// The folder `blobs/`.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    root: PathBuf,
    checks: Checks,
    book: Book,
}

impl Blobs {
    pub(super) fn in_dir(root: PathBuf, book: Book) -> Self {
        Self {
            root,
            checks: Checks::default(),
            book,
        }
    }

    /// Keeps a blob from being removed while it is in hand.
    pub(super) fn hold(&self, hash: &BlobHash) -> Hold {
        Hold::on(&self.book, *hash)
    }

    /// Removes a blob that nobody needs, durably; says how many bytes that freed, 0 when it stays.
    pub(super) fn free(&self, hash: &BlobHash) -> Result<u64, StoreError> {
        let path = self.path(hash);
        // An open file is only taken apart when it is closed, which is after the book is free.
        let file = File::open(&path);
        let freed = self.book.free(hash, || {
            fault::point("before-unlink");
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(StoreError::io("remove", &path)(error))
                }
                Ok(()) | Err(_) => Ok(()),
            }
        })?;
        let Some(len) = freed else { return Ok(0) };
        fault::point("after-unlink");
        self.checks.doubt(hash);
        drop(file);
        files::sync_folder_of(&path)?;
        Ok(len)
    }

    /// When a blob was written; `None` when that cannot be told.
    pub(super) fn written_at(&self, hash: &BlobHash) -> Option<Timestamp> {
        let metadata = std::fs::metadata(self.path(hash)).ok()?;
        Timestamp::try_from(metadata.modified().ok()?).ok()
    }

    pub(super) fn path(&self, hash: &BlobHash) -> PathBuf {
        let name = hash.to_string();
        let shard = name.get(..2).unwrap_or_default();
        self.root.join(shard).join(&name)
    }

    pub(super) fn begin(&self) -> Result<BlobWriter, StoreError> {
        let temporary = Temporary::create_in(&self.root)?;
        fault::point("blob-begun");
        Ok(BlobWriter {
            blobs: self.clone(),
            temporary,
            hasher: Box::new(blake3::Hasher::new()),
            len: 0,
            broken: false,
        })
    }

    /// Keeps bytes that are all here.
    pub(super) fn keep(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        let mut writer = self.begin()?;
        writer.write(bytes)?;
        writer.finish()
    }

    /// Opens a blob, at its first byte, after its content was checked once since start.
    pub(super) fn open(&self, hash: &BlobHash) -> Result<File, StoreError> {
        let path = self.path(hash);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::MissingBlob { hash: *hash });
            }
            other => other.map_err(StoreError::io("open", &path))?,
        };
        let metadata = file.metadata().map_err(StoreError::io("look at", &path))?;
        let stamp = Stamp::of(&metadata);
        let matches = self
            .checks
            .matches((*hash, stamp), &file)
            .map_err(StoreError::io("read", &path))?;
        if !matches {
            let why = "its content does not match its name".to_owned();
            return Err(StoreError::Damaged { path, why });
        }
        file.rewind().map_err(StoreError::io("rewind", &path))?;
        Ok(file)
    }

    /// Whether a blob is there, whole and of this length.
    pub(super) fn check(&self, hash: &BlobHash, len: u64) -> Result<(), StoreError> {
        let file = self.open(hash)?;
        let path = self.path(hash);
        let found = file
            .metadata()
            .map_err(StoreError::io("look at", &path))?
            .len();
        if found == len {
            return Ok(());
        }
        Err(StoreError::Damaged {
            path,
            why: format!("{found} bytes instead of {len}"),
        })
    }

    /// Makes the folders that are missing.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        files::ensure_shards(&self.root)
    }

    /// Removes the temporary files that a crash left; says how many.
    pub(super) fn sweep(&self) -> Result<u64, StoreError> {
        files::sweep(&self.root)
    }

    /// Shows every blob of ours to `visit`, with its size in bytes. Other names are passed over.
    pub(super) fn each(
        &self,
        visit: &mut dyn FnMut(BlobHash, u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for shard in 0..=u8::MAX {
            let dir = self.root.join(format!("{shard:02x}"));
            for entry in files::read_dir(&dir)? {
                let entry = entry.map_err(StoreError::io("look into", &dir))?;
                let hash = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok());
                let Some(hash) = hash.filter(|hash| self.path(hash) == entry.path()) else {
                    continue;
                };
                let metadata = match entry.metadata() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other.map_err(StoreError::io("look at", &entry.path()))?,
                };
                if metadata.is_file() {
                    visit(hash, metadata.len())?;
                }
            }
        }
        Ok(())
    }

    /// Forgets which contents were checked, so that each is read again.
    pub(super) fn doubt(&self, hash: &BlobHash) {
        self.checks.doubt(hash);
    }
}

/// A blob being written. Dropped before [`BlobWriter::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    temporary: Temporary,
    /// Boxed: it takes two kilobytes in everything that holds a writer.
    hasher: Box<blake3::Hasher>,
    len: u64,
    /// Set by a write that failed: part of it may be in the file, so the hash is wrong.
    broken: bool,
}

impl BlobWriter {
    /// Appends bytes. They can be seen through [`BlobWriter::reader`] once this returns.
    ///
    /// # Errors
    /// When the disk refuses; the blob cannot be finished then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.temporary.write(bytes);
        self.broken |= written.is_err();
        written?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes were written.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash of what was written so far.
    pub fn hash(&self) -> BlobHash {
        BlobHash::from_bytes(*self.hasher.finalize().as_bytes())
    }

    /// A second handle for reading while the blob grows, with a position of its own. It stays good
    /// after the blob is finished or dropped.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self) -> Result<File, StoreError> {
        let path: &Path = self.temporary.path();
        File::open(path).map_err(StoreError::io("open", path))
    }

    /// Makes the blob durable under its name.
    ///
    /// # Errors
    /// When the disk refuses; nothing is left behind then.
    pub fn finish(self) -> Result<Blob, StoreError> {
        if self.broken {
            return Err(StoreError::Refused("an earlier write to the blob failed"));
        }
        let hash = self.hash();
        // MONEY: held before it has its name, so that the removal of an older one of the same
        // content cannot take this one.
        let hold = self.blobs.hold(&hash);
        // Also where a blob of that name is: it may be a damaged one.
        let stamp = self.temporary.persist(&self.blobs.path(&hash))?;
        fault::point("blob-finished");
        self.blobs.checks.note((hash, stamp));
        self.blobs.book.finished(hash, self.len);
        Ok(Blob {
            hash,
            len: self.len,
            hold,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_dir(dir.path().join("blobs"), Book::default());
        (dir, blobs)
    }

    #[test]
    fn a_reader_sees_what_was_written_so_far_and_stays_good() {
        let (_dir, blobs) = blobs();
        let mut writer = blobs.begin().unwrap();
        let mut reader = writer.reader().unwrap();
        let mut seen = String::new();
        writer.write(b"first ").unwrap();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "first ");
        writer.write(b"second").unwrap();
        assert_eq!(writer.len(), 12);
        let blob = writer.finish().unwrap();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "first second");
        assert_eq!(
            blob.hash.to_string(),
            blake3::hash(b"first second").to_string()
        );
        blobs.check(&blob.hash, 12).unwrap();
        assert!(matches!(
            blobs.check(&blob.hash, 11),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn the_same_bytes_are_kept_once_and_dropped_ones_not_at_all() {
        let (dir, blobs) = blobs();
        let one = blobs.keep(b"same").unwrap();
        assert_eq!(blobs.keep(b"same").unwrap(), one);
        drop(blobs.begin().unwrap());
        let root = dir.path().join("blobs");
        assert_eq!(
            std::fs::read_dir(&root).unwrap().count(),
            1,
            "one shard, no temporaries"
        );
    }

    #[test]
    fn a_damaged_blob_is_refused_until_it_is_written_again() {
        let (dir, blobs) = blobs();
        let blob = blobs.keep(b"the video").unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(blobs.path(&blob.hash))
            .and_then(|mut file| file.write_all(b"The"))
            .unwrap();
        // A new start knows of no earlier check.
        let blobs = Blobs::in_dir(dir.path().join("blobs"), Book::default());
        assert!(matches!(
            blobs.open(&blob.hash),
            Err(StoreError::Damaged { .. })
        ));
        blobs.keep(b"the video").unwrap();
        let mut text = String::new();
        blobs
            .open(&blob.hash)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "the video");
        let gone = BlobHash::from_bytes([9; 32]);
        assert!(matches!(
            blobs.open(&gone),
            Err(StoreError::MissingBlob { .. })
        ));
    }

    #[test]
    fn many_readers_of_an_unchecked_blob_have_it_read_once() {
        let (dir, blobs) = blobs();
        let bytes = vec![5; 8 << 20];
        let blob = blobs.keep(&bytes).unwrap();
        // A new start knows of no earlier check.
        let blobs = Blobs::in_dir(dir.path().join("blobs"), Book::default());
        let together = std::sync::Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    together.wait();
                    let mut file = blobs.open(&blob.hash).unwrap();
                    let mut first = [0; 3];
                    file.read_exact(&mut first).unwrap();
                    assert_eq!(first, [5; 3], "from the start");
                });
            }
        });
        assert_eq!(blobs.checks.read(), 1);
        blobs.doubt(&blob.hash);
        blobs.open(&blob.hash).unwrap();
        assert_eq!(blobs.checks.read(), 2);
    }
}
