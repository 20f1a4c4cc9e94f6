//! One process for each data directory.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::error::StoreError;
use super::files;

pub(super) const LOCK: &str = "LOCK";

/// What stands between what the holder is and where it answers.
const ON: &str = ", on ";
/// What stands between where it answers and the certificate it shows there.
const WITH: &str = " with certificate ";

/// How often a lock that is held is tried again. A command that only wants to know whether a proxy
/// runs holds it for microseconds, and must not keep one from starting.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The held lock. The system lets it go when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirLock {
    path: PathBuf,
    since: Timestamp,
    file: Mutex<File>,
}

impl DirLock {
    /// Takes the lock of `dir`, or says who has it.
    pub(super) fn take(dir: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let path = dir.join(LOCK);
        let mut file = files::open_kept(&path)?;
        if !acquire(&file, &path)? {
            let holder = Holder::read(&mut file);
            return Err(StoreError::Locked {
                dir: dir.to_owned(),
                holder: holder.to_string(),
            });
        }
        let lock = Self {
            path,
            since: now,
            file: Mutex::new(file),
        };
        lock.note(None);
        Ok(lock)
    }

    /// Notes where the holder answers, for the commands that ask it.
    pub(super) fn announce(&self, at: Served) {
        self.note(Some(at));
    }

    /// For people, for the message of the next one, and for the commands; the lock itself does not
    /// depend on it.
    fn note(&self, at: Option<Served>) {
        let on = match at {
            Some(Served {
                certificate: Some(certificate),
                ..
            }) => format!("{WITH}{certificate}"),
            Some(_) | None => String::new(),
        };
        let on = at.map(|at| format!("{ON}{at}{on}")).unwrap_or_default();
        let since = self.since;
        let content = format!("pid {}, since {since:.0}{on}\n", std::process::id());
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // SECURITY: first of all, an address of an earlier holder goes: somebody else may have its
        // port by now.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(content.as_bytes()));
        if let Err(error) = written {
            // A full disk must not keep anyone from what is kept already.
            tracing::warn!(path = %self.path.display(), %error, "cannot note who holds the directory");
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.set_len(0) {
            tracing::debug!(path = %self.path.display(), %error, "the note about its holder stays");
        }
    }
}

/// Whether `file` is ours now.
fn acquire(file: &File, path: &Path) -> Result<bool, StoreError> {
    for tried in 1.. {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if tried >= TRIES => break,
            Err(TryLockError::WouldBlock) => pause(),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
        }
    }
    Ok(false)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a store is opened where blocking is allowed"
)]
fn pause() {
    std::thread::sleep(BETWEEN_TRIES);
}

/// Where a process serves, as `Display` and a URL write it: `http://127.0.0.1:8787`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The address, with the real port.
    pub addr: SocketAddr,
    /// The hash of the certificate (DER) that it shows there; `None`: plain HTTP.
    pub certificate: Option<blake3::Hash>,
}

impl Served {
    /// Reads what [`DirLock::note`] writes. SECURITY: nothing is made of half of it: without its
    /// certificate a proxy with TLS would be spoken to in the clear.
    fn parse(text: &str) -> Option<Self> {
        if let Some(addr) = text.strip_prefix("http://") {
            return Some(Self {
                addr: addr.parse().ok()?,
                certificate: None,
            });
        }
        let (addr, certificate) = text.strip_prefix("https://")?.split_once(WITH)?;
        Some(Self {
            addr: addr.parse().ok()?,
            certificate: Some(blake3::Hash::from_hex(certificate).ok()?),
        })
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.certificate {
            Some(_) => "https",
            None => "http",
        };
        write!(f, "{scheme}://{}", self.addr)
    }
}

/// The process that has a data directory, as far as it has said who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process id and since when it has it, in words.
    who: Option<String>,
    /// Where it serves; `None` while it does not.
    pub at: Option<Served>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.who, self.at) {
            (Some(who), Some(at)) => write!(f, "the reprise with {who}{ON}{at}"),
            (Some(who), None) => write!(f, "the reprise with {who}"),
            (None, _) => f.write_str("another reprise"),
        }
    }
}

impl Holder {
    /// What the holder wrote about itself.
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| {
            let mut start = (&*file).take(512);
            start.read_to_string(&mut text)
        });
        if read.is_ok() {
            Self::parse(&text)
        } else {
            Self::default()
        }
    }

    /// Only a whole line is believed: half an address is another address.
    fn parse(text: &str) -> Self {
        let line = text.strip_suffix('\n').filter(|line| {
            line.starts_with("pid ") && !line.contains(|letter: char| letter.is_control())
        });
        let Some(line) = line else {
            return Self::default();
        };
        let (who, at) = match line.split_once(ON) {
            Some((who, at)) => (who, Served::parse(at)),
            None => (line, None),
        };
        Self {
            who: Some(who.to_owned()),
            at,
        }
    }
}

/// Who has the data directory `dir` at this moment; `None` when nobody has. Touches nothing.
///
/// # Errors
/// When the lock cannot be looked at.
pub fn holder(dir: &Path) -> Result<Option<Holder>, StoreError> {
    let path = dir.join(LOCK);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(StoreError::io("open", &path))?,
    };
    // Shared: several commands that look at the same time do not take each other for a holder.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder::read(&mut file))),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(dir: &Path) -> Result<DirLock, StoreError> {
        DirLock::take(dir, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_holder_is_known_as_long_as_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None, "no lock yet");
        let lock = take(dir.path()).unwrap();
        let who = format!("pid {}, since 1970-01-01T00:00:00Z", std::process::id());
        let starting = holder(dir.path()).unwrap().unwrap();
        assert_eq!(
            starting,
            Holder {
                who: Some(who.clone()),
                at: None
            }
        );
        let at = Served {
            addr: "[::1]:8787".parse().unwrap(),
            certificate: None,
        };
        lock.announce(at);
        let serving = holder(dir.path()).unwrap().unwrap();
        assert_eq!(
            serving,
            Holder {
                who: Some(who),
                at: Some(at)
            }
        );
        let secure = Served {
            certificate: Some(blake3::hash(b"certificate")),
            ..at
        };
        lock.announce(secure);
        let serving = holder(dir.path()).unwrap().unwrap();
        assert_eq!(serving.at, Some(secure));
        assert!(serving.to_string().ends_with(", on https://[::1]:8787"));
        lock.announce(at);
        let refused = take(dir.path()).expect_err("it is held").to_string();
        assert!(refused.contains("on http://[::1]:8787"), "{refused}");
        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), None);
        assert_eq!(std::fs::read(dir.path().join(LOCK)).unwrap(), b"");
        take(dir.path()).unwrap();
    }

    #[test]
    fn a_look_does_not_keep_anyone_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        drop(take(dir.path()).unwrap());
        let looking = File::open(dir.path().join(LOCK)).unwrap();
        looking.try_lock_shared().unwrap();
        let dir = dir.path().to_owned();
        let starting = std::thread::spawn(move || take(&dir).map(drop));
        drop(looking);
        starting.join().unwrap().unwrap();
    }

    #[test]
    fn only_a_whole_line_is_believed() {
        let table: [(&str, bool, Option<&str>); 9] = [
            (
                "pid 1, since x, on http://127.0.0.1:80\n",
                true,
                Some("http://127.0.0.1:80"),
            ),
            ("pid 1, since x, on https://127.0.0.1:80\n", true, None),
            (
                "pid 1, since x, on https://127.0.0.1:80 with certificate ab\n",
                true,
                None,
            ),
            ("pid 1, since x, on http://127.0.0.1:80", false, None),
            ("pid 1, since x\n", true, None),
            ("pid 1, since x, on http://nowhere\n", true, None),
            ("pid 1\u{1b}[2J, on http://127.0.0.1:80\n", false, None),
            ("", false, None),
            ("on http://127.0.0.1:80\n", false, None),
        ];
        for (text, known, addr) in table {
            let holder = Holder::parse(text);
            assert_eq!(holder.who.is_some(), known, "{text:?}");
            let at = holder.at.map(|at| at.to_string());
            assert_eq!(at.as_deref(), addr, "{text:?}");
        }
    }
}
