//! Where the configuration file is, and where data is kept unless somebody says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Sources;
use super::environment::CONFIG;
use super::problem::{Place, Problem};

/// The most that is read of a configuration file, in bytes: a thousand clients are a tenth of it.
const MOST: u64 = 1 << 20;

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
    if let Some(named) = &sources.flag_config {
        let place = Place::Flag("--config");
        return Ok(Some(
            read(&sources.cwd, named).map_err(|rule| Problem::at(&place, rule))?,
        ));
    }
    if let Some(named) = said(&sources.env, CONFIG) {
        let place = Place::Variable(CONFIG.to_owned());
        let found = read(&sources.cwd, Path::new(named));
        return Ok(Some(found.map_err(|rule| Problem::at(&place, rule))?));
    }
    let home = folder(&sources.env, "XDG_CONFIG_HOME", ".config");
    let usual = home.map(|home| home.join("reprise/proxy.toml"));
    for path in [Some(PathBuf::from("proxy.toml")), usual]
        .into_iter()
        .flatten()
    {
        // What cannot be looked at is no reason to go on with the defaults: it may hold the limits.
        if sources.cwd.join(&path).try_exists().unwrap_or(true) {
            let place = Place::Key(path.display().to_string());
            let found = read(&sources.cwd, &path);
            return Ok(Some(found.map_err(|rule| Problem::at(&place, rule))?));
        }
    }
    Ok(None)
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

fn read(cwd: &Path, path: &Path) -> Result<Found, String> {
    let name = path.display().to_string();
    let absolute = cwd.join(path);
    let text = text(&absolute).map_err(|error| format!("cannot read {name}: {error}"))?;
    let text =
        text.ok_or_else(|| format!("{name} is larger than 1 MiB, which no proxy.toml is"))?;
    let text = String::from_utf8(text).map_err(|error| {
        let sound = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let line = sound.split(|byte| *byte == b'\n').count();
        format!("{name}:{line} is not UTF-8")
    })?;
    Ok(Found {
        name,
        path: absolute,
        text,
    })
}

/// The bytes of a file, or `None` if they are too many.
fn text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok((u64::try_from(read).unwrap_or(u64::MAX) <= MOST).then_some(bytes))
}
