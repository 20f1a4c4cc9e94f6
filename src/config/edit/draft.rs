//! The text of a file while it is changed: a few operations on the sections that users name.

use std::ops::Range;

use toml_edit::{Document, Key, Value};

use super::super::file;
use super::lines;
use super::section::{self, Entry, Form, Leaf};

/// Why a file cannot be changed by a program, as a line for who can change it by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Uneditable(pub(super) String);

/// The text of a `proxy.toml`. What an operation does not name keeps every byte: comments, blank
/// lines, CR LF, quotes, the order of keys.
///
/// Sections are named by two levels: `clients` and `alice` for `[clients.alice]`. They may be written
/// as a section, as dotted keys or as inline tables, and stay what they are.
#[derive(Clone, Debug)]
pub struct Draft {
    text: String,
    /// The file's name, for what is told.
    name: String,
}

impl Draft {
    /// # Errors
    /// When it is no TOML.
    pub(super) fn of(text: &str, name: &str) -> Result<Self, Uneditable> {
        let draft = Self {
            text: text.to_owned(),
            name: name.to_owned(),
        };
        draft.parsed()?;
        Ok(draft)
    }

    /// The text as it is now.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The keys of the section `name` of `section`, in their order; `None` if there is none.
    pub fn keys(&self, section: &str, name: &str) -> Option<Vec<String>> {
        let document = Document::parse(self.text.as_str()).ok()?;
        let entry = section::find(&document, section, name).ok()??;
        Some(entry.leaves.into_iter().map(|leaf| leaf.key).collect())
    }

    /// Sets a key of the section `name` of `section`: in the place of its old value, else as the last
    /// key of that section, which is made when it is missing.
    ///
    /// # Errors
    /// When the section is written in a way that cannot be changed.
    pub fn set(
        &mut self,
        section: &str,
        name: &str,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<(), Uneditable> {
        let value = value.into().decorated("", "").to_string();
        let pair = format!("{} = {value}", Key::new(key));
        let document = self.parsed()?;
        let splice = match self.find(&document, section, name)? {
            None => section::made(&self.text, &document, [section, name], &pair),
            Some(entry) => match entry.leaves.iter().find(|leaf| leaf.key == key) {
                Some(leaf) => Splice::new(leaf.value.clone(), value.clone()),
                None => added(&self.text, &entry.form, &entry.leaves, &pair),
            },
        };
        self.splice(&splice, |meant| {
            let meant = table(table(meant, section)?, name)?;
            let value: toml::Table = format!("x = {value}").parse().ok()?;
            meant.insert(key.to_owned(), value.into_iter().next()?.1);
            Some(())
        })
    }

    /// Takes a key out of the section `name` of `section`, with its line. `false`: it is not there.
    ///
    /// # Errors
    /// When the section is written in a way that cannot be changed.
    pub fn unset(&mut self, section: &str, name: &str, key: &str) -> Result<bool, Uneditable> {
        let document = self.parsed()?;
        let Some(entry) = self.find(&document, section, name)? else {
            return Ok(false);
        };
        let mut leaves = entry.leaves.iter().enumerate();
        let Some((at, leaf)) = leaves.find(|(_, leaf)| leaf.key == key) else {
            return Ok(false);
        };
        let cut = match &entry.form {
            Form::Section { .. } | Form::Lines => lines::whole(&self.text, &leaf.whole()),
            Form::Braces { inside } => in_braces(&self.text, inside.start, &entry.leaves, at),
            Form::Dots { inside, all } => {
                let at = all.iter().position(|other| other.value == leaf.value);
                in_braces(&self.text, inside.start, all, at.unwrap_or_default())
            }
        };
        self.splice(&Splice::new(cut, String::new()), |meant| {
            let entries = table(meant, section)?;
            let left = table(entries, name)?;
            left.remove(key);
            // What dotted keys made goes with the last of them.
            if left.is_empty() && matches!(entry.form, Form::Lines | Form::Dots { .. }) {
                entries.remove(name);
            }
            Some(())
        })?;
        Ok(true)
    }

    /// Takes the section `name` of `section` out, with the comments in it. `false`: it is not there.
    ///
    /// # Errors
    /// When the section is written in a way that cannot be changed.
    pub fn remove(&mut self, section: &str, name: &str) -> Result<bool, Uneditable> {
        let document = self.parsed()?;
        let Some(entry) = self.find(&document, section, name)? else {
            return Ok(false);
        };
        let cut = match &entry.form {
            Form::Section { header, .. } => {
                section::whole(&self.text, &document, header, &entry.leaves)
            }
            // One after the other: other keys may stand between them.
            Form::Lines | Form::Dots { .. } => {
                for leaf in entry.leaves.iter().rev() {
                    self.unset(section, name, &leaf.key)?;
                }
                return Ok(true);
            }
            Form::Braces { .. } => match &entry.of {
                Some(of) => in_braces(&self.text, of.inside.start, &of.entries, of.at),
                None => lines::whole(&self.text, &entry.whole),
            },
        };
        self.splice(&Splice::new(cut, String::new()), |meant| {
            table(meant, section)?.remove(name);
            Some(())
        })?;
        Ok(true)
    }

    /// Has an empty `section` stand where nothing but comments is left.
    ///
    /// # Errors
    /// When the text cannot be changed.
    pub fn keep(&mut self, section: &str) -> Result<(), Uneditable> {
        if !file::says_nothing(&self.text) {
            return Ok(());
        }
        let header = format!("[{section}]");
        let splice = lines::of_its_own(&self.text, self.text.len(), &header);
        self.splice(&splice, |_| Some(()))
    }

    fn parsed(&self) -> Result<Document<&str>, Uneditable> {
        // Where it is no TOML has been told by then, place and all.
        let parsed = Document::parse(self.text.as_str());
        parsed.map_err(|error| self.odd(&format!("is no TOML: {}", error.message())))
    }

    fn find(
        &self,
        document: &Document<&str>,
        section: &str,
        name: &str,
    ) -> Result<Option<Entry>, Uneditable> {
        section::find(document, section, name).map_err(|rule| self.odd(&rule))
    }

    fn odd(&self, rule: &str) -> Uneditable {
        Uneditable(format!("{} {rule}", self.name))
    }

    /// Applies a splice, and holds the result against what it is to mean.
    fn splice(
        &mut self,
        splice: &Splice,
        change: impl FnOnce(&mut toml::Table) -> Option<()>,
    ) -> Result<(), Uneditable> {
        let by_hand = || self.odd("is written in a way that no command can change: do it by hand");
        let mut text = self.text.clone();
        let range = splice.range.clone();
        if text.get(range.clone()).is_none() {
            return Err(by_hand());
        }
        text.replace_range(range, &splice.text);
        let mut meant: toml::Table = self.text.parse().map_err(|_| by_hand())?;
        change(&mut meant).ok_or_else(by_hand)?;
        let mut written: toml::Table = text.parse().map_err(|_| by_hand())?;
        // An empty section says as much as none.
        for tables in [&mut meant, &mut written] {
            tables.retain(|_, value| value.as_table().is_none_or(|table| !table.is_empty()));
        }
        if written != meant {
            return Err(by_hand());
        }
        self.text = text;
        Ok(())
    }
}

/// A range of the text, and what comes in its place.
pub(super) struct Splice {
    range: Range<usize>,
    text: String,
}

impl Splice {
    pub(super) fn new(range: Range<usize>, text: String) -> Self {
        Self { range, text }
    }
}

fn table<'a>(of: &'a mut toml::Table, name: &str) -> Option<&'a mut toml::Table> {
    of.entry(name.to_owned())
        .or_insert_with(|| toml::Table::new().into())
        .as_table_mut()
}

/// A key behind the last one of a section.
fn added(text: &str, form: &Form, leaves: &[Leaf], pair: &str) -> Splice {
    let last = leaves.iter().max_by_key(|leaf| leaf.value.end);
    match (form, last) {
        (Form::Section { header, .. }, None) => {
            let end = lines::end(text, header.end);
            lines::of_its_own(text, end, pair)
        }
        (Form::Section { .. } | Form::Lines, Some(last)) => {
            let end = lines::end(text, last.value.end);
            let start = lines::start(text, last.start);
            // An indentation, and what stands before the dots.
            let before = text.get(start..last.key_start).unwrap_or_default();
            lines::of_its_own(text, end, &format!("{before}{pair}"))
        }
        (Form::Braces { .. }, Some(last)) => {
            Splice::new(last.value.end..last.value.end, format!(", {pair}"))
        }
        (Form::Dots { .. }, Some(last)) => {
            let before = text.get(last.start..last.key_start).unwrap_or_default();
            Splice::new(last.value.end..last.value.end, format!(", {before}{pair}"))
        }
        (Form::Braces { inside } | Form::Dots { inside, .. }, None) => {
            Splice::new(inside.clone(), format!(" {pair} "))
        }
        // Dotted keys that are none do not exist.
        (Form::Lines, None) => Splice::new(text.len()..text.len(), String::new()),
    }
}

/// What goes when one of several pairs in braces goes: it, and one comma.
fn in_braces(text: &str, open: usize, leaves: &[Leaf], at: usize) -> Range<usize> {
    let Some(leaf) = leaves.get(at) else {
        return open..open;
    };
    let before = leaves.iter().map(|other| other.value.end);
    match before.filter(|end| *end <= leaf.start).max() {
        Some(end) => end..leaf.value.end,
        None => match lines::comma_after(text, leaf.value.end) {
            Some(comma) => leaf.start..lines::blank_after(text, comma),
            None => leaf.start..leaf.value.end,
        },
    }
}
