//! Whose directory is this? Answered by looking only, before anything in it is touched.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::StoreError;
use super::files;
use super::lock::LOCK;

/// The format of a data directory that this version writes, and the newest that it reads.
const VERSION: u64 = 1;
const VERSION_FILE: &str = "VERSION";

pub(super) const GENERATIONS: &str = "generations";
pub(super) const PENDING: &str = "pending";
pub(super) const BLOBS: &str = "blobs";
pub(super) const IDEMPOTENCY: &str = "idempotency";
pub(super) const CALLBACKS: &str = "callbacks";
pub(super) const OWNERS: &str = "owners";
pub(super) const INDEX: &str = "index";

/// What may lie in a directory that is still empty to us: what a start that was cut short leaves,
/// and what the top of a fresh file system holds.
const NOTHING: [&str; 2] = [LOCK, "lost+found"];

/// What a directory turned out to be, when it may be used at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Missing, or nothing in it.
    Empty,
    /// Ours, with a VERSION that we read.
    Ours,
    /// Ours by its folders; the VERSION is lost.
    VersionLost,
}

/// Looks at `dir` without touching it.
///
/// # Errors
/// When it belongs to something else or to a newer version of this program.
pub(super) fn inspect(dir: &Path) -> Result<Layout, StoreError> {
    if let Some(text) = read_version(&dir.join(VERSION_FILE))? {
        return match text.trim().parse::<u64>() {
            Ok(found) if found > VERSION => Err(StoreError::NewerVersion {
                dir: dir.to_owned(),
                found,
                supported: VERSION,
            }),
            Ok(1..) => Ok(Layout::Ours),
            Ok(0) | Err(_) => Err(StoreError::UnreadableVersion {
                path: dir.join(VERSION_FILE),
            }),
        };
    }
    if dir.join(GENERATIONS).is_dir() {
        return Ok(Layout::VersionLost);
    }
    for entry in files::read_dir(dir)? {
        let name = entry.map_err(StoreError::io("list", dir))?.file_name();
        let found = name.to_string_lossy();
        if !NOTHING.contains(&found.as_ref()) && !files::is_temporary_name(&found) {
            return Err(StoreError::Foreign {
                dir: dir.to_owned(),
                found: found.into_owned(),
            });
        }
    }
    Ok(Layout::Empty)
}

/// Makes `dir` a data directory of this version.
pub(super) fn establish(dir: &Path) -> Result<(), StoreError> {
    // Folders first: with them and without VERSION the directory is still known as ours.
    for folder in [GENERATIONS, PENDING, BLOBS] {
        files::ensure_dir(&dir.join(folder))?;
    }
    files::write_durably(&dir.join(VERSION_FILE), format!("{VERSION}\n").as_bytes())?;
    Ok(())
}

fn read_version(path: &Path) -> Result<Option<String>, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(StoreError::io("open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(64)
        .read_to_end(&mut bytes)
        .map_err(StoreError::io("read", path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
