//! Writing so that it stays written: aside, synced, renamed, folder synced.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::StoreError;
use super::together::Together;
use crate::fault;
use crate::generation::Fingerprint;

/// Mode of every file. SECURITY: prompts' answers are nobody else's business.
const FILE_MODE: u32 = 0o600;
/// Mode of every folder.
const DIR_MODE: u32 = 0o700;

const TEMPORARY_PREFIX: &str = ".reprise-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// What tells one version of a file from the next without reading it.
///
/// A file is never written in place: a new content is a new inode, so two versions differ here
/// unless an inode number comes back within one tick of the file system's clock at equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
    pub(super) len: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            len: metadata.len(),
        }
    }
}

/// A file being written. Dropped before [`Temporary::persist`] it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Temporary {
    file: File,
    path: PathBuf,
    persisted: bool,
}

impl Temporary {
    /// Makes an empty one in `dir`, which is made too when it is missing.
    pub(super) fn create_in(dir: &Path) -> Result<Self, StoreError> {
        Self::create(dir, &temporary_name())
    }

    /// Makes an empty one beside `target`. Its name comes from that, which asks nobody for chance; where
    /// somebody else is writing the same file, or a crash has left it, it has any other.
    fn create_for(target: &Path) -> Result<Self, StoreError> {
        let dir = folder_of(target);
        match Self::create(dir, &temporary_name_for(target)) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::create_in(dir)
            }
            other => other,
        }
    }

    fn create(dir: &Path, name: &str) -> Result<Self, StoreError> {
        let path = dir.join(name);
        let file = match open_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ensure_dir(dir)?;
                open_new(&path)
            }
            other => other,
        }
        .map_err(StoreError::io("create", &path))?;
        Ok(Self {
            file,
            path,
            persisted: false,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .map_err(StoreError::io("write", &self.path))
    }

    /// Makes the content durable under the name `target`, in place of what was there.
    ///
    /// A failed sync is never tried again: the kernel may have dropped the pages, so a second
    /// sync would succeed without them. The temporary file goes instead.
    pub(super) fn persist(self, target: &Path) -> Result<Stamp, StoreError> {
        self.persist_by(target, sync_folder)
    }

    /// The same, with the folder synced by `sync`.
    fn persist_by(
        mut self,
        target: &Path,
        sync: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<Stamp, StoreError> {
        fault::point("file-written");
        self.file
            .sync_all()
            .map_err(StoreError::io("sync", &self.path))?;
        let metadata = self
            .file
            .metadata()
            .map_err(StoreError::io("look at", &self.path))?;
        fault::point("before-rename");
        let renamed = match std::fs::rename(&self.path, target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(dir) = target.parent() {
                    ensure_dir(dir)?;
                }
                std::fs::rename(&self.path, target)
            }
            other => other,
        };
        renamed.map_err(StoreError::io("rename a temporary file to", target))?;
        self.persisted = true;
        fault::point("after-rename");
        sync(folder_of(target))?;
        fault::point("folder-synced");
        Ok(Stamp::of(&metadata))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.persisted
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a temporary file stays behind");
        }
    }
}

fn open_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Opens or makes a file that is kept open and locked, with our mode.
pub(super) fn open_kept(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(StoreError::io("open", path))
}

/// Opens or makes a file that is only added to.
pub(super) fn open_appending(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(StoreError::io("open", path))
}

/// Writes, syncs, renames and removes a file of `len` bytes in `dir`: what a kept answer would need.
pub(super) fn probe(dir: &Path, len: usize) -> Result<(), StoreError> {
    let mut temporary = Temporary::create_in(dir)?;
    temporary.write(&vec![0x5a; len])?;
    let target = dir.join(temporary_name());
    temporary.persist(&target)?;
    remove_durably(&target).map(drop)
}

/// Writes `bytes` durably to `path`, whole or not at all.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<Stamp, StoreError> {
    write_by(path, bytes, sync_folder)
}

/// The same, with a sync of the folder that is shared.
pub(super) fn write_together(
    path: &Path,
    bytes: &[u8],
    together: &Together,
) -> Result<Stamp, StoreError> {
    write_by(path, bytes, |dir| together.sync(dir))
}

fn write_by(
    path: &Path,
    bytes: &[u8],
    sync: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<Stamp, StoreError> {
    let mut temporary = Temporary::create_for(path)?;
    temporary.write(bytes)?;
    temporary.persist_by(path, sync)
}

/// Removes a file durably; says whether it was there.
pub(super) fn remove_durably(path: &Path) -> Result<bool, StoreError> {
    remove_by(path, sync_folder)
}

/// The same, with a sync of the folder that is shared.
pub(super) fn remove_together(path: &Path, together: &Together) -> Result<bool, StoreError> {
    remove_by(path, |dir| together.sync(dir))
}

fn remove_by(
    path: &Path,
    sync: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    fault::point("before-unlink");
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StoreError::io("remove", path)(error)),
    }
    fault::point("after-unlink");
    sync(folder_of(path))?;
    Ok(true)
}

/// Makes a folder and its missing parents, durably.
pub(super) fn ensure_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        ensure_dir(parent)?;
    }
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Ok(()) => sync_folder_of(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::io("create the folder", dir)(error)),
    }
}

/// Makes the folders `00` to `ff` in `root`, durably.
///
/// Beforehand and all at once: were they made on demand, one thread could finish its file in a
/// folder that another has made and not yet synced.
pub(super) fn ensure_shards(root: &Path) -> Result<(), StoreError> {
    ensure_dir(root)?;
    let mut made = false;
    for shard in 0..=u8::MAX {
        let dir = root.join(format!("{shard:02x}"));
        match DirBuilder::new().mode(DIR_MODE).create(&dir) {
            Ok(()) => made = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create the folder", &dir)(error)),
        }
    }
    if made { sync_folder(root) } else { Ok(()) }
}

/// Where in a folder a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum In {
    Itself,
    /// In one of the folders `00` to `ff`, which its name begins with.
    Shard,
}

/// The file below `root` that has a key and `ending` for its name. Asked for several times for each thing
/// that is kept, so it is made in one piece.
pub(super) fn named(root: &Path, (at, key): (In, &Fingerprint), ending: &str) -> PathBuf {
    let (root, digits) = (root.as_os_str(), key.digits());
    let [first, second, ..] = digits;
    let mut path = OsString::with_capacity(root.len() + digits.len() + ending.len() + 4);
    path.push(root);
    path.push("/");
    if at == In::Shard {
        path.push(OsStr::from_bytes(&[first, second, b'/']));
    }
    path.push(OsStr::from_bytes(&digits));
    path.push(ending);
    path.into()
}

/// The folder that a path stands in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    }
}

/// Makes the names in the folder of `path` durable.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    sync_folder(folder_of(path))
}

fn sync_folder(dir: &Path) -> Result<(), StoreError> {
    sync_dir(dir).map_err(StoreError::io("sync the folder", dir))
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes the temporary files that a crash left in `dir`, and nothing else; says how many.
pub(super) fn sweep(dir: &Path) -> Result<u64, StoreError> {
    let mut removed = 0;
    for entry in read_dir(dir)? {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        let ours = entry.file_name().to_str().is_some_and(is_temporary_name);
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The entries of a folder; none when there is no such folder.
pub(super) fn read_dir(
    dir: &Path,
) -> Result<impl Iterator<Item = io::Result<std::fs::DirEntry>> + use<>, StoreError> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(StoreError::io("list", dir)(error)),
    }
}

fn temporary_name() -> String {
    temporary_name_of(Uuid::now_v7())
}

/// The same for the same file.
fn temporary_name_for(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default();
    let hash = blake3::hash(name.as_encoded_bytes());
    // 48 bits where others have their time, and 80 where they have chance.
    let time = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    let chance = hash.as_bytes().last_chunk().copied().unwrap_or_default();
    let millis = u64::from_be_bytes(time) >> 16;
    temporary_name_of(uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid())
}

fn temporary_name_of(id: Uuid) -> String {
    format!("{TEMPORARY_PREFIX}{id}{TEMPORARY_SUFFIX}")
}

/// Whether this is exactly a name that [`temporary_name`] makes: only those are ever swept.
pub(super) fn is_temporary_name(name: &str) -> bool {
    let Some(id) = name
        .strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
    else {
        return false;
    };
    Uuid::try_parse(id)
        .is_ok_and(|uuid| uuid.get_version_num() == 7 && uuid.hyphenated().to_string() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_temporary_names_are_recognised() {
        let cases = [
            ("ours", temporary_name(), true),
            ("for a file", temporary_name_for(Path::new("a/file")), true),
            (
                "version 4",
                ".reprise-9f2c8a60-5f0e-4c39-9d0a-0d9a3c1f7b11.tmp".into(),
                false,
            ),
            ("upper case", temporary_name().to_uppercase(), false),
            (
                "no dot",
                temporary_name().trim_start_matches('.').into(),
                false,
            ),
            (
                "other end",
                temporary_name().replace(".tmp", ".part"),
                false,
            ),
            ("longer", temporary_name() + "x", false),
            ("no id", ".reprise-.tmp".into(), false),
            (
                "braces",
                format!(".reprise-{{{}}}.tmp", Uuid::now_v7()),
                false,
            ),
            (
                "simple form",
                format!(".reprise-{}.tmp", Uuid::now_v7().simple()),
                false,
            ),
        ];
        for (name, input, expected) in cases {
            assert_eq!(is_temporary_name(&input), expected, "{name}: {input}");
        }
    }

    #[test]
    fn an_unfinished_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut temporary = Temporary::create_in(dir.path()).unwrap();
        temporary.write(b"half").unwrap();
        drop(temporary);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_who_write_the_same_file_do_not_share_a_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let first = Temporary::create_for(&path).unwrap();
        let second = Temporary::create_for(&path).unwrap();
        assert_ne!(first.path(), second.path());
        second.persist(&path).unwrap();
        assert!(first.path().exists());
        drop(first);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(
            temporary_name_for(&path),
            temporary_name_for(Path::new("file"))
        );
    }

    #[test]
    fn a_write_replaces_and_gets_a_new_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file");
        let first = write_durably(&path, b"one").unwrap();
        let second = write_durably(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_ne!(first, second);
        assert_eq!(second, Stamp::of(&std::fs::metadata(&path).unwrap()));
        assert!(remove_durably(&path).unwrap());
        assert!(!remove_durably(&path).unwrap());
    }
}
