//! Reading everything again, to see whether it is still what was written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::StoreError;
use super::blob_hash::BlobHash;
use super::disk::DiskStore;
use super::row;
use crate::generation::Fingerprint;

/// How many findings of each sort are named; the counts go on.
const NAMED: usize = 1_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Generations that are what was written.
    pub generations: u64,
    /// Blobs that are what was written.
    pub blobs: u64,
    /// What was read, in bytes.
    pub bytes: u64,
    /// How many files are not what was written, lie where nobody looks for them, or are not there.
    pub faults: u64,
    /// The first of those.
    pub damages: Vec<Damage>,
    /// Blobs that no generation needs. They are no fault: a crash may leave one.
    pub unneeded: u64,
    /// Whether it was ended before everything was read.
    pub broken_off: bool,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The file; in JSON its name as far as it is text.
    #[serde(rename = "file", serialize_with = "as_text")]
    pub path: PathBuf,
    /// The generation that is lost with it, when that is known.
    pub key: Option<Fingerprint>,
    /// What is wrong, for people.
    pub why: String,
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Which generation needs a blob, and how long it has to be in bytes.
type Needed = BTreeMap<BlobHash, (Fingerprint, u64)>;

pub(super) fn verify(
    store: &DiskStore,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport::default();
    let mut needed = Needed::new();
    if generations(store, &mut report, &mut needed, progress)?.is_break()
        || blobs(store, &mut report, &mut needed, progress)?.is_break()
    {
        report.broken_off = true;
        return Ok(report);
    }
    for (hash, (key, _)) in needed {
        // It may have gone with its generation since that was read.
        let still = store.files.read(&key).ok().flatten();
        let still = still.is_some_and(|file| {
            let blobs = row::blobs_of(&file.entry);
            blobs.iter().any(|(blob, _)| *blob == hash)
        });
        let path = store.blobs.path(&hash);
        if still && !path.exists() {
            report.fault(path, Some(key), "it is missing".to_owned());
        }
    }
    for path in store.intents.list()?.damaged {
        report.fault(path, None, "it cannot be read".to_owned());
    }
    Ok(report)
}

fn generations(
    store: &DiskStore,
    report: &mut VerifyReport,
    needed: &mut Needed,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreError> {
    for shard in 0..=u8::MAX {
        let found = store.files.shard(shard)?;
        for path in found.misplaced {
            let why = "it lies in a folder where nobody looks for it".to_owned();
            report.fault(path, None, why);
        }
        for (key, stamp) in found.files {
            match store.files.read(&key) {
                Ok(Some(file)) => {
                    report.generations += 1;
                    let blobs = row::blobs_of(&file.entry);
                    needed.extend(blobs.into_iter().map(|(hash, len)| (hash, (key, len))));
                }
                Ok(None) => continue,
                Err(error) => report.refused(store.files.path(&key), Some(key), error)?,
            }
            report.bytes += stamp.len;
            if progress(stamp.len).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn blobs(
    store: &DiskStore,
    report: &mut VerifyReport,
    needed: &mut Needed,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreError> {
    let mut all = Vec::new();
    store.blobs.each(&mut |hash, _| {
        all.push(hash);
        Ok(())
    })?;
    for hash in all {
        let path = store.blobs.path(&hash);
        let owner = needed.remove(&hash);
        let key = owner.map(|(key, _)| key);
        report.unneeded += u64::from(owner.is_none() && store.book.needed_by(&hash, 1).is_empty());
        let len = match hash_of(&path, progress) {
            Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
            Ok(ControlFlow::Continue((_, len))) if owner.is_some_and(|(_, due)| due != len) => {
                report.fault(path, key, format!("it is {len} bytes long"));
                len
            }
            Ok(ControlFlow::Continue((found, len))) if found == hash => {
                report.blobs += 1;
                len
            }
            Ok(ControlFlow::Continue((_, len))) => {
                // Who asks for it next must not hear that it is fine.
                store.blobs.doubt(&hash);
                report.fault(path, key, "its content does not match its name".to_owned());
                len
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                report.fault(path, key, format!("it cannot be read: {error}"));
                0
            }
        };
        report.bytes += len;
    }
    Ok(ControlFlow::Continue(()))
}

/// The hash and the size of a file.
fn hash_of(
    path: &Path,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<ControlFlow<(), (BlobHash, u64)>> {
    let mut file = File::open(path)?;
    let (mut hasher, mut len) = (blake3::Hasher::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        len += count as u64;
        if progress(count as u64).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let hash = BlobHash::from_bytes(*hasher.finalize().as_bytes());
    Ok(ControlFlow::Continue((hash, len)))
}

impl VerifyReport {
    fn fault(&mut self, path: PathBuf, key: Option<Fingerprint>, why: String) {
        self.faults += 1;
        if self.damages.len() < NAMED {
            self.damages.push(Damage { path, key, why });
        }
    }

    /// What a file's reader said; an error that is not about that file ends the whole.
    fn refused(
        &mut self,
        path: PathBuf,
        key: Option<Fingerprint>,
        error: StoreError,
    ) -> Result<(), StoreError> {
        match error {
            StoreError::Damaged { why, .. } => self.fault(path, key, why),
            StoreError::NewerFormat { format, .. } => {
                let why = format!("it has format {format}: use a newer reprise to read it");
                self.fault(path, key, why);
            }
            StoreError::Io { source, .. } => {
                self.fault(path, key, format!("it cannot be read: {source}"));
            }
            other => return Err(other),
        }
        Ok(())
    }
}
