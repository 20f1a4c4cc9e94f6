//! The configuration read again, for a proxy that runs by an earlier one.

use std::path::{Path, PathBuf};

use blake3::Hash;

use super::problem::{Problem, Problems};
use super::reading::Reading;
use super::{Config, Ready, Sources, locate, ready};

/// What the proxy that runs goes by.
#[derive(Clone, Debug)]
pub struct Running {
    /// The file that its configuration was read from, if there was one.
    pub file: Option<PathBuf>,
    /// Whether it asks for client keys. Then it may be left without any: it lets nobody in.
    pub asks_for_keys: bool,
}

/// Reads what [`load_to_serve`](super::load_to_serve()) reads, from the same sources, by the same
/// rules but for two: where client keys were asked for, the last one may be taken out; and a file
/// that was read before must not be gone, since what it forbade would be allowed.
///
/// Reads files, so it blocks.
///
/// # Errors
/// Everything that is wrong with any of it, at once.
pub fn load_again(sources: &Sources, running: &Running) -> Result<Ready, Problems> {
    let mut reading = Reading::of(sources);
    if let Some(file) = &running.file
        && reading.problems.is_empty()
        && reading.loaded.file.as_ref() != Some(file)
        && !file.exists()
    {
        let rule = "is gone; restart to run without it";
        let problem = Problem::about(&file.display().to_string(), rule);
        reading.problems.push(problem);
    }
    ready(reading, sources, running.asks_for_keys)
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
    match locate::config_file(sources) {
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

/// The hash of a file's first megabyte; that of nothing for one that cannot be read.
pub fn content(file: Option<&Path>) -> Hash {
    let bytes = file.and_then(|file| locate::bytes(file).ok().flatten());
    blake3::hash(&bytes.unwrap_or_default())
}
