//! The text of a file while it is changed: a few operations on the sections that users name.

use std::ops::Range;

use toml_edit::{Document, Key, Value};

use super::section::{self, Form, Leaf};

/// Why a text cannot be changed by a program, as words for who can change it by hand.
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
}

impl Draft {
    /// # Errors
    /// When it is no TOML.
    pub(super) fn of(text: &str) -> Result<Self, Uneditable> {
        parsed(text)?;
        let text = text.to_owned();
        Ok(Self { text })
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
        let document = parsed(&self.text)?;
        let splice = match section::find(&document, section, name)? {
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
        let document = parsed(&self.text)?;
        let Some(entry) = section::find(&document, section, name)? else {
            return Ok(false);
        };
        let Some(at) = entry.leaves.iter().position(|leaf| leaf.key == key) else {
            return Ok(false);
        };
        let cut = match &entry.form {
            Form::Section { .. } | Form::Lines => {
                section::lines(&self.text, &entry.leaves[at].whole())
            }
            Form::Braces { inside } => in_braces(&self.text, inside.start, &entry.leaves, at),
            Form::Dots { inside, all } => {
                let at = all
                    .iter()
                    .position(|leaf| leaf.value == entry.leaves[at].value);
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
        let document = parsed(&self.text)?;
        let Some(entry) = section::find(&document, section, name)? else {
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
                None => section::lines(&self.text, &entry.whole),
            },
        };
        self.splice(&Splice::new(cut, String::new()), |meant| {
            table(meant, section)?.remove(name);
            Some(())
        })?;
        Ok(true)
    }

    /// Applies a splice, and holds the result against what it is to mean.
    fn splice(
        &mut self,
        splice: &Splice,
        change: impl FnOnce(&mut toml::Table) -> Option<()>,
    ) -> Result<(), Uneditable> {
        let by_hand = || {
            let rule = "is written in a way that this command cannot change; change it by hand";
            Uneditable(rule.to_owned())
        };
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

fn parsed(text: &str) -> Result<Document<&str>, Uneditable> {
    // Where it is no TOML has been told by `check`, place and all.
    Document::parse(text).map_err(|error| Uneditable(format!("is no TOML: {}", error.message())))
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
            let end = section::line_end(text, header.end);
            section::line_at(text, end, pair)
        }
        (Form::Section { .. } | Form::Lines, Some(last)) => {
            let end = section::line_end(text, last.value.end);
            let start = section::line_start(text, last.start);
            // An indentation, and what stands before the dots.
            let before = text.get(start..last.key_start).unwrap_or_default();
            section::line_at(text, end, &format!("{before}{pair}"))
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
        None => match section::comma_after(text, leaf.value.end) {
            Some(comma) => leaf.start..section::blank_after(text, comma),
            None => leaf.start..leaf.value.end,
        },
    }
}
