//! Which file is edited, and what is in it.

use std::io;
use std::path::{Path, PathBuf};

use super::{EditError, MOST};
use crate::config::Sources;
use crate::config::locate;

/// The file that is edited.
#[derive(Debug)]
pub(super) struct Target {
    /// Its name as problems print it.
    pub(super) name: String,
    /// Its path as it was found, absolute.
    pub(super) shown: PathBuf,
    /// The file itself: where `shown` leads to, if it is a link.
    pub(super) real: PathBuf,
    exists: bool,
}

impl Target {
    /// Finds it, or the place where it is to be made.
    pub(super) fn of(sources: &Sources) -> Result<Self, EditError> {
        let path = locate::to_edit(sources);
        let shown = sources.cwd.join(&path);
        let name = path.display().to_string();
        match std::fs::canonicalize(&shown) {
            Ok(real) => Ok(Self {
                name,
                shown,
                real,
                exists: true,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link(&shown) => Ok(Self {
                name,
                real: shown.clone(),
                shown,
                exists: false,
            }),
            Err(error) => Err(EditError::io("follow", &shown)(error)),
        }
    }

    /// Whether there was no file when it was looked for.
    pub(super) fn is_new(&self) -> bool {
        !self.exists
    }

    /// The folder that it is, or is to be, in.
    pub(super) fn folder(&self) -> &Path {
        self.real.parent().unwrap_or(Path::new("/"))
    }

    /// What is in it; `None` if there is none.
    pub(super) fn read(&self) -> Result<Option<String>, EditError> {
        let unreadable = |reason: &str| EditError::Unwritten {
            verb: "read",
            path: self.shown.clone(),
            reason: reason.to_owned(),
        };
        // A pipe or a device is nothing to rename a file over.
        match std::fs::metadata(&self.real) {
            Ok(metadata) if !metadata.is_file() => return Err(unreadable("it is not a file")),
            Ok(metadata) if metadata.len() > MOST => return Err(unreadable("it is too large")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(EditError::io("read", &self.shown))?,
        };
        let bytes = std::fs::read(&self.real).map_err(EditError::io("read", &self.shown))?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8"))?;
        Ok(Some(text))
    }
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}
