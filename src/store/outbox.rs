//! The folder `callbacks/`: who is to hear of the end of a job.
//!
//! One small file for each job and address, which is written before the caller has its answer and
//! stays, once the call was made, as the mark that nobody calls again. Its name begins with the job,
//! so that those of one job lie beside each other.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::files;
use crate::generation::Fingerprint;

const FORMAT: u64 = 1;
/// No delivery of ours is longer, in bytes; longer ones are not read.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// How many deliveries may be changed at the same time; one is never changed twice at once.
const WRITERS: usize = 64;

/// The name of a delivery: 64 lower-case hex digits, the first half of them the job's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId(blake3::Hash);

impl DeliveryId {
    /// There is one for each job and address.
    pub fn new(key: &Fingerprint, task_id: &str, address: &str) -> Self {
        let mut name = blake3::Hasher::new_derive_key("reprise 2026-11 callback, format 1");
        name.update(key.as_bytes());
        name.update(&(task_id.len() as u64).to_le_bytes());
        name.update(task_id.as_bytes());
        name.update(address.as_bytes());
        let (job, own) = (job(task_id), name.finalize());
        let halves = job.as_bytes().iter().take(16).chain(own.as_bytes());
        let mut bytes = [0; 32];
        for (byte, from) in bytes.iter_mut().zip(halves) {
            *byte = *from;
        }
        Self(blake3::Hash::from_bytes(bytes))
    }

    /// What tells one delivery from another of the same job.
    pub fn own_bytes(&self) -> &[u8] {
        self.0.as_bytes().get(16..).unwrap_or_default()
    }

    /// The id in a file name of ours.
    fn of_name(name: &str) -> Option<Self> {
        let hash = blake3::Hash::from_hex(name.strip_suffix(".json")?).ok()?;
        (format!("{}.json", hash.to_hex()) == name).then_some(Self(hash))
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

fn job(task_id: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(
        "reprise 2026-11 job of a callback, format 1",
        task_id.as_bytes(),
    ))
}

/// One caller of a job who gave an address to be called at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The generation that was asked for.
    pub key: Fingerprint,
    /// Upstream's id of its job.
    pub task_id: String,
    /// The address: an http or https URL. SECURITY: its query may hold a secret of the caller's.
    pub address: String,
    /// The client that asked.
    pub client: String,
    /// The path it asked on, beginning with `/v1/`.
    pub path: String,
    /// What links to this proxy begin with: scheme and authority.
    pub base: String,
    /// When it was noted.
    pub created_at: Timestamp,
    /// How many times the address was called.
    pub attempts: u32,
    /// How far it is.
    pub state: DeliveryState,
}

/// How far a delivery is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum DeliveryState {
    /// Upstream was given the address, and calls it itself.
    Upstreams,
    /// The job runs.
    Waiting,
    /// The job has ended.
    Due {
        /// Not to be called before.
        next_at: Timestamp,
        /// Whether the job stays kept. Of one that failed no mark is needed: the same request is
        /// another job.
        kept: bool,
        /// The answer of the poll that showed the end, which is JSON.
        body: String,
    },
    /// The address has heard of it.
    Delivered,
    /// Nobody tries any longer.
    GivenUp {
        /// Why, for people.
        reason: String,
    },
}

impl DeliveryState {
    /// The word for listings.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Upstreams => "upstream",
            Self::Waiting => "waiting",
            Self::Due { .. } => "due",
            Self::Delivered => "delivered",
            Self::GivenUp { .. } => "given_up",
        }
    }
}

impl Delivery {
    /// Its name.
    pub fn id(&self) -> DeliveryId {
        DeliveryId::new(&self.key, &self.task_id, &self.address)
    }
}

/// What a look at a delivery decides about it.
#[derive(Debug)]
pub enum DeliveryChange {
    /// Keep this instead.
    Put(Box<Delivery>),
    /// Forget it.
    Remove,
    /// Leave it as it is.
    Nothing,
}

#[derive(Serialize, Deserialize)]
struct DeliveryForm {
    format: u64,
    #[serde(flatten)]
    delivery: Delivery,
}

/// The files under `callbacks/`.
#[derive(Debug)]
pub(super) struct Outbox {
    root: PathBuf,
    /// Whether its folders were made.
    prepared: Mutex<bool>,
    writing: [Mutex<()>; WRITERS],
}

impl Outbox {
    pub(super) fn in_dir(root: PathBuf) -> Self {
        Self {
            root,
            prepared: Mutex::new(false),
            writing: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Looks at a delivery and changes it, with nobody else changing it in between. Returns what
    /// stands afterwards, durably.
    pub(super) fn change(
        &self,
        id: &DeliveryId,
        decide: &mut dyn FnMut(Option<&Delivery>) -> DeliveryChange,
    ) -> Result<Option<Delivery>, StoreError> {
        let _turn = self.turn(id);
        let path = self.path(id);
        let standing = read(&path, id)?;
        match decide(standing.as_ref()) {
            DeliveryChange::Nothing => Ok(standing),
            DeliveryChange::Remove => files::remove_durably(&path).map(|_| None),
            DeliveryChange::Put(delivery) => {
                self.prepare()?;
                write(&path, id, &delivery)?;
                Ok(Some(*delivery))
            }
        }
    }

    /// Those of one job, in no certain order.
    pub(super) fn of_job(&self, task_id: &str) -> Result<Vec<Delivery>, StoreError> {
        let job = job(task_id).to_hex();
        let (shard, beginning) = (&job[..2], &job[..32]);
        let mut found = Vec::new();
        let _whole = self.visit(shard, beginning, &mut |delivery| {
            if delivery.task_id == task_id {
                found.push(delivery);
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// All of them, in no certain order, until `visit` breaks. Those that cannot be read are left out;
    /// the error comes when all others have been shown.
    pub(super) fn list(
        &self,
        visit: &mut dyn FnMut(Delivery) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut listed = Ok(());
        for shard in 0..=u8::MAX {
            let shard = format!("{shard:02x}");
            match self.visit(&shard, "", visit) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(error) => listed = listed.and(Err(error)),
            }
        }
        listed
    }

    /// Removes what a crash left half-written.
    pub(super) fn sweep(&self) -> Result<u64, StoreError> {
        let mut removed = 0;
        for shard in files::read_dir(&self.root)? {
            let shard = shard.map_err(StoreError::io("list", &self.root))?.path();
            if shard.is_dir() {
                removed += files::sweep(&shard)?;
            }
        }
        Ok(removed)
    }

    fn visit(
        &self,
        shard: &str,
        beginning: &str,
        visit: &mut dyn FnMut(Delivery) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let folder = self.root.join(shard);
        let mut visited = Ok(ControlFlow::Continue(()));
        for entry in files::read_dir(&folder)? {
            let entry = entry.map_err(StoreError::io("list", &folder))?;
            let name = entry.file_name();
            let name = name.to_str().filter(|name| name.starts_with(beginning));
            let Some(id) = name.and_then(DeliveryId::of_name) else {
                continue;
            };
            match read(&entry.path(), &id) {
                Ok(None) => {}
                Ok(Some(delivery)) => {
                    if visit(delivery).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Err(error) => visited = visited.and(Err(error)),
            }
        }
        visited
    }

    /// Makes the folders before anything lies in one of them.
    fn prepare(&self) -> Result<(), StoreError> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if !*prepared {
            files::ensure_shards(&self.root)?;
            *prepared = true;
        }
        Ok(())
    }

    fn path(&self, id: &DeliveryId) -> PathBuf {
        let name = id.0.to_hex();
        self.root.join(&name[..2]).join(format!("{name}.json"))
    }

    fn turn(&self, id: &DeliveryId) -> Option<MutexGuard<'_, ()>> {
        let group = usize::from(*id.own_bytes().first()?) % WRITERS;
        let turn = self.writing.get(group)?;
        Some(turn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn write(path: &Path, id: &DeliveryId, delivery: &Delivery) -> Result<(), StoreError> {
    if delivery.id() != *id {
        return Err(StoreError::Refused("the delivery has another name"));
    }
    let form = DeliveryForm {
        format: FORMAT,
        delivery: delivery.clone(),
    };
    let bytes = serde_json::to_vec(&form)
        .map_err(|_| StoreError::Refused("the delivery has no form in JSON"))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(StoreError::Refused("the delivery is longer than 64 MiB"));
    }
    files::write_durably(path, &bytes).map(drop)
}

/// What a file holds. One that is not what was written costs that one call; it is told by name, and
/// stays until the same caller is noted again.
fn read(path: &Path, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(StoreError::io("open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(StoreError::io("read", path))?;
    let form = serde_json::from_slice::<DeliveryForm>(&bytes);
    match form {
        Ok(form) if form.format == FORMAT && form.delivery.id() == *id => Ok(Some(form.delivery)),
        Ok(_) | Err(_) => {
            tracing::warn!(path = %path.display(), "a callback that is damaged is not made");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
