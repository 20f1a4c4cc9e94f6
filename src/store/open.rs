//! Opening a directory: look, lock, look again, tidy, index.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::bindings::Bindings;
use super::blobs::Blobs;
use super::book::Book;
use super::disk::{DiskStore, Writing};
use super::error::StoreError;
use super::files;
use super::generations::Generations;
use super::index::Index;
use super::intents::Intents;
use super::layout::{
    self, BLOBS, CALLBACKS, GENERATIONS, IDEMPOTENCY, INDEX, Layout, OWNERS, PENDING,
};
use super::lock::DirLock;
use super::outbox::Outbox;
use super::owners::Owners;
use super::usage::Usage;
use super::warm::Warm;
use crate::clock::Clock;
use crate::fault;

/// What was found when a directory was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Kept generations that can be served.
    pub generations: u64,
    /// Paid calls under way or of unknown outcome, damaged ones included.
    pub intents: u64,
    /// The size of all kept files, blobs included, in bytes.
    pub bytes: u64,
    /// Why the index was made anew, when it was.
    pub rebuilt: Option<String>,
    /// Kept generations whose row in the index was missing or out of date, and was made again.
    pub reindexed: u64,
    /// Files that cannot be read as what was written. They were left where they are.
    pub damaged: Vec<PathBuf>,
    /// Unfinished files of an earlier run that were removed.
    pub removed_temporaries: u64,
}

impl DiskStore {
    /// Opens the data directory `dir`, or makes one where there is nothing. Blocks: a second for
    /// each few hundred thousand generations, more when the index has to be made anew.
    ///
    /// # Errors
    /// When another process has it, when it belongs to a newer version or to something else (then
    /// nothing in it is touched), and when the file system refuses.
    pub fn open(dir: &Path, clock: Clock) -> Result<(Self, OpenReport), StoreError> {
        layout::inspect(dir)?;
        files::ensure_dir(dir)?;
        let lock = DirLock::take(dir, clock.now())?;
        fault::point("lock-taken");
        // Again, now that nobody else can be at it.
        match layout::inspect(dir)? {
            Layout::Ours => {}
            Layout::Empty => layout::establish(dir)?,
            Layout::VersionLost => {
                tracing::warn!(dir = %dir.display(), "VERSION is missing: read as 1");
                layout::establish(dir)?;
            }
        }
        fault::point("layout-made");
        keep_private(dir);
        let generations = Generations::in_dir(dir.join(GENERATIONS));
        let intents = Intents::in_dir(dir.join(PENDING));
        let book = Book::default();
        let blobs = Blobs::in_dir(dir.join(BLOBS), book.clone());
        let outbox = Outbox::in_dir(dir.join(CALLBACKS));
        generations.prepare()?;
        blobs.prepare()?;
        let removed_temporaries = files::sweep(dir)?
            + generations.sweep()?
            + intents.sweep()?
            + blobs.sweep()?
            + outbox.sweep()?;
        fault::point("swept");
        let listing = intents.list()?;
        let (index, opened) = Index::open(dir.join(INDEX), generations.clone(), &book, clock)?;
        fault::point("index-open");
        book.load_files(opened.tally.bytes);
        blobs.each(&mut |hash, len| {
            book.load_blob(hash, len);
            Ok(())
        })?;
        let mut damaged = opened.tally.damaged;
        let unread = !damaged.is_empty();
        damaged.extend(listing.damaged);
        let (owners, unread_owners) = Owners::open(dir.join(OWNERS))?;
        damaged.extend(unread_owners);
        let report = OpenReport {
            generations: opened.tally.generations,
            intents: listing.intents.len() as u64,
            bytes: book.bytes(),
            rebuilt: opened.rebuilt,
            reindexed: opened.tally.read,
            damaged,
            removed_temporaries,
        };
        let store = Self {
            dir: dir.to_owned(),
            files: generations,
            intents,
            blobs,
            bindings: Bindings::in_dir(dir.join(IDEMPOTENCY)),
            outbox,
            owners,
            index,
            book,
            usage: Usage::default(),
            warm: Warm::new(),
            damaged: unread,
            writing: Writing::new(),
            lock,
        };
        Ok((store, report))
    }
}

/// SECURITY: answers are nobody else's business. A directory that is not ours to change (a mounted
/// volume) is used as it is, with a warning.
fn keep_private(dir: &Path) {
    let mode = std::fs::metadata(dir).map(|metadata| metadata.permissions().mode());
    let changed = match mode {
        Ok(mode) if mode & 0o077 != 0 => {
            std::fs::set_permissions(dir, Permissions::from_mode(0o700))
        }
        Ok(_) => return,
        Err(error) => Err(error),
    };
    if let Err(error) = changed {
        tracing::warn!(dir = %dir.display(), %error, "others may be able to read the data directory");
    }
}
