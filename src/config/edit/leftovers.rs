//! What an edit that was killed in the middle has left beside the configuration.

use std::fs::{DirEntry, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// No edit takes so long; the lock is not everywhere one.
const STALE: Duration = Duration::from_mins(10);

/// In a folder with more files nobody looks for them.
const MOST: usize = 10_000;

/// The name of a file that is to replace the configuration.
pub(super) fn name(id: Uuid) -> String {
    format!(".proxy.toml-{}.tmp", id.simple())
}

/// Removes what earlier edits have left in `folder`, where `new` has just been made to replace `target`.
///
/// Only what they made: a file of such a name, of this user or of the owner of the configuration, that was
/// last written long ago. What cannot be removed stays; it does no harm.
pub(super) fn remove(folder: &Path, new: &File, target: &Path) {
    let Ok(files) = std::fs::read_dir(folder) else {
        return;
    };
    let (Ok(new), old) = (new.metadata(), std::fs::metadata(target)) else {
        return;
    };
    let owners = [Some(new.uid()), old.ok().map(|old| old.uid())];
    // The file system's own time, which is that of its other files.
    let Ok(now) = new.modified() else {
        return;
    };
    for file in files.take(MOST).flatten() {
        if is_ours(&file) && is_stale(&file, owners, now) {
            // It may be gone by now.
            let _ = std::fs::remove_file(file.path());
        }
    }
}

fn is_ours(file: &DirEntry) -> bool {
    let found = file.file_name();
    let id = found.to_str().and_then(|found| {
        let id = found.strip_prefix(".proxy.toml-")?.strip_suffix(".tmp")?;
        Uuid::try_parse(id).ok()
    });
    id.is_some_and(|id| id.get_version_num() == 7 && found.to_str() == Some(&name(id)))
}

fn is_stale(file: &DirEntry, owners: [Option<u32>; 2], now: SystemTime) -> bool {
    // Of a link this is the link itself.
    let Ok(seen) = file.metadata() else {
        return false;
    };
    let written = seen.modified().ok();
    let age = written.and_then(|written| now.duration_since(written).ok());
    seen.is_file() && owners.contains(&Some(seen.uid())) && age.is_some_and(|age| age >= STALE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_an_edit_left_long_ago_goes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let make = |name: &str, age: Duration| {
            let file = File::create(at(name)).unwrap();
            let now = file.metadata().unwrap().modified().unwrap();
            file.set_modified(now - age).unwrap();
            file
        };
        let (old, young) = (name(Uuid::now_v7()), name(Uuid::now_v7()));
        make(&old, STALE * 2);
        make(&young, STALE / 2);
        let others = [
            ".proxy.toml-x.tmp".to_owned(),
            "proxy.toml".to_owned(),
            format!("{old}~"),
            name(Uuid::nil()),
            old.to_uppercase().replace("PROXY.TOML", "proxy.toml"),
        ];
        for other in &others {
            make(other, STALE * 2);
        }
        let (link, inner) = (name(Uuid::now_v7()), name(Uuid::now_v7()));
        symlink(at("proxy.toml"), at(&link)).unwrap();
        std::fs::create_dir(at(&inner)).unwrap();
        let new = make(&name(Uuid::now_v7()), Duration::ZERO);
        remove(folder.path(), &new, &at("proxy.toml"));
        assert!(!at(&old).exists());
        assert!(at(&young).exists());
        assert!(at(&link).is_symlink() && at(&inner).is_dir());
        for other in &others {
            assert!(at(other).exists(), "{other}");
        }
        let now = new.metadata().unwrap().modified().unwrap();
        let strangers = [Some(u32::MAX), None];
        make(&old, STALE * 2);
        let file = std::fs::read_dir(folder.path()).unwrap().flatten();
        let file = file
            .into_iter()
            .find(|file| *file.file_name() == *old)
            .unwrap();
        assert!(is_ours(&file) && !is_stale(&file, strangers, now));
    }
}
