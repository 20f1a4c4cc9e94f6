//! Opening a directory: look, lock, look again, tidy, index.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::bindings::Bindings;
use super::blobs::Blobs;
use super::book::Book;
use super::disk::DiskStore;
use super::error::StoreError;
use super::files;
use super::found::Found;
use super::generations::Generations;
use super::index::Index;
use super::intents::Intents;
use super::layout::{
    self, BLOBS, CALLBACKS, GENERATIONS, IDEMPOTENCY, INDEX, Layout, OWNERS, PENDING,
};
use super::lock::DirLock;
use super::outbox::Outbox;
use super::owners::Owners;
use super::rows::Rows;
use super::survey::Survey;
use super::usage::Usage;
use super::warm::Warm;
use super::watch::Indexing;
use super::writing::Writing;
use crate::clock::Clock;
use crate::fault;

/// So many generations are looked at in no time: nothing of them is left for later.
const FEW: u64 = 1_000;

/// What was found when a directory was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Kept generations that can be served; those that were not looked at yet as they were counted
    /// when they last were.
    pub generations: u64,
    /// Paid calls under way or of unknown outcome, damaged ones included.
    pub intents: u64,
    /// The size of all kept files, blobs included, in bytes; likewise.
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
    /// Opens the data directory `dir`, or makes one where there is nothing, and looks at everything
    /// in it. Blocks: a second for each few hundred thousand generations, more when the index has to
    /// be made anew.
    ///
    /// # Errors
    /// When another process has it, when it belongs to a newer version or to something else (then
    /// nothing in it is touched), and when the file system refuses.
    pub fn open(dir: &Path, clock: Clock) -> Result<(Self, OpenReport), StoreError> {
        Self::open_leaving(u64::MAX, dir, clock, &|_| ())
    }

    /// The same for whoever is to be served at once: what did not change since it was last looked at
    /// is left for [`Store::survey`](super::Store::survey), before which nothing may be evicted. `tell`
    /// hears how far an index is that has to be made anew.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at_once(
        dir: &Path,
        clock: Clock,
        tell: &(dyn Fn(Indexing) + Sync),
    ) -> Result<(Self, OpenReport), StoreError> {
        Self::open_leaving(FEW, dir, clock, tell)
    }

    /// The same; up to so many generations are not left for later.
    pub(super) fn open_leaving(
        few: u64,
        dir: &Path,
        clock: Clock,
        tell: &(dyn Fn(Indexing) + Sync),
    ) -> Result<(Self, OpenReport), StoreError> {
        let lock = take(dir, &clock)?;
        let files = Generations::in_dir(dir.join(GENERATIONS));
        let intents = Intents::in_dir(dir.join(PENDING));
        let book = Book::default();
        let blobs = Blobs::in_dir(dir.join(BLOBS), book.clone());
        let outbox = Outbox::in_dir(dir.join(CALLBACKS));
        files.prepare()?;
        blobs.prepare()?;
        let swept = files::sweep(dir)?
            + files.sweep()?
            + intents.sweep()?
            + blobs.sweep()?
            + outbox.sweep()?;
        fault::point("swept");
        let listing = intents.list()?;
        let (survey, found) = (Survey::new(), Found::default());
        let fill = |rows: &Rows| survey.begin(rows, (&files, &book), tell);
        let (index, opened) = Index::open(
            dir.join(INDEX),
            (files.clone(), found.clone()),
            &fill,
            clock,
        )?;
        let (tally, rebuilt) = match opened {
            Some(opened) => (opened.tally, opened.rebuilt),
            None => (survey.begin_anew(&files, &book)?, None),
        };
        fault::point("index-open");
        found.remember(&tally);
        let mut damaged = tally.damaged;
        damaged.extend(tally.unread.iter().filter_map(path_of));
        damaged.extend(listing.damaged);
        let (owners, unread_owners) = Owners::open(dir.join(OWNERS))?;
        damaged.extend(unread_owners);
        let mut report = OpenReport {
            generations: tally.generations + survey.believed(),
            intents: listing.intents.len() as u64,
            bytes: book.bytes(),
            rebuilt,
            reindexed: tally.read,
            damaged,
            removed_temporaries: swept + tally.removed_temporaries,
        };
        let store = Self {
            dir: dir.to_owned(),
            files,
            intents,
            blobs,
            bindings: Bindings::in_dir(dir.join(IDEMPOTENCY)),
            outbox,
            owners,
            index,
            book,
            usage: Usage::default(),
            warm: Warm::new(),
            survey,
            found,
            writing: Writing::new(),
            lock,
        };
        if store.survey.believed() <= few {
            report.generations = tally.generations;
            store.look_at_the_rest(&mut report)?;
        }
        Ok((store, report))
    }

    fn look_at_the_rest(&self, report: &mut OpenReport) -> Result<(), StoreError> {
        match self.survey_rest(&|| false) {
            Ok(_) => {}
            // It is told of, and looked for again by whoever keeps the bounds.
            Err(error) if error.is_of_one_file() => {
                let unread = path_of(&error);
                let news = unread.filter(|path| !report.damaged.contains(path));
                report.damaged.extend(news);
            }
            Err(error) => return Err(error),
        }
        let rest = self.found.take();
        report.generations += rest.generations;
        report.bytes = self.book.bytes();
        report.reindexed += rest.read;
        report.removed_temporaries += rest.removed_temporaries;
        report.damaged.extend(rest.damaged);
        Ok(())
    }
}

/// The file that could not be read.
fn path_of(error: &StoreError) -> Option<PathBuf> {
    match error {
        StoreError::Io { path, .. } => Some(path.clone()),
        _ => None,
    }
}

/// Makes `dir` ours, unless it belongs to somebody or to something else.
fn take(dir: &Path, clock: &Clock) -> Result<DirLock, StoreError> {
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
    Ok(lock)
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
