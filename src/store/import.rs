//! Taking over what an export holds.
//!
//! Everything is checked by its hash before it is kept, and a generation is kept only with all its
//! blobs. What is there already stays, unless the import is newer (by `created_at`); what runs here
//! always stays. An export that was cut off gives what is whole in it.
//!
//! MONEY: a job that ran when it was exported comes along, for it was paid for; whoever imports into
//! a store that is in use has it followed ([`Shelf::import`] does), since nobody else would, and
//! identical requests join it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry as Member};

use super::blob_hash::BlobHash;
use super::codec::{self, FILE_MAX, Flaw};
use super::export::{END, FORMAT, HEAD, Head};
use super::{Entry, Hold, Shelf, Store, StoreError, TaskState, row};
use crate::generation::Fingerprint;

/// How many refusals are named; the count goes on.
const NAMED: usize = 1_000;
/// The longest note of an export's own, in bytes.
const NOTE_MAX: u64 = 4_096;

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Generations that were not here.
    pub added: u64,
    /// Generations that took the place of older ones.
    pub replaced: u64,
    /// Generations that were here, as new or newer, or running.
    pub already_here: u64,
    /// How many of those that were taken have a job that runs. It is followed: at once where jobs
    /// are followed, else from the next start on.
    pub running: u64,
    /// Blobs that were not here.
    pub blobs: u64,
    /// What was read, in bytes.
    pub bytes: u64,
    /// How many files in it were not taken.
    pub refused: u64,
    /// The first of those.
    pub refusals: Vec<Refusal>,
    /// Why nothing was read beyond a certain point, when the export is not whole.
    pub cut_off: Option<String>,
}

/// A file in an export that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its name in the export.
    pub name: String,
    /// Why, for people.
    pub why: String,
}

/// Keeps what is in the export that `from` reads; `others` is what everybody else uses the same store
/// by, if anybody does.
///
/// `progress` hears of the bytes that were read since it was last called, and may break; what was
/// taken by then stays.
///
/// # Errors
/// When it is no export, or one of a newer version, and when something cannot be kept.
pub fn import(
    store: &dyn Store,
    others: Option<&Shelf>,
    from: impl Read,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Imported, StoreError> {
    let mut archive = Archive::new(from);
    // Raw: nothing in our archives needs the extensions, which may ask for any amount of memory.
    let members = archive.entries().map_err(unread)?.raw(true);
    let mut reading = Reading {
        store,
        others,
        held: HashMap::new(),
        done: Imported::default(),
    };
    let mut begun = false;
    for member in members {
        let mut member = match member {
            Err(error) if begun => return Ok(reading.cut_off(error.to_string())),
            Err(_) => break,
            Ok(member) => member,
        };
        let name = member.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&name).into_owned();
        if !begun {
            check_head(&name, &mut member)?;
            begun = true;
            continue;
        }
        if name == END {
            return Ok(reading.done);
        }
        let len = member.size();
        if let Err(error) = reading.take(&name, &mut member)? {
            return Ok(reading.cut_off(error.to_string()));
        }
        reading.done.bytes += len;
        if progress(len).is_break() {
            return Ok(reading.cut_off("it was told to stop".to_owned()));
        }
    }
    if begun {
        return Ok(reading.cut_off("it has no end".to_owned()));
    }
    Err(StoreError::NotAnExport("it does not begin like one"))
}

fn check_head(name: &str, member: &mut Member<'_, impl Read>) -> Result<(), StoreError> {
    let foreign = StoreError::NotAnExport("it does not begin like one");
    if name != HEAD || member.size() > NOTE_MAX {
        return Err(foreign);
    }
    let mut text = Vec::new();
    member.read_to_end(&mut text).map_err(unread)?;
    match serde_json::from_slice::<Head>(&text) {
        Ok(head) if head.format > FORMAT => Err(StoreError::NotAnExport(
            "a newer reprise has written it: use that one to read it",
        )),
        Ok(_) => Ok(()),
        Err(_) => Err(foreign),
    }
}

struct Reading<'a> {
    store: &'a dyn Store,
    others: Option<&'a Shelf>,
    /// Blobs wait here for the generations that name them.
    held: HashMap<BlobHash, Hold>,
    done: Imported,
}

/// What can go wrong: the outer is ours and ends everything, the inner is the export's.
type Taken<T> = Result<Result<T, io::Error>, StoreError>;

impl Reading<'_> {
    fn take(&mut self, name: &str, member: &mut Member<'_, impl Read>) -> Taken<()> {
        let parts: Vec<&str> = name.split('/').collect();
        match parts.as_slice() {
            ["blobs", shard, hash] if hash.starts_with(shard) => {
                if let Ok(hash) = hash.parse() {
                    return self.blob(name, hash, member);
                }
            }
            ["generations", shard, file] if file.starts_with(shard) => {
                if let Some(key) = file.strip_suffix(".gen").and_then(|key| key.parse().ok()) {
                    return self.generation(name, &key, member);
                }
            }
            _ => {}
        }
        self.refuse(name, "it is nothing that an export holds".to_owned());
        Ok(Ok(()))
    }

    fn blob(
        &mut self,
        name: &str,
        hash: BlobHash,
        member: &mut Member<'_, impl Read>,
    ) -> Taken<()> {
        let hold = self.store.hold(&hash);
        match self.store.open_blob(&hash) {
            Ok(_) => {
                self.held.insert(hash, hold);
                return Ok(Ok(()));
            }
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
        let mut blob = self.store.new_blob()?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match member.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => blob.write(buffer.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        if blob.len() < member.size() {
            return Ok(Err(cut_short()));
        }
        if blob.hash() == hash {
            let blob = blob.finish()?;
            self.held.insert(hash, blob.hold);
            self.done.blobs += 1;
        } else {
            self.refuse(name, "its content does not match its name".to_owned());
        }
        Ok(Ok(()))
    }

    fn generation(
        &mut self,
        name: &str,
        key: &Fingerprint,
        member: &mut Member<'_, impl Read>,
    ) -> Taken<()> {
        if member.size() > FILE_MAX {
            self.refuse(name, "it is longer than any generation".to_owned());
            return Ok(Ok(()));
        }
        let mut bytes = Vec::new();
        match member.read_to_end(&mut bytes) {
            Err(error) => return Ok(Err(error)),
            Ok(_) if (bytes.len() as u64) < member.size() => return Ok(Err(cut_short())),
            Ok(_) => {}
        }
        match codec::decode(key, &Bytes::from(bytes)) {
            Ok(entry) => self.keep(name, &entry).map(Ok),
            Err(Flaw::Damaged(why)) => {
                self.refuse(name, why);
                Ok(Ok(()))
            }
            Err(Flaw::Newer(format)) => {
                let why = format!("it has format {format}: use a newer reprise to read it");
                self.refuse(name, why);
                Ok(Ok(()))
            }
        }
    }

    fn keep(&mut self, name: &str, entry: &Entry) -> Result<(), StoreError> {
        let key = &entry.record.key;
        let store = self.store;
        let keep = || {
            let old = store.get(key)?;
            let stays = old.as_ref().is_some_and(|old| {
                old.record.is_open() || old.record.created_at >= entry.record.created_at
            });
            if !stays {
                store.put(entry)?;
            }
            Ok((old.is_some(), stays))
        };
        let kept = match self.others {
            Some(others) => others.in_turn(key, keep),
            None => keep(),
        };
        match kept {
            Ok((_, true)) => self.done.already_here += 1,
            Ok((was_here, false)) => {
                self.done.added += u64::from(!was_here);
                self.done.replaced += u64::from(was_here);
                self.done.running += u64::from(runs(entry));
                // They are needed now, which keeps them. What is evicted again frees its room.
                for (hash, _) in row::blobs_of(entry) {
                    self.held.remove(&hash);
                }
            }
            Err(error @ (StoreError::NewerFormat { .. } | StoreError::Refused(_))) => {
                self.refuse(name, error.to_string());
            }
            Err(error) if error.is_damage() => self.refuse(name, error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn refuse(&mut self, name: &str, why: String) {
        self.done.refused += 1;
        if self.done.refusals.len() < NAMED {
            let name = name.to_owned();
            self.done.refusals.push(Refusal { name, why });
        }
    }

    fn cut_off(self, why: String) -> Imported {
        Imported {
            cut_off: Some(why),
            ..self.done
        }
    }
}

fn runs(entry: &Entry) -> bool {
    let task = entry.record.task.as_ref();
    task.is_some_and(|task| task.state == TaskState::Running)
}

/// The reader of a member just ends where the file does.
fn cut_short() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "it was cut off in the middle of a file",
    )
}

fn unread(error: io::Error) -> StoreError {
    StoreError::io("read", Path::new("the export"))(error)
}
