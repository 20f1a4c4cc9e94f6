//! One edit after the other, and each of them whole or not at all.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::place::Target;
use super::{EditError, leftovers};
use crate::config::locate::MOST;

/// How long another edit is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The folder of the file, locked against other edits until it is dropped. The folder and not the file,
/// which is replaced by every edit, or is not there yet.
#[derive(Debug)]
pub(super) struct Lock {
    _folder: File,
}

impl Lock {
    /// Takes it, and makes the folder when it is missing and `make` says so.
    pub(super) fn take(folder: &Path, make: bool) -> Result<Self, EditError> {
        if make {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(EditError::io("make", folder))?;
        }
        let file = File::open(folder).map_err(EditError::io("open", folder))?;
        let end = Instant::now() + PATIENCE;
        // A file system without locks is no reason to stop: there is the look before the rename.
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            if Instant::now() >= end {
                return Err(EditError::Unwritten {
                    verb: "lock",
                    path: folder.to_owned(),
                    reason: "another command has been changing the configuration for 10 s"
                        .to_owned(),
                });
            }
            pause();
        }
        Ok(Self { _folder: file })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an edit blocks, and no runtime thread makes one"
)]
fn pause() {
    std::thread::sleep(BETWEEN_TRIES);
}

/// Puts `text` in place of `before`, which is what the file held when it was read.
pub(super) fn replace(target: &Target, before: Option<&str>, text: &str) -> Result<(), EditError> {
    // What no start reads is not written.
    if text.len() as u64 > MOST {
        return Err(EditError::Unwritten {
            verb: "change",
            path: target.shown.clone(),
            reason: "it would be larger than 1 MiB, which no start accepts".to_owned(),
        });
    }
    let folder = target.folder();
    let aside = Aside::make(folder)?;
    leftovers::remove(folder, &aside.file, &target.real);
    let write = || -> io::Result<()> {
        (&aside.file).write_all(text.as_bytes())?;
        if before.is_some() {
            belong(&aside.file, &std::fs::metadata(&target.real)?)?;
        }
        aside.file.sync_all()
    };
    write().map_err(EditError::io("write", &aside.path))?;
    // Editors do not know our lock.
    if target.read()?.as_deref() != before {
        return Err(EditError::Unwritten {
            verb: "change",
            path: target.shown.clone(),
            reason: "somebody else changed it at the same time; try again".to_owned(),
        });
    }
    aside
        .rename(&target.real)
        .map_err(EditError::io("replace", &target.shown))?;
    // Some file systems cannot sync a folder; the file is there all the same.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Gives a new file the owner and the mode of the old one. SECURITY: never a wider mode, and in the
/// order in which nobody new can read it in between.
fn belong(new: &File, old: &Metadata) -> io::Result<()> {
    let own = new.metadata()?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid())).map_err(|error| {
            let why = format!(
                "it belongs to user {} and group {}, which this user cannot give it ({error}); do \
                 this as its owner",
                old.uid(),
                old.gid()
            );
            io::Error::new(error.kind(), why)
        })?;
    }
    new.set_permissions(Permissions::from_mode(old.mode() & 0o777))
}

/// A file beside the one that it is to replace; gone when it does not.
struct Aside {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Aside {
    fn make(folder: &Path) -> Result<Self, EditError> {
        let path = folder.join(leftovers::name(Uuid::now_v7()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(EditError::io("write in", folder))?;
        Ok(Self {
            file,
            path,
            renamed: false,
        })
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.renamed {
            // Its name says what it is, should it stay behind; a later edit takes it away.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
