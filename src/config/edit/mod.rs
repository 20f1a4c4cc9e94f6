//! Changing `proxy.toml` from a command: what was not asked for stays as it is, byte for byte.
//!
//! ```text
//!   locate ─► lock the folder ─► read, and check it whole
//!                                      │
//!                 Draft::set, remove…  a splice of the text each, and its meaning checked ([`Draft`])
//!                                      │
//!   check what is to be written ─► is the file still the one that was read? ─► write aside, rename
//! ```
//!
//! A document that is parsed and written again loses its CR LF and the order of its dotted keys. So
//! `toml_edit` only says where everything stands, and the text is cut and filled in there.

mod draft;
mod leftovers;
mod lines;
mod place;
mod section;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use draft::{Draft, Uneditable};

use super::locate::Found;
use super::problem::Problems;
use super::reading::Reading;
use super::{Loaded, Sources};
use place::Target;

/// Why a file was not changed. It is as it was, whatever the reason.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file, or what it would become, breaks rules: all of them.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// It is written in a way that no program should change.
    #[error(transparent)]
    Uneditable(#[from] Uneditable),
    /// The system did not let us, or somebody else was at it.
    #[error("cannot {verb} {path}: {reason}", path = .path.display())]
    Unwritten {
        /// What was to be done.
        verb: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// Why it was not.
        reason: String,
    },
}

impl EditError {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Unwritten {
            verb,
            path,
            reason: error.to_string(),
        }
    }
}

/// What came of an edit.
#[derive(Debug)]
pub struct Edited<T> {
    /// What the change gave back.
    pub value: T,
    /// The file, as an absolute path.
    pub path: PathBuf,
    /// Whether there was none before.
    pub created: bool,
    /// Whether anything was written.
    pub changed: bool,
    /// The configuration as it is now, the environment included.
    pub loaded: Loaded,
}

/// Changes the configuration file: the one that `--config`, `REPRISE_CONFIG` or the search finds, else
/// a new one (the named one; else `$XDG_CONFIG_HOME/reprise/proxy.toml`, which is found from every
/// folder; with no home folder `./proxy.toml`).
///
/// `change` sees the configuration as it was, and the text. Its refusal leaves the file alone, and so
/// does a text that came out as it went in. Blocks, for at most some seconds while another edit is
/// under way.
///
/// # Errors
/// What `change` says, and [`EditError`].
pub fn edit<T, E: From<EditError>>(
    sources: &Sources,
    change: impl FnOnce(&Loaded, &mut Draft) -> Result<T, E>,
) -> Result<Edited<T>, E> {
    let target = Target::of(sources)?;
    let lock = write::Lock::take(target.folder(), target.is_new())?;
    // Read under the lock: two edits at once are two edits one after the other.
    let before = target.read()?;
    let text = before.as_deref().unwrap_or_default();
    let loaded = checked(sources, &target, before.as_deref())?;
    let mut draft = Draft::of(text, &target.name).map_err(EditError::from)?;
    let value = change(&loaded, &mut draft)?;
    let changed = draft.text() != text;
    let loaded = if changed {
        let loaded = checked(sources, &target, Some(draft.text()))?;
        write::replace(&target, before.as_deref(), draft.text())?;
        loaded
    } else {
        loaded
    };
    drop(lock);
    Ok(Edited {
        value,
        path: target.shown,
        created: changed && before.is_none(),
        changed,
        loaded,
    })
}

/// The configuration that comes of `text` in place of the file.
fn checked(sources: &Sources, target: &Target, text: Option<&str>) -> Result<Loaded, EditError> {
    let found = text.map(|text| Found {
        name: target.name.clone(),
        path: target.shown.clone(),
        text: text.to_owned(),
    });
    let Reading {
        loaded, problems, ..
    } = Reading::with(sources, Ok(found));
    Ok(Problems::none_or(problems, loaded)?)
}
