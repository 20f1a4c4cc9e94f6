//! From settings to typed values: every broken rule is collected, nothing stops at the first.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::ValueDeserializer;

use super::keys::written;
use super::network::Network;
use super::problem::{Place, Problem};
use super::rules;
use super::settings::{Settings, Value};

/// A key to read: its path, and the name in place of its `*`.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    path: &'static str,
    name: &'a str,
}

impl<'a> Slot<'a> {
    /// The key at `path`, for the section that is called `name`.
    pub(super) fn of(path: &'static str, name: &'a str) -> Self {
        Self { path, name }
    }
}

/// The path as one would write it in the file.
impl fmt::Display for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.replacen('*', &written(self.name), 1))
    }
}

impl From<&'static str> for Slot<'_> {
    fn from(path: &'static str) -> Self {
        Self { path, name: "" }
    }
}

/// Reads settings, and remembers what is wrong with them.
pub(super) struct Reader<'a> {
    settings: &'a Settings,
    /// What relative paths of the file are relative to.
    folder: &'a Path,
    /// What all other relative paths are relative to.
    cwd: &'a Path,
    /// Every broken rule.
    pub(super) problems: Vec<Problem>,
    /// The keys whose last value breaks its rule, so that their default is only a stand-in.
    pub(super) unsound: BTreeSet<&'static str>,
    /// Every key that was asked for: a test compares it with the list.
    #[cfg(test)]
    pub(super) asked: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    /// Reads `settings`; relative paths of the file are taken from `folder`, others from `cwd`.
    pub(super) fn of(settings: &'a Settings, folder: &'a Path, cwd: &'a Path) -> Self {
        Self {
            settings,
            folder,
            cwd,
            problems: Vec::new(),
            unsound: BTreeSet::new(),
            #[cfg(test)]
            asked: BTreeSet::new(),
        }
    }

    /// What is read.
    pub(super) fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// The value, or its default.
    pub(super) fn or<'n, T>(
        &mut self,
        slot: impl Into<Slot<'n>>,
        rule: impl Fn(&Value) -> Result<T, String>,
        default: T,
    ) -> T {
        self.optional(slot, rule).unwrap_or(default)
    }

    /// The value of a key that has no default.
    pub(super) fn optional<'n, T>(
        &mut self,
        slot: impl Into<Slot<'n>>,
        rule: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let slot = slot.into();
        self.last(slot, rule).map(|(value, _)| value)
    }

    /// A path, made absolute.
    pub(super) fn path(&mut self, path: &'static str) -> Option<PathBuf> {
        let slot = Slot::from(path);
        let (value, place) = self.last(slot, plain_path)?;
        let base = match place {
            Place::File { .. } => self.folder,
            Place::Variable(_) | Place::Flag(_) | Place::Key(_) => self.cwd,
        };
        Some(base.join(value))
    }

    /// The items of a list, each of which `rule` takes; none by default.
    pub(super) fn list<T>(
        &mut self,
        path: &'static str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.note(path);
        let slot = Slot::from(path);
        let mut items = Vec::new();
        for setting in self.settings.get(path, "") {
            items.clear();
            let written = match split(&setting.value) {
                Ok(written) => written,
                Err(rule) => {
                    self.broken(slot, &setting.place, &rule);
                    continue;
                }
            };
            for (item, place) in written {
                match rules::words(&item, &rule) {
                    Ok(item) => items.push(item),
                    Err(rule) => {
                        let place = place.unwrap_or_else(|| setting.place.clone());
                        self.broken(slot, &place, &rule);
                    }
                }
            }
        }
        items
    }

    /// A list of networks.
    pub(super) fn networks(&mut self, path: &'static str) -> Vec<Network> {
        self.list(path, Network::parse)
    }

    /// Applies `rule` to everything that was written for a key: also to what another place
    /// overrides. The last one counts.
    fn last<T>(
        &mut self,
        slot: Slot<'_>,
        rule: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<(T, &'a Place)> {
        self.note(slot.path);
        let mut last = None;
        for setting in self.settings.get(slot.path, slot.name) {
            match rule(&setting.value) {
                Ok(value) => last = Some((value, &setting.place)),
                Err(rule) => {
                    last = None;
                    self.broken(slot, &setting.place, &rule);
                }
            }
        }
        if last.is_none() && !self.settings.get(slot.path, slot.name).is_empty() {
            self.unsound.insert(slot.path);
        }
        last
    }

    /// A rule that the value at `place` breaks. A line of the file does not say which key it sets;
    /// a variable and a flag do.
    fn broken(&mut self, slot: Slot<'_>, place: &Place, rule: &str) {
        let problem = match place {
            Place::File { .. } => Problem::at(place, format!("`{slot}` {rule}")),
            Place::Variable(_) | Place::Flag(_) | Place::Key(_) => Problem::at(place, rule),
        };
        self.problems.push(problem);
    }

    #[cfg(test)]
    fn note(&mut self, path: &'static str) {
        self.asked.insert(path);
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        reason = "a test counts the keys that are asked for"
    )]
    fn note(&mut self, _: &'static str) {}
}

/// A path as it was written.
fn plain_path(value: &Value) -> Result<PathBuf, String> {
    let path = match value {
        Value::Path(path) => path.clone(),
        other => rules::words(other, |text| Ok(PathBuf::from(text)))?,
    };
    if path.as_os_str().is_empty() {
        return Err("must be a path, not empty".to_owned());
    }
    if path.starts_with("~") {
        return Err("must be a whole path: `~` stands for nothing here".to_owned());
    }
    Ok(path)
}

/// The items of a list, with their places where they have one of their own.
fn split(value: &Value) -> Result<Vec<(Value, Option<Place>)>, String> {
    match value {
        Value::List(items) => Ok(items
            .iter()
            .map(|item| (item.value.clone(), Some(item.place.clone())))
            .collect()),
        Value::Plain(text) if text.trim_start().starts_with('[') => {
            let items = ValueDeserializer::parse(text).and_then(Vec::<String>::deserialize);
            let rule = |_| "must be a list such as [\"a\", \"b\"], or a,b".to_owned();
            Ok(items
                .map_err(rule)?
                .into_iter()
                .map(|item| (Value::Plain(item), None))
                .collect())
        }
        Value::Plain(text) => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| (Value::Plain(item.to_owned()), None))
            .collect()),
        Value::Text(_)
        | Value::Whole(_)
        | Value::Float(_)
        | Value::Truth(_)
        | Value::Path(_)
        | Value::Foreign(_) => Err(format!(
            "must be a list such as [\"a\", \"b\"], not {}",
            value.noun()
        )),
    }
}
