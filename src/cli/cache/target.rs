//! The file that an export goes into: written aside, synced, renamed.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use uuid::Uuid;

use crate::cli::Failure;
use crate::store::Exported;

/// Where it goes, and its last bytes.
pub(super) struct Target {
    to: To,
    tail: BytesMut,
}

enum To {
    Out(io::Stdout),
    File(Aside),
}

/// A file beside the one it is to become; it goes when it is dropped before that.
struct Aside {
    file: File,
    path: PathBuf,
    becomes: PathBuf,
    done: bool,
}

impl Target {
    /// `-` is standard output.
    ///
    /// # Errors
    /// When the file is there and may not be replaced, or none can be made.
    pub(super) fn open(path: &Path, force: bool) -> Result<Self, Failure> {
        let to = if path.as_os_str() == "-" {
            let out = io::stdout();
            if out.is_terminal() {
                return Err(Failure::Usage(
                    "an export is nothing for a terminal: name a file, or redirect it".to_owned(),
                ));
            }
            To::Out(out)
        } else {
            To::File(Aside::beside(path, force)?)
        };
        let tail = BytesMut::new();
        Ok(Self { to, tail })
    }

    /// Makes it durable under its name; says what is in it.
    ///
    /// # Errors
    /// When it is not whole, or cannot be synced or renamed: then there is no new file.
    pub(super) fn finish(mut self) -> Result<Exported, Failure> {
        let done = Exported::at_end(&self.tail).ok_or_else(|| {
            Failure::Runtime("the export broke off: what came of it is not whole".to_owned())
        })?;
        self.flush()?;
        if let To::File(aside) = self.to {
            aside.keep()?;
        }
        Ok(done)
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.to {
            To::Out(out) => out.write(bytes)?,
            To::File(aside) => aside.file.write(bytes)?,
        };
        let new = bytes.get(..count).unwrap_or_default();
        let new = &new[new.len().saturating_sub(Exported::TAIL)..];
        let surplus = (self.tail.len() + new.len()).saturating_sub(Exported::TAIL);
        drop(self.tail.split_to(surplus));
        self.tail.extend_from_slice(new);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Out(out) => out.flush(),
            To::File(aside) => aside.file.flush(),
        }
    }
}

impl Aside {
    fn beside(path: &Path, force: bool) -> Result<Self, Failure> {
        // What a link points to is replaced, not the link.
        let becomes = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        refuse_to_replace(&becomes, force)?;
        let name = becomes.file_name().unwrap_or_default().to_string_lossy();
        let aside = becomes.with_file_name(format!(".{name}.{}.part", Uuid::now_v7()));
        // SECURITY: what was generated is nobody else's business.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)
            .map_err(|error| cannot("write", path, &error))?;
        Ok(Self {
            file,
            path: aside,
            becomes,
            done: false,
        })
    }

    fn keep(mut self) -> Result<(), Failure> {
        let failed = |error: io::Error| cannot("write", &self.becomes, &error);
        self.file.sync_all().map_err(failed)?;
        std::fs::rename(&self.path, &self.becomes).map_err(failed)?;
        let folder = self
            .becomes
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        folder.sync_all().map_err(failed)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.done {
            // It may be renamed already.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn refuse_to_replace(path: &Path, force: bool) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("look at", path, &error)),
        Ok(found) if !found.is_file() => Err(Failure::Runtime(format!(
            "{} is no file: name one, or write to - and redirect that",
            path.display()
        ))),
        Ok(_) if force => Ok(()),
        Ok(_) => Err(Failure::Runtime(format!(
            "{} is there already: name another file, or say --force to have it replaced",
            path.display()
        ))),
    }
}

/// What could not be done with a file.
pub(super) fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Runtime(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_never_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        let mut target = Target::open(&path, false).unwrap();
        for _ in 0..5 {
            target.write_all(&[7; 999]).unwrap();
            assert!(target.tail.len() <= Exported::TAIL);
        }
        assert_eq!(target.tail.len(), Exported::TAIL);
        assert!(target.finish().is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
