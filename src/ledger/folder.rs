//! The folder with a file for each month: appended to, and never changed otherwise.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::LedgerError;
use super::month::Month;
use crate::fault;

/// Where it is in the data directory.
const LEDGER: &str = "ledger";
/// SECURITY: what a team makes, and for how much, is nobody else's business.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Where lines are written. There is one of each in tests that fails when it is told to.
pub(super) trait Paper: Send {
    /// Appends whole lines to the file of a month, in one write. When it has returned `Ok`, a crash
    /// of the process does not undo it, and a power cut neither if they are to be `durable`. When it
    /// has returned `Err`, none of them stands there, unless the disk refused to take them back.
    ///
    /// # Errors
    /// When the file system refuses.
    fn append(&mut self, month: Month, lines: &[u8], durable: bool) -> Result<(), LedgerError>;
}

/// The folder itself.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// A file that holds more than it should, and how long it has to be: a write to it has failed,
    /// and so has taking that back. By its descriptor, so that no other file is ever cut.
    spoiled: Option<(File, u64)>,
}

/// One month's file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) month: Month,
    pub(super) path: PathBuf,
    /// How much of it is to be read, in bytes.
    pub(super) len: u64,
}

impl Folder {
    /// That of the data directory `data_dir`; it is made with its first line.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(LEDGER),
            spoiled: None,
        }
    }
}

impl Paper for Folder {
    fn append(&mut self, month: Month, lines: &[u8], durable: bool) -> Result<(), LedgerError> {
        let path = self.path.join(month.file_name());
        self.append_to(&path, lines, durable)
            .map_err(LedgerError::io("write", &path))
    }
}

impl Folder {
    fn append_to(&mut self, path: &Path, lines: &[u8], durable: bool) -> io::Result<()> {
        if let Some((file, len)) = &self.spoiled {
            file.set_len(*len)?;
            self.spoiled = None;
        }
        // Opened for each batch, which is cheap beside a sync: whoever has moved the file away, or
        // put another one in its place, finds the lines in the file that has the name.
        let file = self.open(path)?;
        let len = file.metadata()?.len();
        let written = write(&file, len, lines, durable);
        // The name of a new file is as durable as its first line.
        let written = match len {
            0 if written.is_ok() => sync_dir(&self.path),
            _ => written,
        };
        if written.is_err() && file.set_len(len).is_err() {
            self.spoiled = Some((file, len));
        }
        written
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ensure_dir(&self.path)?;
                open(path)
            }
            other => other,
        }
    }
}

fn write(file: &File, len: u64, lines: &[u8], durable: bool) -> io::Result<()> {
    fault::point("before-line");
    let mut to = file;
    if ends_torn(file, len)? {
        // A line that a crash has torn stays, and nothing is glued to it.
        to.write_all(&[b"\n", lines].concat())?;
    } else {
        to.write_all(lines)?;
    }
    fault::point("line-written");
    if durable {
        file.sync_data()?;
    }
    fault::point("after-line");
    Ok(())
}

fn ends_torn(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = len.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != [b'\n'])
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Makes the folder, durably.
fn ensure_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIR_MODE).recursive(true).create(dir) {
        Ok(()) => dir.parent().map_or(Ok(()), sync_dir),
        Err(error) => Err(error),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The files of the data directory `data_dir`, the oldest first, as long as they are now; none when
/// nothing was ever written.
///
/// # Errors
/// When they cannot be listed.
pub(super) fn pages(data_dir: &Path) -> Result<Vec<Page>, LedgerError> {
    let dir = data_dir.join(LEDGER);
    let entries = match std::fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(LedgerError::io("list", &dir))?,
    };
    let mut pages = Vec::new();
    for entry in entries {
        let entry = entry.map_err(LedgerError::io("list", &dir))?;
        let Some(month) = entry.file_name().to_str().and_then(Month::of_file_name) else {
            continue;
        };
        let path = entry.path();
        let about = std::fs::metadata(&path).map_err(LedgerError::io("look at", &path))?;
        if about.is_file() {
            let len = about.len();
            pages.push(Page { month, path, len });
        }
    }
    pages.sort_unstable_by_key(|page| page.month);
    Ok(pages)
}
