//! What the user asked for: read once, checked whole, handed down as plain values.
//!
//! ```text
//!   proxy.toml   environment   flags        what was written, each value with its place
//!        └────────────┼──────────┘
//!              Settings, by key             file, environment: every key is one of `keys`
//!                     │
//!              Reader + rules               every broken rule is collected
//!                     │
//!                  Config                   units in types, defaults filled in
//!                     │
//!              start + secrets              what nobody may serve with: found with the rest
//! ```
//!
//! A flag goes before the environment, that before the file, that before the default. Two types
//! hold a configuration: `Settings` is what the user wrote, [`Config`] is what the program needs,
//! and the only way from one to the other collects every problem there is. `proxy.toml` at the root
//! of the repository is the default in words; a test holds it to the code.

mod address;
mod admin_token;
mod again;
mod cache;
mod callback_secret;
mod changes;
mod client_key;
pub mod edit;
mod environment;
mod file;
mod keys;
mod live;
mod locate;
mod network;
mod problem;
mod proxies;
mod reader;
mod reading;
mod resolve;
mod resolved;
mod rules;
mod settings;
mod start;
#[cfg(test)]
mod tests;
mod upstream_key;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{SecretSlice, SecretString};

pub use address::BaseUrl;
pub use admin_token::admin_token;
pub use again::{Running, content, is_read_once, load_again, stamp};
pub use cache::{Cache, KindPolicy, Mode, Scope, Ttl, UnknownOutcome};
pub use callback_secret::callback_secret;
pub use client_key::{ClientKey, NoRandomness};
pub use live::Live;
pub use network::Network;
pub use problem::{Problem, Problems};
pub use proxies::{Detour, Proxies};
pub use resolved::{
    Callbacks, Client, Config, Console, Deliver, Jobs, Limits, Links, Log, LogFormat, Media,
    OwnLimits, Price, Server, Tls, Upstream,
};

use reading::Reading;
use settings::Value;

/// Where a configuration comes from: the flags, the environment, and the folder they are relative
/// to. All of it is handed in, so that a test can make its own.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config`: a file that must be there.
    pub flag_config: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--upstream`.
    pub upstream: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// A snapshot of the environment.
    pub env: BTreeMap<String, String>,
    /// The current folder.
    pub cwd: PathBuf,
}

impl Sources {
    /// No flags, and this process's environment and current folder. What is not UTF-8 in a
    /// variable becomes U+FFFD, which no rule takes.
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            env: std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            cwd: std::env::current_dir().unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// SECURITY: the environment holds the upstream key, so it is left out.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("flag_config", &self.flag_config)
            .field("listen", &self.listen)
            .field("data_dir", &self.data_dir)
            .field("log_format", &self.log_format)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

/// A configuration, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file it was read from, as an absolute path; `None`: there is none.
    pub file: Option<PathBuf>,
    /// Whether that file holds nothing but white space and comments.
    pub says_nothing: bool,
    /// Whether it holds at most who the clients are: without them nobody is let in, so emptying it
    /// allows nothing.
    pub says_only_clients: bool,
}

/// Reads the configuration from flags, environment, file and defaults.
///
/// Reads files, so it blocks.
///
/// # Errors
/// Everything that is wrong with any of them, at once.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let Reading {
        loaded, problems, ..
    } = Reading::of(sources);
    Problems::none_or(problems, loaded)
}

/// All that it takes to serve: a configuration that is safe to start with, and its secrets.
#[derive(Debug)]
pub struct Ready {
    /// The configuration.
    pub loaded: Loaded,
    /// The key that pays.
    pub upstream_key: SecretString,
    /// The token of the admin API, if a variable holds it; else it is the one in `data_dir`.
    pub admin_token: Option<SecretString>,
    /// What callbacks are signed with; `None`: they are not.
    pub callback_secret: Option<SecretSlice<u8>>,
}

/// Reads what [`load`] reads, the secrets, and whatever else would keep the proxy from serving.
///
/// Reads files, so it blocks; opens no socket and writes nothing.
///
/// # Errors
/// Everything that is wrong with any of it, at once: what [`load`] would say is no reason to keep
/// the rest for the next try.
pub fn load_to_serve(sources: &Sources) -> Result<Ready, Problems> {
    ready(Reading::of(sources), sources, None)
}

/// What was read, if there is nothing wrong with it and its secrets; `running`: what is to go by it
/// runs already.
fn ready(
    reading: Reading,
    sources: &Sources,
    running: Option<&Running>,
) -> Result<Ready, Problems> {
    let config = &reading.loaded.config;
    let upstream_key = upstream_key::upstream_key(config, &sources.env);
    let admin_token = admin_token(config, &sources.env);
    let callback_secret = callback_secret(config, &sources.env);

    let mut found = start::problems(&reading, running);
    if upstream_key::is_certain(&reading) {
        found.extend(upstream_key.as_ref().err().cloned());
    }
    found.extend(admin_token.as_ref().err().cloned());
    found.extend(callback_secret.as_ref().err().cloned());
    let found = found.into_iter().map(|problem| reading.placed(problem));
    let problems = reading.problems.iter().cloned().chain(found).collect();
    Problems::none_or(problems, ())?;
    Ok(Ready {
        upstream_key: upstream_key?,
        admin_token: admin_token?,
        callback_secret: callback_secret?,
        loaded: reading.loaded,
    })
}

/// Reads a duration as `proxy.toml` writes one: `300ms`, `30s`, `12h`.
///
/// # Errors
/// The rule that was broken, as words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    rules::duration(&Value::Plain(text.to_owned()))
}

/// Whether a client may be called `name`.
///
/// # Errors
/// The rule that it breaks, as words.
pub fn client_name(name: &str) -> Result<(), String> {
    rules::client_name(name)
}

/// What a start with this configuration would be refused for, because of who could reach it; `None`
/// when nothing speaks against it.
pub fn open_to_others(config: &Config) -> Option<Problem> {
    start::open_to_others(config)
}
