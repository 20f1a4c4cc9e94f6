//! The reading of a blob to see that it is what its name says: once since start, however many want
//! to know.
//!
//! Hashing takes about a second for each gigabyte, so it is done neither for each reader nor by
//! several at the same time.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::blob_hash::BlobHash;
use super::files::Stamp;

/// A blob, as the file that it is.
pub(super) type Version = (BlobHash, Stamp);

/// What was checked, and the checks that go on; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Blobs whose content was found to match their name, as the files they were.
    right: HashMap<BlobHash, Stamp>,
    /// Those that are read at this moment.
    going_on: HashMap<Version, Arc<OnceLock<Outcome>>>,
    /// How many files were read.
    #[cfg(test)]
    read: u64,
}

/// Whether the content is right; why it could not be read.
type Outcome = Result<bool, io::Error>;

impl Checks {
    /// Whether the content of `file` is that of its name. Whoever asks while another reads the same
    /// waits for what that one finds, right or wrong. May leave `file` at its end.
    ///
    /// # Errors
    /// When it could not be read.
    pub(super) fn matches(&self, version: Version, file: &File) -> Result<bool, io::Error> {
        let (hash, stamp) = version;
        let check = {
            let mut known = self.known();
            if known.right.get(&hash) == Some(&stamp) {
                return Ok(true);
            }
            known.going_on.entry(version).or_default().clone()
        };
        let outcome = check.get_or_init(|| {
            let found = content(file);
            let matches = found.map(|found| found == hash);
            let mut known = self.known();
            if matches.as_ref().is_ok_and(|matches| *matches) {
                known.right.insert(hash, stamp);
            }
            known.going_on.remove(&version);
            #[cfg(test)]
            {
                known.read += 1;
            }
            matches
        });
        match outcome {
            Ok(matches) => Ok(*matches),
            Err(error) => Err(same(error)),
        }
    }

    /// Notes a blob that was hashed while it was written.
    pub(super) fn note(&self, (hash, stamp): Version) {
        self.known().right.insert(hash, stamp);
    }

    /// Forgets what was found, so that it is read again.
    pub(super) fn doubt(&self, hash: &BlobHash) {
        self.known().right.remove(hash);
    }

    /// How many files were read.
    #[cfg(test)]
    pub(super) fn read(&self) -> u64 {
        self.known().read
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn content(file: &File) -> Result<BlobHash, io::Error> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(BlobHash::from_bytes(*hasher.finalize().as_bytes()))
}

/// An error that several are to have.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
