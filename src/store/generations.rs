//! The folder `generations/`: one file for each kept generation, spread over 256 folders.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::DirEntryExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::codec::{self, FILE_MAX, Flaw};
use super::error::StoreError;
use super::files::{self, Stamp};
use super::folder::{self, FolderStamp};
use super::record::Entry;
use super::together::Together;
use crate::generation::Fingerprint;

/// Stands behind the key in the name of a file of a newer version that made room for one of ours.
const ASIDE: &str = "gen.format-";

/// The files under `generations/`, which are the truth about what is kept.
#[derive(Clone, Debug)]
pub(super) struct Generations {
    root: PathBuf,
    /// Of each of the folders.
    together: Arc<[Together; 256]>,
    /// The file that a test lets fail, and the system's error.
    #[cfg(test)]
    pub(super) failing: std::sync::Arc<std::sync::Mutex<Option<(Fingerprint, i32)>>>,
}

/// One file as it was read: checked, and what tells it from its next version.
#[derive(Debug)]
pub(super) struct GenerationFile {
    pub(super) entry: Entry,
    pub(super) stamp: Stamp,
}

/// One of the 256 folders.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// The files in it, by key.
    pub(super) files: BTreeMap<Fingerprint, Stamp>,
    /// Files named like ours that lie in the wrong folder, where no one will look for them.
    pub(super) misplaced: Vec<PathBuf>,
    /// Whether there are files that are not ours, or not ours to read.
    pub(super) strangers: bool,
    /// Whether there are generations that a newer version kept, set aside for one of ours.
    pub(super) newer: bool,
}

impl Generations {
    pub(super) fn in_dir(root: PathBuf) -> Self {
        Self {
            root,
            together: Arc::new(std::array::from_fn(|_| Together::default())),
            #[cfg(test)]
            failing: std::sync::Arc::default(),
        }
    }

    fn shard_path(&self, shard: u8) -> PathBuf {
        self.root.join(format!("{shard:02x}"))
    }

    pub(super) fn path(&self, key: &Fingerprint) -> PathBuf {
        files::named(&self.root, (files::In::Shard, key), ".gen")
    }

    fn together(&self, key: &Fingerprint) -> &Together {
        let [first, ..] = key.as_bytes();
        &self.together[usize::from(*first)]
    }

    /// The entry of `key`, checked; `None` when there is no file.
    pub(super) fn read(&self, key: &Fingerprint) -> Result<Option<GenerationFile>, StoreError> {
        let path = self.path(key);
        #[cfg(test)]
        let failing = self.failing.lock().ok().and_then(|failing| *failing);
        #[cfg(test)]
        if let Some((_, code)) = failing.filter(|(it, _)| it == key) {
            let error = io::Error::from_raw_os_error(code);
            return Err(StoreError::io("open", &path)(error));
        }
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("open", &path))?,
        };
        let metadata = file.metadata().map_err(StoreError::io("look at", &path))?;
        if metadata.len() > FILE_MAX {
            let why = format!("{} bytes are more than any generation has", metadata.len());
            return Err(StoreError::Damaged { path, why });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.take(FILE_MAX)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", &path))?;
        let bytes = Bytes::from(bytes);
        match codec::decode(key, &bytes) {
            Ok(entry) => Ok(Some(GenerationFile {
                entry,
                stamp: Stamp::of(&metadata),
            })),
            Err(Flaw::Damaged(why)) => Err(StoreError::Damaged { path, why }),
            Err(Flaw::Newer(format)) => Err(StoreError::NewerFormat { path, format }),
        }
    }

    /// The size of the file of `key` in bytes; 0 when there is none.
    pub(super) fn len(&self, key: &Fingerprint) -> u64 {
        std::fs::metadata(self.path(key)).map_or(0, |metadata| metadata.len())
    }

    /// Makes `bytes` the file of `key`, durably, in place of one of `before` bytes.
    pub(super) fn write(
        &self,
        key: &Fingerprint,
        (before, bytes): (u64, &[u8]),
    ) -> Result<Stamp, StoreError> {
        // What is not there is of no version.
        if before > 0 {
            self.spare_newer(key)?;
        }
        files::write_together(&self.path(key), bytes, self.together(key))
    }

    /// Removes the file of `key`, durably; says whether there was one.
    pub(super) fn remove(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        if let Some(format) = self.newer_format(key) {
            return Err(StoreError::NewerFormat {
                path: self.path(key),
                format,
            });
        }
        files::remove_together(&self.path(key), self.together(key))
    }

    /// What lies in one of the folders. Names that are not ours are passed over.
    pub(super) fn shard(&self, shard: u8) -> Result<Shard, StoreError> {
        let dir = self.shard_path(shard);
        let mut found = Shard::default();
        for entry in files::read_dir(&dir)? {
            let entry = entry.map_err(StoreError::io("list", &dir))?;
            let name = entry.file_name();
            let Some(key) = name.to_str().and_then(key_of) else {
                found.strangers |= !name.to_str().is_some_and(files::is_temporary_name);
                found.newer |= name.to_str().is_some_and(is_set_aside);
                continue;
            };
            let path = entry.path();
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(StoreError::io("look at", &path))?,
            };
            let [first, ..] = key.as_bytes();
            if *first != shard || !metadata.is_file() {
                found.misplaced.push(path);
            } else {
                found.files.insert(key, Stamp::of(&metadata));
            }
        }
        Ok(found)
    }

    /// The names of ours in one of the folders, each with the inode that the folder gives it; no file is
    /// looked at.
    pub(super) fn names(&self, shard: u8) -> Result<BTreeMap<Fingerprint, u64>, StoreError> {
        let dir = self.shard_path(shard);
        let mut names = BTreeMap::new();
        for entry in files::read_dir(&dir)? {
            let entry = entry.map_err(StoreError::io("list", &dir))?;
            if let Some(key) = entry.file_name().to_str().and_then(key_of) {
                names.insert(key, entry.ino());
            }
        }
        Ok(names)
    }

    /// The version of the file of `key`; `None` when it cannot be told.
    pub(super) fn stamp(&self, key: &Fingerprint) -> Option<Stamp> {
        let metadata = std::fs::symlink_metadata(self.path(key)).ok()?;
        Some(Stamp::of(&metadata))
    }

    /// Whether the folders change their times with what comes and goes; see [`folder::times_move`].
    pub(super) fn times_move(&self) -> Result<bool, StoreError> {
        folder::times_move(&self.root)
    }

    /// Makes the folders that are missing.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        files::ensure_shards(&self.root)
    }

    /// The version of one of the folders.
    pub(super) fn folder_stamp(&self, shard: u8) -> Result<Option<FolderStamp>, StoreError> {
        FolderStamp::of(&self.shard_path(shard))
    }

    /// Removes the temporary files that a crash left beside the folders; says how many.
    pub(super) fn sweep(&self) -> Result<u64, StoreError> {
        files::sweep(&self.root)
    }

    /// The same in one of them, in which nobody may be writing.
    pub(super) fn sweep_folder(&self, shard: u8) -> Result<u64, StoreError> {
        files::sweep(&self.shard_path(shard))
    }

    /// MONEY: a generation that a newer version kept was paid for; a new one under its key is
    /// written beside it, not over it.
    fn spare_newer(&self, key: &Fingerprint) -> Result<(), StoreError> {
        let Some(format) = self.newer_format(key) else {
            return Ok(());
        };
        let path = self.path(key);
        let aside = path.with_extension(format!("{ASIDE}{format}-{}", Uuid::now_v7()));
        tracing::warn!(path = %path.display(), aside = %aside.display(), format, "kept aside");
        std::fs::rename(&path, &aside).map_err(StoreError::io("move aside", &path))
    }

    /// The format of the file of `key`, when that is newer than ours.
    fn newer_format(&self, key: &Fingerprint) -> Option<u64> {
        match self.read(key) {
            Err(StoreError::NewerFormat { format, .. }) => Some(format),
            Ok(_) | Err(_) => None,
        }
    }
}

/// The key in a file name of ours: 64 lower-case hex digits and `.gen`.
fn key_of(name: &str) -> Option<Fingerprint> {
    let key: Fingerprint = name.strip_suffix(".gen")?.parse().ok()?;
    // A name has one spelling, whatever the parser takes.
    (format!("{key}.gen") == name).then_some(key)
}

fn is_set_aside(name: &str) -> bool {
    let key = name
        .split_once('.')
        .filter(|(_, rest)| rest.starts_with(ASIDE));
    key.is_some_and(|(key, _)| key.parse::<Fingerprint>().is_ok())
}
