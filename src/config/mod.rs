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
//! ```
//!
//! A flag goes before the environment, that before the file, that before the default. Two types
//! hold a configuration: `Settings` is what the user wrote, [`Config`] is what the program needs,
//! and the only way from one to the other collects every problem there is. `proxy.toml` at the root
//! of the repository is the default in words; a test holds it to the code.
//!
//! A key whose feature is not built yet is never passed over in silence: it is told
//! ([`Loaded::not_yet`]), or, where going on would cost money or safety, refused.

mod address;
mod admin_token;
mod cache;
mod environment;
mod file;
mod keys;
mod locate;
mod network;
mod problem;
mod reader;
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
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use address::BaseUrl;
pub use admin_token::admin_token;
pub use cache::{Cache, KindPolicy, Mode, Scope, Ttl, UnknownOutcome};
pub use network::Network;
pub use problem::{Problem, Problems};
pub use resolved::{
    Callbacks, Client, Config, Console, Deliver, Jobs, Limits, Links, Log, LogFormat, Media,
    OwnLimits, Price, Server, Tls, Upstream,
};
pub use start::problems_at_start;
pub use upstream_key::upstream_key;

use problem::Place;
use reader::Reader;
use settings::{Setting, Settings, Value};

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
    /// Keys that are set to something this version does not do yet, each with what it would do:
    /// `media.archive (keeps the bytes behind result links)`. To be told at start.
    pub not_yet: Vec<String>,
}

/// Reads the configuration from flags, environment, file and defaults.
///
/// Reads files, so it blocks.
///
/// # Errors
/// Everything that is wrong with any of them, at once.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut settings = Settings::default();
    let found = locate::config_file(sources).unwrap_or_else(|problem| {
        settings.problems.push(problem);
        None
    });
    if let Some(found) = &found {
        file::read(&found.text, &found.name, &mut settings);
    }
    environment::read(&sources.env, &mut settings);
    flags(sources, &mut settings);

    let folder = found
        .as_ref()
        .and_then(|found| found.path.parent())
        .unwrap_or(Path::new(""));
    let mut reader = Reader::of(&settings, folder, &sources.cwd);
    let config = resolve::resolve(&mut reader, locate::data_dir(&sources.env, &sources.cwd));
    let Reader {
        problems, not_yet, ..
    } = reader;

    let strangers = strangers(&settings, &config);
    let problems = [settings.problems, problems, strangers].concat();
    Problems::none_or(
        problems,
        Loaded {
            config,
            file: found.map(|found| found.path),
            not_yet,
        },
    )
}

/// Reads a duration as `proxy.toml` writes one: `300ms`, `30s`, `12h`.
///
/// # Errors
/// The rule that was broken, as words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    rules::duration(&Value::Plain(text.to_owned()))
}

/// Takes in the flags, which go before everything else.
fn flags(sources: &Sources, settings: &mut Settings) {
    let plain = |text: &Option<String>| text.clone().map(Value::Plain);
    let given = [
        ("listen", "--listen", plain(&sources.listen)),
        ("upstream.base_url", "--upstream", plain(&sources.upstream)),
        (
            "data_dir",
            "--data-dir",
            sources.data_dir.clone().map(Value::Path),
        ),
        ("log.format", "--log-format", plain(&sources.log_format)),
    ];
    for (path, flag, value) in given {
        if let (Some(key), Some(value)) = (keys::find(path), value) {
            settings.put(
                key,
                "",
                Setting {
                    value,
                    place: Place::Flag(flag),
                },
            );
        }
    }
}

/// The variables of ours that set nothing, but for those that hold a secret some key asks for.
fn strangers(settings: &Settings, config: &Config) -> Vec<Problem> {
    let asked = [
        Some(&config.upstream.api_key_env),
        config.callbacks.secret_env.as_ref(),
        config.console.token_env.as_ref(),
    ];
    let strangers = settings.strangers.iter();
    strangers
        .filter(|(name, _)| !asked.contains(&Some(name)))
        .map(|(_, problem)| problem.clone())
        .collect()
}
