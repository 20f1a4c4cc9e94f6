//! Where the configuration file is, and where data is kept unless somebody says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Sources;
use super::environment::CONFIG;
use super::problem::{Place, Problem};

/// The most that is read of a configuration file, in bytes: a thousand clients are a tenth of it.
pub(super) const MOST: u64 = 1 << 20;

/// The file of the current folder.
const HERE: &str = "proxy.toml";

/// A configuration file that was found.
pub(super) struct Found {
    /// Its name as problems print it.
    pub(super) name: String,
    /// Its path, absolute.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// The configuration file: the one that was named (it must be there), else the first that there
/// is, else none.
pub(super) fn config_file(sources: &Sources) -> Result<Option<Found>, Problem> {
    if let Some((path, place)) = named(sources) {
        return read(&sources.cwd, &path, |name, error| {
            Problem::at(&place, format!("cannot read {name}: {error}"))
        })
        .map(Some);
    }
    if let Some(path) = first_there(sources) {
        return read(&sources.cwd, &path, |name, error| {
            Problem::about(name, format!("cannot be read: {error}"))
        })
        .map(Some);
    }
    Ok(None)
}

/// As [`config_file`], where it was read before: only a regular file is opened once more.
pub(super) fn config_file_again(sources: &Sources) -> Result<Option<Found>, Problem> {
    let named = named(sources).map(|(path, _)| path);
    match named.or_else(|| first_there(sources)) {
        Some(path) if is_stream(&sources.cwd.join(&path)) => Err(Problem::about(
            &path.display().to_string(),
            "is no regular file any more",
        )),
        Some(_) | None => config_file(sources),
    }
}

/// Whether it is a pipe, say: opened once more it makes us wait for whoever writes, or is empty.
pub(super) fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

/// The file that a command changes: the one that is read, else where one is to be made.
pub(super) fn to_edit(sources: &Sources) -> PathBuf {
    let path = named(sources).map(|(path, _)| path);
    path.or_else(|| first_there(sources))
        // Not in the current folder: it would be another one at the next start.
        .or_else(|| usual(sources))
        .unwrap_or_else(|| PathBuf::from(HERE))
}

/// The file that a flag or a variable names, there or not.
fn named(sources: &Sources) -> Option<(PathBuf, Place)> {
    let by_flag = sources
        .flag_config
        .clone()
        .map(|path| (path, Place::Flag("--config")));
    let by_variable = said(&sources.env, CONFIG)
        .map(|path| (PathBuf::from(path), Place::Variable(CONFIG.to_owned())));
    by_flag.or(by_variable)
}

/// The first file that is there of those that nobody has to name.
fn first_there(sources: &Sources) -> Option<PathBuf> {
    // What cannot be looked at is no reason to go on with the defaults: it may hold the limits.
    [Some(PathBuf::from(HERE)), usual(sources)]
        .into_iter()
        .flatten()
        .find(|path| sources.cwd.join(path).try_exists().unwrap_or(true))
}

/// `$XDG_CONFIG_HOME/reprise/proxy.toml`, or the same below `~/.config`.
fn usual(sources: &Sources) -> Option<PathBuf> {
    let home = folder(&sources.env, "XDG_CONFIG_HOME", ".config")?;
    Some(home.join("reprise/proxy.toml"))
}

/// `$XDG_DATA_HOME/reprise`, or `~/.local/share/reprise`.
pub(super) fn data_dir(env: &BTreeMap<String, String>, cwd: &Path) -> Option<PathBuf> {
    Some(
        cwd.join(folder(env, "XDG_DATA_HOME", ".local/share")?)
            .join("reprise"),
    )
}

/// The folder that `variable` names, or `usual` in the home folder. A relative path in such a
/// variable counts as none (XDG Base Directory Specification).
fn folder(env: &BTreeMap<String, String>, variable: &str, usual: &str) -> Option<PathBuf> {
    let named = said(env, variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    named.or_else(|| Some(Path::new(said(env, "HOME")?).join(usual)))
}

/// A variable's value, unless it is empty.
fn said<'a>(env: &'a BTreeMap<String, String>, variable: &str) -> Option<&'a str> {
    env.get(variable)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// Reads the file at `path`; `unreadable` words what happens if it cannot be.
fn read(
    cwd: &Path,
    path: &Path,
    unreadable: impl FnOnce(&str, io::Error) -> Problem,
) -> Result<Found, Problem> {
    let name = path.display().to_string();
    let absolute = cwd.join(path);
    let bytes = match bytes(&absolute) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            return Err(Problem::about(
                &name,
                "is larger than 1 MiB: no proxy.toml is",
            ));
        }
        Err(error) => return Err(unreadable(&name, error)),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Found {
            name,
            path: absolute,
            text,
        }),
        Err(error) => {
            let sound = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let sound = String::from_utf8_lossy(sound.unwrap_or_default());
            let column = sound
                .rsplit('\n')
                .next()
                .map_or(0, |line| line.chars().count())
                + 1;
            let place = Place::File {
                path: name,
                line: sound.split('\n').count(),
                column,
            };
            Err(Problem::at(&place, "is not UTF-8"))
        }
    }
}

/// The bytes of a file, or `None` if they are too many.
pub(super) fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok((u64::try_from(read).unwrap_or(u64::MAX) <= MOST).then_some(bytes))
}
