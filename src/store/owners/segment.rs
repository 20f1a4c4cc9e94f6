//! The files that the notes stand in: numbered, appended to, and cut where a write was torn.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::store::{StoreError, files};

/// No segment of ours is larger, in bytes: it is full long before.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// The last segment, which is written to.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) file: Option<File>,
    pub(super) segment: u32,
    /// Bytes of the segment that are durable, and its lines.
    pub(super) len: u64,
    pub(super) lines: u64,
}

impl Tail {
    /// Adds lines to the segment, durably. What a failure leaves of them is cut off.
    pub(super) fn append(&mut self, dir: &Path, lines: &[u8]) -> Result<(), StoreError> {
        let path = path_of(dir, self.segment);
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open(dir, &path)?,
        };
        let written = (&file).write_all(lines).and_then(|()| file.sync_data());
        if let Err(error) = written {
            let _ = file.set_len(self.len);
            return Err(StoreError::io("write", &path)(error));
        }
        self.len += lines.len() as u64;
        self.lines += lines.split_inclusive(|byte| *byte == b'\n').count() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// The segment, cut to what is known to be whole.
    fn open(&self, dir: &Path, path: &Path) -> Result<File, StoreError> {
        files::ensure_dir(dir)?;
        let file = files::open_appending(path)?;
        let len = file.metadata().map_err(StoreError::io("look at", path))?;
        if len.len() != self.len {
            file.set_len(self.len)
                .map_err(StoreError::io("cut", path))?;
        }
        if self.len == 0 {
            files::sync_folder_of(path)?;
        }
        Ok(file)
    }
}

/// The numbers of the segments, oldest first.
pub(super) fn segments(dir: &Path) -> Result<Vec<u32>, StoreError> {
    let mut found = Vec::new();
    for entry in files::read_dir(dir)? {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
        found.extend(number.filter(|number| name_of(*number).as_str() == name));
    }
    found.sort_unstable();
    Ok(found)
}

/// What a segment holds.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut text))
        .map_err(StoreError::io("read", path))?;
    Ok(text)
}

fn name_of(segment: u32) -> String {
    format!("{segment:06}")
}

/// Where a segment is.
pub(super) fn path_of(dir: &Path, segment: u32) -> PathBuf {
    dir.join(name_of(segment))
}
