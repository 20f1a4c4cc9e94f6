//! What the user wrote, before anybody asked whether it makes sense.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::keys::Key;
use super::problem::{Place, Problem};

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Whole(i128),
    /// A TOML float.
    Float(f64),
    /// A TOML boolean.
    Truth(bool),
    /// A TOML array.
    List(Vec<Setting>),
    /// Text of the environment or a flag, which has no type of its own.
    Plain(String),
    /// A path of a flag, which need not be text.
    Path(PathBuf),
    /// Something that no key takes, by its noun.
    Foreign(&'static str),
}

impl Value {
    /// What it is, as a problem would call it.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Plain(_) => "text",
            Self::Whole(_) => "a whole number",
            Self::Float(_) => "a fraction",
            Self::Truth(_) => "true or false",
            Self::List(_) => "a list",
            Self::Path(_) => "a path",
            Self::Foreign(noun) => noun,
        }
    }

    /// The text, if it is text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Plain(text) => Some(text),
            Self::Path(path) => path.to_str(),
            Self::Whole(_) | Self::Float(_) | Self::Truth(_) | Self::List(_) | Self::Foreign(_) => {
                None
            }
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Everything that was written, by key, and what could not even be taken in.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// By the key's path and the name that stands for its `*` (empty where it has none). Several
    /// values for one key stand in rising precedence.
    values: BTreeMap<(&'static str, String), Vec<Setting>>,
    /// The named sections (`clients.*`, `prices.*`) and where each was first written.
    named: BTreeMap<(&'static str, String), Place>,
    /// What is wrong already.
    pub(super) problems: Vec<Problem>,
    /// Variables that name no key: their problem, unless some key turns out to name them.
    pub(super) strangers: Vec<(String, Problem)>,
    /// Whether the file could be read only in part: then nothing may be called missing.
    pub(super) in_part: bool,
    /// Names of sections with a key in them that does not exist, and is likely the one missing.
    in_doubt: BTreeSet<String>,
}

impl Settings {
    /// Takes in a value for `key`; one given later goes before.
    pub(super) fn put(&mut self, key: &'static Key, name: &str, setting: Setting) {
        if let Some(section) = key.named_section() {
            self.name(section, name, &setting.place);
        }
        self.values
            .entry((key.path, name.to_owned()))
            .or_default()
            .push(setting);
    }

    /// Remembers that the section `name` of `section` exists.
    pub(super) fn name(&mut self, section: &'static str, name: &str, place: &Place) {
        self.named
            .entry((section, name.to_owned()))
            .or_insert_with(|| place.clone());
    }

    /// Remembers that a section of this name has a key that does not exist.
    pub(super) fn doubt(&mut self, name: &str) {
        self.in_doubt.insert(name.to_owned());
    }

    /// Whether what is missing in the section called `name` can be called missing.
    pub(super) fn is_whole(&self, name: &str) -> bool {
        !self.in_part && !self.in_doubt.contains(name)
    }

    /// The values for the key at `path`, in rising precedence.
    pub(super) fn get(&self, path: &'static str, name: &str) -> &[Setting] {
        self.values
            .get(&(path, name.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// The sections of `section` by name, each with its place.
    pub(super) fn names(&self, section: &'static str) -> Vec<(&str, &Place)> {
        self.named
            .iter()
            .filter(|((of, _), _)| *of == section)
            .map(|((_, name), place)| (name.as_str(), place))
            .collect()
    }

    /// Whether the key at `path` was written anywhere.
    pub(super) fn has(&self, path: &'static str) -> bool {
        !self.get(path, "").is_empty()
    }
}
