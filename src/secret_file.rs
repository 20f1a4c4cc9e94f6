//! Files that hold a secret: read only while nobody but their owner can.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;

/// The most that is read of one, in bytes: ten times a large private key.
const MOST: u64 = 64 * 1024;

/// The text of the file at `path`.
///
/// Reads a file, so it blocks.
///
/// # Errors
/// What is wrong, as words that name the file and show nothing of what is in it.
pub fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let unreadable = |error| format!("cannot read {shown}: {error}");
    // A pipe would make us wait for whoever writes into it.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    // Of the open file, not of the path: nobody can put another one in its place in between.
    private(&file.metadata().map_err(unreadable)?)
        .map_err(|rule| format!("{shown} {rule}{shown}"))?;
    let mut text = String::new();
    file.take(MOST)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

/// SECURITY: whoever can read it has the account, or can pass for us.
#[cfg(unix)]
fn private(file: &Metadata) -> Result<(), &'static str> {
    use std::os::unix::fs::PermissionsExt;

    if file.permissions().mode() & 0o077 != 0 {
        return Err("can be read by others than its owner: chmod 600 ");
    }
    Ok(())
}

#[cfg(not(unix))]
fn private(_: &Metadata) -> Result<(), &'static str> {
    Ok(())
}
