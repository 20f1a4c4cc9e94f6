//! Opening the index, whatever state it is in.
//!
//! The ladder: open; open without sled's snapshots; move the whole index aside and make it anew
//! from the files. A full disk is no reason to move anything: then there is no index for a while.

use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::files;
use super::reconcile::{ReconcileError, Tally};
use super::rows::{IndexError, Rows};
use crate::clock::Clock;

/// What opening came to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) tally: Tally,
    /// Why the index was made anew, if it was.
    pub(super) rebuilt: Option<String>,
}

/// Makes rows true to the files, as far as whoever opens them wants to wait for it.
pub(super) type Fill<'a> = &'a dyn Fn(&Rows) -> Result<Tally, ReconcileError>;

/// Opens the index in `dir` and fills it.
pub(super) fn open_or_rebuild(
    dir: &Path,
    fill: Fill<'_>,
    clock: &Clock,
) -> Result<(Rows, Opened), ReconcileError> {
    let missing = !dir.exists() || (dir.is_dir() && files::read_dir(dir)?.next().is_none());
    let why = match open_existing(dir, fill, missing) {
        Ok((rows, tally)) => {
            let rebuilt = (missing && tally.generations > 0).then(|| "it was missing".to_owned());
            return Ok((rows, Opened { tally, rebuilt }));
        }
        Err(ReconcileError::Index(error)) if !error.is_out_of_space() => error.to_string(),
        Err(error) => return Err(error),
    };
    let aside = move_aside(dir, clock)?;
    tracing::warn!(why, aside = %aside.display(), "the index is moved aside and rebuilt");
    files::ensure_dir(dir)?;
    let rows = Rows::open(dir)?;
    let tally = fill(&rows)?;
    Ok((
        rows,
        Opened {
            tally,
            rebuilt: Some(why),
        },
    ))
}

fn open_existing(
    dir: &Path,
    fill: Fill<'_>,
    missing: bool,
) -> Result<(Rows, Tally), ReconcileError> {
    if !missing && !dir.is_dir() {
        return Err(IndexError::Disordered("a file stands in its place").into());
    }
    files::ensure_dir(dir)?;
    let rows = match Rows::open(dir) {
        Err(error) if error.may_be_a_snapshot() && set_snapshots_aside(dir)? > 0 => {
            tracing::warn!(%error, "the index did not open: trying without its snapshots");
            Rows::open(dir)?
        }
        other => other?,
    };
    let checked = match rows.is_marked() {
        Ok(true) => fill(&rows),
        Ok(false) if missing => fill(&rows),
        Ok(false) => Err(IndexError::Disordered("it was emptied, or is not ours").into()),
        Err(error) => Err(error.into()),
    };
    match checked {
        Ok(tally) => Ok((rows, tally)),
        Err(error) => {
            rows.close();
            Err(error)
        }
    }
}

/// Renames sled's `snap.*` files, from which a log can be read without them; says how many.
fn set_snapshots_aside(dir: &Path) -> Result<usize, StoreError> {
    let mut moved = 0;
    for entry in files::read_dir(dir)? {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            let aside = dir.join(format!("bad-{name}"));
            std::fs::rename(entry.path(), &aside)
                .map_err(StoreError::io("move aside", &entry.path()))?;
            moved += 1;
        }
    }
    Ok(moved)
}

/// Moves the whole index beside itself.
fn move_aside(dir: &Path, clock: &Clock) -> Result<PathBuf, StoreError> {
    let stamp = clock.now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    let mut aside = dir.with_extension(format!("bad-{stamp}"));
    let mut count = 1;
    while aside.exists() {
        count += 1;
        aside = dir.with_extension(format!("bad-{stamp}-{count}"));
    }
    std::fs::rename(dir, &aside).map_err(StoreError::io("move aside", dir))?;
    files::sync_folder_of(dir)?;
    Ok(aside)
}
