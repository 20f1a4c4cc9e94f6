//! What has been looked at since start, folder by folder, so that a start need not wait for all.
//!
//! A start goes through the folders into which something has come, or from which something has gone,
//! since their rows were last known to be true ([`FolderMark`]); those of the others are believed.
//! So everything that decides about money (what runs, what is held for it, which job is whose) is
//! known before anybody is served, and a `get` reads the file itself in any case. The rest is gone
//! through in the background: a file that was changed by other hands, and which blobs are needed.
//! Until that has ended nothing is evicted and no blob is removed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::StoreError;
use super::book::Book;
use super::disk::DiskStore;
use super::folder::{FolderMark, FolderStamp};
use super::generations::Generations;
use super::reconcile::{self, ReconcileError, Source, Tally};
use super::rows::{IndexError, Rows};
use super::watch::{Indexing, Watch};
use crate::generation::Fingerprint;

/// What looks at what is kept came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Kept generations that were looked at.
    pub generations: u64,
    /// Of them those whose row in the index was missing or out of date, and was made again.
    pub reindexed: u64,
    /// Whether something is still to be done ([`Store::open_work`](super::Store::open_work)) of
    /// which the index had not known.
    pub found_open: bool,
    /// Files that cannot be read as what was written. They were left where they are.
    pub damaged: Vec<PathBuf>,
}

impl From<Tally> for Surveyed {
    fn from(tally: Tally) -> Self {
        Self {
            generations: tally.generations,
            reindexed: tally.read,
            found_open: tally.found_open,
            damaged: tally.damaged,
        }
    }
}

/// What is known of one of the 256 folders.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its rows and the book are true to its files.
    surveyed: bool,
    /// It has files that cannot be read: each start is to say so.
    damaged: bool,
    /// What its rows were last marked with, and in which of the indexes opened since start.
    marked: Option<(FolderStamp, u64)>,
}

impl Known {
    /// The sizes of a file of it before and after a change, as far as the book has counted them: the
    /// files of a folder that could not be looked at are counted when it is.
    pub(super) fn counted(&self, sizes: (u64, u64)) -> (u64, u64) {
        if self.surveyed { sizes } else { (0, 0) }
    }
}

/// The folders. Whoever changes a file of one reads what is known of it meanwhile, and is kept out
/// while somebody makes that true.
pub(super) struct Survey {
    folders: Vec<RwLock<Known>>,
    /// How many generations are in the folders that were believed at start.
    believed: AtomicU64,
    /// Whether the times of folders move with what comes and goes, once that was tried.
    pub(super) times_move: OnceLock<bool>,
}

impl Survey {
    pub(super) fn new() -> Self {
        Self {
            folders: (0..=u8::MAX).map(|_| RwLock::default()).collect(),
            believed: AtomicU64::new(0),
            times_move: OnceLock::new(),
        }
    }

    /// How many generations are in the folders that were believed at start.
    pub(super) fn believed(&self) -> u64 {
        self.believed.load(Ordering::Relaxed)
    }

    /// Fills `rows` as far as a start waits for it. May be called again with other rows.
    pub(super) fn begin(
        &self,
        rows: &Rows,
        (files, book): (&Generations, &Book),
        tell: &(dyn Fn(Indexing) + Sync),
    ) -> Result<Tally, ReconcileError> {
        book.clear();
        let (doubtful, believed_bytes) = self.doubtful(rows, files)?;
        let watch = Watch::new(doubtful.len(), tell);
        let source = Source {
            files,
            book: Some(book),
            watch: Some(&watch),
        };
        let tally = reconcile::each_folder(&doubtful, &|shard| {
            self.one((shard, source), &|| reconcile::folder(rows, source, shard))
        })?;
        rows.mark()?;
        book.last_known(believed_bytes.saturating_add(tally.bytes));
        Ok(tally)
    }

    /// The folders that a start has to look at; beside them what is kept in the others and in blobs,
    /// in bytes.
    fn doubtful(&self, rows: &Rows, files: &Generations) -> Result<(Vec<u8>, u64), ReconcileError> {
        let open = open_rows(rows)?;
        let (mut doubtful, mut believed, mut bytes) = (Vec::new(), 0, rows.blob_bytes()?);
        for shard in 0..=u8::MAX {
            let stamp = files.folder_stamp(shard)?;
            let open = open.get(&shard).copied().unwrap_or(0);
            let mark = rows.folder(shard)?;
            let mark = mark.filter(|mark| Some(mark.stamp) == stamp && mark.open == open);
            *self.write(shard) = Known {
                marked: stamp.filter(|_| mark.is_some()).map(|stamp| (stamp, 0)),
                ..Known::default()
            };
            match mark {
                Some(mark) => {
                    believed += mark.generations;
                    bytes += mark.bytes;
                }
                None => doubtful.push(shard),
            }
        }
        self.believed.store(believed, Ordering::Relaxed);
        Ok((doubtful, bytes))
    }

    /// The same as [`begin`](Self::begin) without an index: every file is read.
    pub(super) fn begin_anew(&self, files: &Generations, book: &Book) -> Result<Tally, StoreError> {
        book.clear();
        for shard in 0..=u8::MAX {
            *self.write(shard) = Known::default();
        }
        self.believed.store(0, Ordering::Relaxed);
        let source = Source {
            files,
            book: Some(book),
            watch: None,
        };
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let counted = reconcile::each_folder(&all, &|shard| {
            self.one((shard, source), &|| Ok(reconcile::count(source, shard)?))
        });
        counted.map_err(|error| match error {
            ReconcileError::Files(error) => error,
            ReconcileError::Index(IndexError::Panicked(why)) => StoreError::Panicked(why),
            ReconcileError::Index(error) => StoreError::Panicked(error.to_string()),
        })
    }

    /// Goes through one folder, with nobody else in it.
    fn one<E: From<StoreError>>(
        &self,
        (shard, source): (u8, Source<'_>),
        look: &dyn Fn() -> Result<Tally, E>,
    ) -> Result<Tally, E> {
        let mut known = self.write(shard);
        if known.surveyed {
            return Ok(Tally::default());
        }
        let removed_temporaries = source.files.sweep_folder(shard)?;
        let mut tally = look()?;
        tally.removed_temporaries += removed_temporaries;
        known.damaged = !tally.damaged.is_empty();
        // MONEY: nobody knows what a file needs that could not be read. It is looked at again.
        known.surveyed = tally.unread.is_empty();
        if let Some(book) = source.book.filter(|_| known.surveyed) {
            book.load_files(tally.bytes);
        }
        Ok(tally)
    }

    fn read(&self, shard: u8) -> RwLockReadGuard<'_, Known> {
        let folder = &self.folders[usize::from(shard)];
        folder.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: u8) -> RwLockWriteGuard<'_, Known> {
        let folder = &self.folders[usize::from(shard)];
        folder.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With how many generations of each folder something is still to be done, by rows that say so and
/// jobs that are found. MONEY: sled may lose rows without a word; a folder that lacks one of these is
/// looked at before anybody is served.
fn open_rows(rows: &Rows) -> Result<BTreeMap<u8, u64>, IndexError> {
    let mut folders = BTreeMap::new();
    for key in rows.open_keys()? {
        let Some(row) = rows.get(&key)?.filter(|row| row.open) else {
            continue;
        };
        let found = match &row.task {
            Some(task) => rows.find_task(task)?.is_some(),
            None => true,
        };
        let [shard, ..] = *key.as_bytes();
        *folders.entry(shard).or_insert(0) += u64::from(found);
    }
    Ok(folders)
}

impl DiskStore {
    /// Keeps everybody from going through the folder of `key` as long as a file of it changes; first it
    /// is gone through itself, so that the book knows what the file needed before.
    pub(super) fn enter(&self, key: &Fingerprint) -> RwLockReadGuard<'_, Known> {
        let [shard, ..] = *key.as_bytes();
        if let Err(error) = self.look_first(key) {
            // MONEY: what was paid for is kept nonetheless. Nothing is evicted before it is known.
            tracing::warn!(%error, "a folder of what is kept cannot be looked at yet");
        }
        self.survey.read(shard)
    }

    /// Goes through the folder of `key`, unless that was done: then what the index says of it is true.
    ///
    /// # Errors
    /// When it cannot be. Single files that cannot be read are in doubt, and no error here.
    pub(super) fn look_first(&self, key: &Fingerprint) -> Result<(), StoreError> {
        let [shard, ..] = *key.as_bytes();
        if self.survey.read(shard).surveyed {
            return Ok(());
        }
        match self.survey_folder(shard) {
            Err(error) if error.is_of_one_file() => Ok(()),
            other => other,
        }
    }

    /// Goes through every folder that has not been gone through since start, and through the blobs,
    /// until `is_over`; says whether it came to its end.
    pub(super) fn survey_rest(&self, is_over: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        if self.book.is_complete() {
            return Ok(true);
        }
        let mut unread = None;
        for shard in 0..=u8::MAX {
            if is_over() {
                return Ok(false);
            }
            match self.survey_folder(shard) {
                Ok(()) => {}
                // What is in the others has to be known all the same.
                Err(error) if error.is_of_one_file() => unread = unread.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = unread {
            return Err(error);
        }
        self.blobs.each(&mut |hash, len| {
            self.book.load_blob(hash, len);
            Ok(())
        })?;
        self.book.complete();
        Ok(true)
    }

    /// Goes through one folder, unless that was done.
    ///
    /// # Errors
    /// When it cannot be listed, or a file of it not be read.
    fn survey_folder(&self, shard: u8) -> Result<(), StoreError> {
        let source = Source {
            files: &self.files,
            book: Some(&self.book),
            watch: None,
        };
        let look = || self.index.folder(shard, &self.book);
        let mut tally = self.survey.one((shard, source), &look)?;
        if tally.unread.is_empty() {
            self.found.note(tally);
            return Ok(());
        }
        let first = tally.unread.swap_remove(0);
        self.found.note_again(&tally);
        Err(first)
    }

    /// Notes of every folder whose last change lies so far back that its rows are true, so that the
    /// next start believes them.
    pub(super) fn mark_folders(&self, resting: Duration) {
        if !self.book.is_complete() {
            return;
        }
        let opened = self.index.opened();
        let marks: Vec<_> = (0..=u8::MAX)
            .filter_map(|shard| Some((shard, self.mark_of(shard, (resting, opened))?)))
            .collect();
        if marks.is_empty() || !self.times_move() {
            return;
        }
        let blob_bytes = self.book.blob_bytes();
        if self.index.mark_folders(&marks, blob_bytes).is_ok() {
            for (shard, mark) in marks {
                self.survey.write(shard).marked = Some((mark.stamp, opened));
            }
        }
    }

    /// MONEY: on a file system that does not tell that a folder has changed, none is ever believed.
    fn times_move(&self) -> bool {
        if let Some(moves) = self.survey.times_move.get() {
            return *moves;
        }
        match self.files.times_move() {
            Ok(moves) => {
                if !moves {
                    tracing::warn!(
                        "the file system does not note when a folder changes: each start looks at everything"
                    );
                }
                *self.survey.times_move.get_or_init(|| moves)
            }
            Err(error) => {
                tracing::debug!(%error, "nobody knows whether folders tell of their changes");
                false
            }
        }
    }

    /// What a folder is to be marked with; `None` when it is marked so already, or may not be.
    fn mark_of(&self, shard: u8, (resting, opened): (Duration, u64)) -> Option<FolderMark> {
        let now = jiff::Timestamp::now();
        let due = |known: &Known| {
            let stamp = self.files.folder_stamp(shard).ok().flatten()?;
            let due = known.surveyed && !known.damaged && known.marked != Some((stamp, opened));
            (due && stamp.rests(now, resting)).then_some(stamp)
        };
        due(&self.survey.read(shard))?;
        // With nobody in it: a file without its row would be believed to have one.
        let known = self.survey.write(shard);
        let stamp = due(&known)?;
        let (rows, _) = self.index.rows(shard).ok()?;
        let mut names = self.files.names(shard).ok()?;
        let (mut open, mut bytes) = (0, 0);
        for (key, row) in &rows {
            let row = row.as_ref()?;
            let inode = names.remove(key)?;
            // Some file systems list other numbers than they tell of the files themselves.
            if inode != row.stamp.inode && self.files.stamp(key)? != row.stamp {
                return None;
            }
            open += u64::from(row.open);
            bytes += row.stamp.len;
        }
        // MONEY: other hands may have put something there, or taken it, of which no row tells.
        names.is_empty().then_some(FolderMark {
            stamp,
            generations: rows.len() as u64,
            open,
            bytes,
        })
    }
}
