//! The configuration read again, for a proxy that runs by an earlier one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use blake3::Hash;

use super::problem::{Problem, Problems};
use super::reading::Reading;
use super::{Config, Ready, Sources, locate, ready};

/// What the proxy that runs goes by.
#[derive(Clone, Debug)]
pub struct Running {
    /// The file that its configuration was read from, if there was one that said anything.
    pub file: Option<PathBuf>,
    /// Whether that file said only who the clients are: emptied, it lets nobody in.
    pub only_clients: bool,
    /// Whether it asks for client keys. Then it may be left without any: it lets nobody in.
    pub asks_for_keys: bool,
    /// Where it listens, until it ends.
    pub listen: SocketAddr,
}

/// Reads what [`load_to_serve`](super::load_to_serve()) reads, from the same sources, by the same
/// rules but for these: where client keys were asked for, the last one may be taken out; upstream
/// is not where the proxy listens now; and a file that said something before must not be gone or
/// empty, since what it forbade would be allowed. No pipe is opened.
///
/// Reads files, so it blocks.
///
/// # Errors
/// Everything that is wrong with any of it, at once.
pub fn load_again(sources: &Sources, running: &Running) -> Result<Ready, Problems> {
    let was_there = running.file.as_ref().is_some_and(|file| file.exists());
    let mut reading = Reading::with(sources, locate::config_file_again(sources));
    if let Some(file) = &running.file
        && reading.problems.is_empty()
    {
        let lost = match &reading.loaded.file {
            None => Some((file, "is gone; restart to run without it")),
            Some(found) if reading.loaded.says_nothing && !running.only_clients => {
                Some((found, "is empty; restart to run without it"))
            }
            // Asked twice, since it may go and come while we read.
            Some(found) if found != file && !(was_there && file.exists()) => {
                Some((file, "is gone; restart to run without it"))
            }
            Some(_) => None,
        };
        let lost = lost.map(|(file, rule)| Problem::about(&file.display().to_string(), rule));
        reading.problems.extend(lost);
    }
    ready(reading, sources, Some(running))
}

/// Whether what was read from `file` can be read only once: it came through a pipe, say.
///
/// Looks at a file, so it blocks.
pub fn is_read_once(file: &Path) -> bool {
    locate::is_stream(file)
}

/// Whether anything may have changed of what a configuration is read from: equal when not. Beside
/// `proxy.toml`, wherever it is, those are the files of the key and the roots that `config` names.
///
/// Reads files, so it blocks.
pub fn stamp(sources: &Sources, config: &Config) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    match locate::config_file_again(sources) {
        Ok(Some(found)) => {
            add(found.path.as_os_str().as_encoded_bytes());
            add(found.text.as_bytes());
        }
        Ok(None) => add(b"none"),
        Err(problem) => add(problem.to_string().as_bytes()),
    }
    let upstream = &config.upstream;
    for file in [&upstream.api_key_file, &upstream.ca_file] {
        add(content(file.as_deref()).as_bytes());
    }
    hasher.finalize()
}

/// The hash of a file's first megabyte; that of nothing for one that cannot be read, or is a pipe.
pub fn content(file: Option<&Path>) -> Hash {
    let file = file.filter(|file| !locate::is_stream(file));
    let bytes = file.and_then(|file| locate::bytes(file).ok().flatten());
    blake3::hash(&bytes.unwrap_or_default())
}
