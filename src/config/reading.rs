//! Everything that was read, sound or not: the configuration, its places and its problems.

use std::collections::BTreeSet;
use std::path::Path;

use super::locate::Found;
use super::problem::{Place, Problem};
use super::proxies::Proxies;
use super::reader::Reader;
use super::resolved::Config;
use super::settings::{Setting, Settings, Value};
use super::{Loaded, Sources, environment, file, keys, locate, resolve};

/// What flags, environment and file said, and what came of it.
pub(super) struct Reading {
    /// The configuration. With problems it is a draft: a default stands for what is broken.
    pub(super) loaded: Loaded,
    /// What is wrong with it.
    pub(super) problems: Vec<Problem>,
    settings: Settings,
    /// The keys whose value is not the user's, because that one broke its rule.
    unsound: BTreeSet<&'static str>,
}

impl Reading {
    /// Reads all there is, and stops at no problem.
    pub(super) fn of(sources: &Sources) -> Self {
        Self::with(sources, locate::config_file(sources))
    }

    /// Reads all there is, with `found` as the file.
    pub(super) fn with(sources: &Sources, found: Result<Option<Found>, Problem>) -> Self {
        let mut settings = Settings::default();
        let found = found.unwrap_or_else(|problem| {
            settings.problems.push(problem);
            settings.in_part = true;
            None
        });
        if let Some(found) = &found {
            file::read(&found.text, &found.name, &mut settings);
        }
        environment::read(&sources.env, &mut settings);
        flags(sources, &mut settings);

        let folder = found.as_ref().and_then(|found| found.path.parent());
        let mut reader = Reader::of(&settings, folder.unwrap_or(Path::new("")), &sources.cwd);
        let mut config =
            resolve::resolve(&mut reader, locate::data_dir(&sources.env, &sources.cwd));
        config.upstream.proxies = Proxies::of(&sources.env);
        let Reader {
            problems, unsound, ..
        } = reader;
        let strangers = strangers(&settings, &config);
        let problems = [std::mem::take(&mut settings.problems), problems, strangers].concat();
        Self {
            loaded: Loaded {
                config,
                says_only_clients: found
                    .as_ref()
                    .is_some_and(|found| file::says_only_clients(&found.text)),
                says_nothing: found
                    .as_ref()
                    .is_some_and(|found| file::says_nothing(&found.text)),
                file: found.map(|found| found.path),
            },
            problems,
            settings,
            unsound,
        }
    }

    /// Whether the configuration holds what the user meant by the key at `path`, rather than a
    /// default in place of what could not be read: a rule that such a default breaks would be the
    /// echo of another problem.
    pub(super) fn is_certain(&self, path: &'static str) -> bool {
        let lost = self.settings.in_part && !self.settings.has(path);
        self.is_whole() || !(lost || self.unsound.contains(path))
    }

    /// Whether the user meant to have no section in `section`.
    pub(super) fn is_surely_empty(&self, section: &'static str) -> bool {
        let empty = self.settings.names(section).is_empty();
        self.is_whole() || (empty && !self.settings.in_part)
    }

    /// SECURITY: where there is no other problem, nothing excuses what a start is refused for.
    fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// A problem with a key, at the place where that key was written, if it was.
    pub(super) fn placed(&self, problem: Problem) -> Problem {
        let key = problem.key().and_then(keys::find);
        match key.and_then(|key| self.settings.get(key.path, "").last()) {
            Some(setting) => problem.moved(&setting.place),
            None => problem,
        }
    }
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
