//! The folder `idempotency/`: which generation a client's `Idempotency-Key` stands for.
//!
//! One small file for each key, named by a hash: the key itself is the client's and is written
//! nowhere. A binding stands for 24 hours.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::files;
use crate::fault;
use crate::generation::Fingerprint;

const FORMAT: u64 = 1;
/// How long a key stands for one request; as long as it is promised to clients.
const STANDS: SignedDuration = SignedDuration::from_hours(24);
/// How often one folder is looked through for bindings that stand no longer.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// No binding of ours is longer, in bytes.
const FILE_MAX: u64 = 4096;
/// How many folders there are: one for each first byte of a name.
const FOLDERS: usize = 256;

/// A client's `Idempotency-Key`, and what it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    name: blake3::Hash,
    generation: Fingerprint,
    at: Timestamp,
}

impl Binding {
    /// `key` of `client` came with `generation`, at `at`. Two clients' equal keys differ.
    pub fn new(client: &str, key: &[u8], generation: Fingerprint, at: Timestamp) -> Self {
        let mut name = blake3::Hasher::new_derive_key("reprise 2026-11 idempotency key, format 1");
        name.update(&(client.len() as u64).to_le_bytes());
        name.update(client.as_bytes());
        name.update(key);
        Self {
            name: name.finalize(),
            generation,
            at,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct BindingForm {
    format: u64,
    generation: Fingerprint,
    at: Timestamp,
}

/// The files under `idempotency/`.
#[derive(Debug)]
pub(super) struct Bindings {
    root: PathBuf,
    /// One for each folder: its turn, and when it was last looked through.
    folders: Vec<Mutex<Option<Instant>>>,
}

impl Bindings {
    pub(super) fn in_dir(root: PathBuf) -> Self {
        Self {
            root,
            folders: (0..FOLDERS).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// The generation that the key stands for: the one it was first sent with in the last 24
    /// hours, or this one from now on. Durable when it returns.
    pub(super) fn bind(&self, binding: &Binding) -> Result<Fingerprint, StoreError> {
        let path = self.path(binding);
        let mut swept = self.turn(binding);
        if let Some(folder) = path.parent()
            && swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY)
        {
            sweep(folder, binding.at)?;
            *swept = Some(Instant::now());
        }
        if let Some(form) = read(&path)?
            && stands(form.at, binding.at)
        {
            return Ok(form.generation);
        }
        let form = BindingForm {
            format: FORMAT,
            generation: binding.generation,
            at: binding.at,
        };
        let bytes = serde_json::to_vec(&form)
            .map_err(|_| StoreError::Refused("the binding has no form in JSON"))?;
        files::write_durably(&path, &bytes)?;
        fault::point("binding-written");
        Ok(binding.generation)
    }

    fn path(&self, binding: &Binding) -> PathBuf {
        let name = binding.name.to_hex();
        self.root.join(&name[..2]).join(format!("{name}.json"))
    }

    /// Two requests with one key are looked at one after the other.
    fn turn(&self, binding: &Binding) -> MutexGuard<'_, Option<Instant>> {
        let folder = usize::from(binding.name.as_bytes()[0]);
        self.folders[folder]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set moves no binding by more than it was set.
fn stands(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at).abs() < STANDS
}

/// What a file holds; nothing when it is missing or cannot be read as what was written. A lost
/// binding costs a client's mistake its warning, and no money.
fn read(path: &Path) -> Result<Option<BindingForm>, StoreError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(serde_json::from_slice(&bytes)
            .ok()
            .filter(|form: &BindingForm| form.format == FORMAT)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// Removes what we wrote into `folder` and what stands no longer.
fn sweep(folder: &Path, now: Timestamp) -> Result<(), StoreError> {
    files::sweep(folder)?;
    for entry in files::read_dir(folder)? {
        let path = entry.map_err(StoreError::io("list", folder))?.path();
        let ours = path.extension().is_some_and(|end| end == "json");
        if ours && read(&path)?.is_some_and(|form| !stands(form.at, now)) {
            // Not synced: one that comes back after a power cut stands no longer either.
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn key(byte: u8) -> Fingerprint {
        Fingerprint::from_bytes([byte; 32])
    }

    #[test]
    fn a_key_stands_for_what_it_came_with_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("idempotency");
        let now = Timestamp::now();
        let bind = |client: &str, generation, at| {
            let bindings = Bindings::in_dir(root.clone());
            bindings
                .bind(&Binding::new(client, b"order-1", key(generation), at))
                .unwrap()
        };
        assert_eq!(bind("alice", 1, now), key(1));
        assert_eq!(bind("alice", 2, now), key(1));
        assert_eq!(bind("bob", 2, now), key(2), "a key belongs to its client");
        assert_eq!(bind("alice", 2, now + DAY), key(2), "it stands for a day");
        assert_eq!(bind("alice", 1, now + DAY), key(2));
    }

    #[test]
    fn what_stands_no_longer_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("idempotency");
        let now = Timestamp::now();
        let old = Binding::new("alice", b"old", key(1), now - DAY);
        let bindings = Bindings::in_dir(root);
        bindings.bind(&old).unwrap();
        let folder = bindings.path(&old).parent().unwrap().to_owned();
        let foreign = folder.join("notes.txt");
        fs::write(&foreign, "mine").unwrap();
        let damaged = folder.join("damaged.json");
        fs::write(&damaged, "{").unwrap();
        sweep(&folder, now).unwrap();
        assert!(!bindings.path(&old).exists());
        assert!(foreign.exists() && damaged.exists());
    }

    #[test]
    fn a_damaged_binding_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let bindings = Bindings::in_dir(dir.path().join("idempotency"));
        let first = Binding::new("alice", b"k", key(1), Timestamp::now());
        bindings.bind(&first).unwrap();
        fs::write(bindings.path(&first), "garbage").unwrap();
        let second = Binding::new("alice", b"k", key(2), Timestamp::now());
        assert_eq!(bindings.bind(&second).unwrap(), key(2));
    }
}
