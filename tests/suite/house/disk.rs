//! What a test does to a data directory behind the proxy's back.

use std::fs;
use std::path::{Path, PathBuf};

/// Copies a directory as it is at this moment: what a crash would leave behind.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        // A file may go between the listing and the copy; a crash then would not have left it.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy(&entry.path(), &target);
        } else {
            let _ = fs::copy(entry.path(), target);
        }
    }
}

/// All files below a directory, sorted; none when it does not exist.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect();
    files.sort();
    files
}

/// Flips the lowest bit of the byte that lies so many bytes before the end of a file.
pub(crate) fn flip_a_bit(file: &Path, before_end: usize) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.len() - before_end;
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}
