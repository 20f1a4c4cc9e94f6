//! `proxy.toml` → settings: each value with its place, each key that does not exist as a problem.
//!
//! The document is walked against [`KEYS`] rather than read by serde, which stops at the first
//! error: whoever has five typos shall see five lines.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeString, DeTable, DeValue};

use super::keys::{self, KEYS, Key, written};
use super::problem::{Place, Problem};
use super::settings::{Setting, Settings, Value};

/// Takes in the text of a file that problems shall call `name`.
pub(super) fn read(text: &str, name: &str, settings: &mut Settings) {
    let lines = Lines::of(text, name);
    let (document, errors) = DeTable::parse_recoverable(text);
    // What follows on a line that could not be read is mostly an echo of its first error.
    let mut broken = BTreeSet::new();
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        if broken.insert(lines.number(&span)) {
            settings
                .problems
                .push(Problem::at(&lines.place(&span), error.message()));
        }
    }
    settings.in_part = !errors.is_empty();
    let mut walk = Walk {
        lines,
        broken,
        settings,
    };
    walk.section(document.get_ref(), "", "");
}

/// Whether there is nothing but white space and comments in it: neither a key nor a section.
pub(super) fn says_nothing(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#'))
}

/// Whether a document that can be read says at most who the clients are.
pub(super) fn says_only_clients(text: &str) -> bool {
    let (document, _) = DeTable::parse_recoverable(text);
    document
        .get_ref()
        .keys()
        .all(|name| name.get_ref() == "clients")
}

/// The lines of a file, to tell where an offset stands.
struct Lines<'a> {
    text: &'a str,
    name: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str, name: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Self {
            text,
            name,
            starts: starts.collect(),
        }
    }

    /// The line that `span` begins on, from 1.
    fn number(&self, span: &Range<usize>) -> usize {
        self.starts.partition_point(|start| *start <= span.start)
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let line = self.number(span);
        let start = line
            .checked_sub(1)
            .and_then(|nth| self.starts.get(nth))
            .copied();
        let left = self
            .text
            .get(start.unwrap_or(0)..span.start)
            .unwrap_or_default();
        Place::File {
            path: self.name.to_owned(),
            line,
            column: left.chars().count() + 1,
        }
    }
}

/// A key of the document, with its place.
type Word<'i> = Spanned<DeString<'i>>;

/// The way through the document.
struct Walk<'a> {
    lines: Lines<'a>,
    broken: BTreeSet<usize>,
    settings: &'a mut Settings,
}

impl Walk<'_> {
    /// One section, by its path (with `*` for a name of the user's) and that name.
    fn section(&mut self, table: &DeTable<'_>, section: &str, name: &str) {
        let known = keys::names_in(section);
        for (word, value) in table {
            let text: &str = word.get_ref();
            if known == ["*"] {
                self.named(section, word, value);
            } else if known.contains(&text) {
                let path = join(section, text);
                match keys::find(&path) {
                    // What stands for a value that could not be read has no place of its own.
                    Some(_) if self.is_broken(&word.span()) => {}
                    Some(key) => self.put(key, name, value),
                    None => self.inner(&path, name, word, value),
                }
            } else {
                self.settings.doubt(name);
                let rule = unknown(section, name, text, value.get_ref());
                self.problem(word.span(), rule);
            }
        }
    }

    /// A section whose name the user chose.
    fn named(&mut self, section: &str, word: &Word<'_>, value: &Spanned<DeValue<'_>>) {
        let name: &str = word.get_ref();
        let of = KEYS
            .iter()
            .filter_map(Key::named_section)
            .find(|of| *of == section);
        if let Some(of) = of.filter(|_| value.get_ref().is_table()) {
            self.settings
                .name(of, name, &self.lines.place(&word.span()));
        }
        self.inner(&join(section, "*"), name, word, value);
    }

    /// What must be a section.
    fn inner(&mut self, path: &str, name: &str, word: &Word<'_>, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.section(table, path, name),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                let title = path.replacen('*', &written(name), 1);
                self.problem(
                    word.span(),
                    format!("`{title}` is a section: write [{title}]"),
                );
            }
        }
    }

    fn put(&mut self, key: &'static Key, name: &str, value: &Spanned<DeValue<'_>>) {
        if !self.is_broken(&value.span()) {
            let setting = self.setting(value);
            self.settings.put(key, name, setting);
        }
    }

    fn setting(&self, value: &Spanned<DeValue<'_>>) -> Setting {
        let place = self.lines.place(&value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(whole) => whole_number(whole),
            DeValue::Float(fraction) => match fraction.as_str().parse() {
                Ok(fraction) => Value::Float(fraction),
                Err(_) => Value::Foreign("a fraction"),
            },
            DeValue::Boolean(truth) => Value::Truth(*truth),
            DeValue::Datetime(_) => Value::Foreign("a date or time"),
            DeValue::Array(array) => Value::List(self.list(array)),
            DeValue::Table(_) => Value::Foreign("a section"),
        };
        Setting { value, place }
    }

    fn list(&self, array: &DeArray<'_>) -> Vec<Setting> {
        array.iter().map(|item| self.setting(item)).collect()
    }

    /// Whether the line that `span` begins on could not be read.
    fn is_broken(&self, span: &Range<usize>) -> bool {
        self.broken.contains(&self.lines.number(span))
    }

    fn problem(&mut self, span: Range<usize>, rule: String) {
        if !self.is_broken(&span) {
            self.settings
                .problems
                .push(Problem::at(&self.lines.place(&span), rule));
        }
    }
}

fn whole_number(whole: &DeInteger<'_>) -> Value {
    match i128::from_str_radix(whole.as_str(), whole.radix()) {
        Ok(whole) => Value::Whole(whole),
        Err(_) => Value::Foreign("a number of that size"),
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// What to say about a word that names no key: what it was most likely meant to be.
fn unknown(section: &str, name: &str, word: &str, value: &DeValue<'_>) -> String {
    let known = keys::names_in(section);
    let title = section.replacen('*', &written(name), 1);
    let path = join(&title, &written(word));
    let near = keys::nearest(word, known.iter().copied());
    let meant = match near {
        Some(near) if value.is_table() => format!("; did you mean [{}]?", join(&title, near)),
        Some(near) => format!("; did you mean `{near}`?"),
        None => match elsewhere(word) {
            Some(path) => format!("; did you mean `{path}`?"),
            None => format!("; known here: {}", known.join(", ")),
        },
    };
    match (value.is_table(), section) {
        (true, _) => format!("unknown section [{path}]{meant}"),
        (false, "") => format!("unknown key `{}` at the top{meant}", word.escape_debug()),
        (false, _) => format!("unknown key `{}` in [{title}]{meant}", word.escape_debug()),
    }
}

/// A key of another section whose last level is `word`, or nearly.
fn elsewhere(word: &str) -> Option<&'static str> {
    let last = |key: &Key| key.levels().next_back().unwrap_or_default();
    let near = keys::nearest(word, KEYS.iter().map(last))?;
    KEYS.iter()
        .find(|key| last(key) == near)
        .map(|key| key.path)
}
