//! One process for each data directory.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use jiff::Timestamp;

use super::error::StoreError;
use super::files;

pub(super) const LOCK: &str = "LOCK";

/// The held lock. The system lets it go when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir`, or says who has it.
    pub(super) fn take(dir: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let path = dir.join(LOCK);
        let mut file = files::open_kept(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    dir: dir.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
        // For people, and for the message of the next one; the lock does not depend on it.
        let content = format!("pid {}, since {now:.0}\n", std::process::id());
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(content.as_bytes()));
        if let Err(error) = written {
            // A full disk must not keep anyone from what is kept already.
            tracing::warn!(path = %path.display(), %error, "cannot note who holds the directory");
        }
        Ok(Self { _file: file })
    }
}

/// What the holder wrote about itself.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(128).read_to_string(&mut text);
    match text.trim() {
        line if read.is_ok() && line.starts_with("pid ") && !line.contains(char::is_control) => {
            format!("the reprise with {line}")
        }
        _ => "another reprise".to_owned(),
    }
}
