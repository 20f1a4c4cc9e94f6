//! Where a section stands in the text, and in which of TOML's forms.

use std::ops::Range;

use toml_edit::{Document, Item, Key, Table, TableLike, Value};

use super::draft::{Splice, Uneditable};

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The last level of the key.
    pub(super) key: String,
    /// Where that level begins.
    pub(super) key_start: usize,
    /// Where the whole key begins, with what stands before its dots.
    pub(super) start: usize,
    pub(super) value: Range<usize>,
}

impl Leaf {
    pub(super) fn whole(&self) -> Range<usize> {
        self.start..self.value.end
    }
}

/// How a section is written.
#[derive(Debug)]
pub(super) enum Form {
    /// `[clients.alice]`, and lines below it.
    Section { header: Range<usize> },
    /// `alice.key_hash = …` in lines, below `[clients]` or at the top.
    Lines,
    /// `alice = { … }`; `inside` is what stands between the braces.
    Braces { inside: Range<usize> },
    /// `alice.key_hash = …` within the braces of `clients = { … }`, all of whose pairs are `all`.
    Dots {
        inside: Range<usize>,
        all: Vec<Leaf>,
    },
}

/// One section, found.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) form: Form,
    pub(super) leaves: Vec<Leaf>,
    /// Its key and its value, of one that is written with braces.
    pub(super) whole: Range<usize>,
    /// The braces that it stands in itself.
    pub(super) of: Option<Outer>,
}

/// The pairs of an inline table, of which one is meant.
#[derive(Debug)]
pub(super) struct Outer {
    pub(super) inside: Range<usize>,
    pub(super) entries: Vec<Leaf>,
    pub(super) at: usize,
}

/// Finds the section `name` of `section`.
pub(super) fn find(
    document: &Document<&str>,
    section: &str,
    name: &str,
) -> Result<Option<Entry>, Uneditable> {
    let text = document.raw();
    let odd = |rule: String| Uneditable(rule);
    let Some(outer) = document.get(section) else {
        return Ok(None);
    };
    let Some(tables) = outer.as_table_like() else {
        return Err(odd(format!("`{section}` is no section")));
    };
    let Some((key, item)) = tables.get_key_value(name) else {
        return Ok(None);
    };
    let Some(table) = item.as_table_like() else {
        return Err(odd(format!("`{section}.{name}` is no section")));
    };
    let leaves = leaves(text, table);
    let braces = inside(outer);
    let form = match (item, item.span()) {
        (Item::Table(own), Some(header)) if !own.is_dotted() && !own.is_implicit() => {
            Form::Section { header }
        }
        (Item::Table(own), _) if own.is_dotted() => Form::Lines,
        (Item::Value(Value::InlineTable(own)), _) if own.is_dotted() => match &braces {
            Some(inside) => Form::Dots {
                inside: inside.clone(),
                all: pairs(text, tables),
            },
            None => Form::Lines,
        },
        (Item::Value(Value::InlineTable(_)), Some(span)) => Form::Braces {
            inside: span.start + 1..span.end.saturating_sub(1),
        },
        _ => {
            let rule =
                format!("`{section}.{name}` is written in a way that only a hand can change");
            return Err(odd(rule));
        }
    };
    let value = item.span().unwrap_or_default();
    let start = key.span().map_or(value.start, |key| start(text, key.start));
    let of = braces.map(|inside| {
        let entries = pairs(text, tables);
        let at = entries.iter().position(|pair| pair.value == value);
        Outer {
            inside,
            at: at.unwrap_or(entries.len()),
            entries,
        }
    });
    Ok(Some(Entry {
        form,
        leaves,
        whole: start..value.end,
        of,
    }))
}

/// What stands between the braces of an inline table.
fn inside(item: &Item) -> Option<Range<usize>> {
    match item {
        Item::Value(Value::InlineTable(table)) if !table.is_dotted() => {
            let span = table.span()?;
            Some(span.start + 1..span.end.saturating_sub(1))
        }
        _ => None,
    }
}

/// The pairs of a table that have a value of their own.
fn leaves(text: &str, table: &dyn TableLike) -> Vec<Leaf> {
    let keys = table.iter().map(|(key, _)| key);
    keys.filter_map(|key| {
        let (key, item) = table.get_key_value(key)?;
        let (at, value) = (key.span()?, item.as_value()?.span()?);
        Some(Leaf {
            key: key.get().to_owned(),
            key_start: at.start,
            start: start(text, at.start),
            value,
        })
    })
    .collect()
}

/// The pairs within the braces of a table, those with dots too.
fn pairs(text: &str, table: &dyn TableLike) -> Vec<Leaf> {
    let mut found = Vec::new();
    for (key, item) in table.iter() {
        match item.as_table_like().filter(|table| table.is_dotted()) {
            Some(inner) => found.extend(pairs(text, inner)),
            None => {
                let pair = table.get_key_value(key);
                let spans = pair.and_then(|(key, item)| Some((key.span()?, item.span()?)));
                found.extend(spans.map(|(at, value)| Leaf {
                    key: key.to_owned(),
                    key_start: at.start,
                    start: start(text, at.start),
                    value,
                }));
            }
        }
    }
    found
}

/// Where a key begins whose last level is at `level`: before its dots.
fn start(text: &str, level: usize) -> usize {
    let before = text.get(..level).unwrap_or_default();
    let Some(rest) = before.trim_end_matches([' ', '\t']).strip_suffix('.') else {
        return level;
    };
    let rest = rest.trim_end_matches([' ', '\t']);
    let quote = rest
        .chars()
        .next_back()
        .filter(|last| "\"'".contains(*last));
    let begin = match quote {
        Some(quote) => rest[..rest.len() - 1].rfind(quote),
        None => {
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            Some(rest.trim_end_matches(bare).len())
        }
    };
    begin.map_or(level, |begin| start(text, begin))
}

/// A new section with one key: behind the last section of its kind, else at the end of the file.
pub(super) fn made(
    text: &str,
    document: &Document<&str>,
    [section, name]: [&str; 2],
    pair: &str,
) -> Splice {
    let outer = document.get(section);
    if let Some(braces) = outer.and_then(inside) {
        let tables = outer.and_then(Item::as_table_like);
        let pairs = tables.map(|tables| pairs(text, tables)).unwrap_or_default();
        let new = format!("{} = {{ {pair} }}", Key::new(name));
        return match pairs.iter().map(|pair| pair.value.end).max() {
            Some(end) => Splice::new(end..end, format!(", {new}")),
            None => Splice::new(braces, format!(" {new} ")),
        };
    }
    let mut headers = Vec::new();
    if let Some(table) = outer.and_then(Item::as_table) {
        headers.extend(header(table));
        headers.extend(below(table));
    }
    let last = headers.iter().max_by_key(|(header, _)| header.start);
    let at = match last {
        Some((header, leaves)) => whole_end(text, document, header, leaves),
        None => text.len(),
    };
    let line = newline(text);
    let before = text.get(..at).unwrap_or_default();
    let mut new = String::new();
    if !before.is_empty() && !before.ends_with('\n') {
        new.push_str(line);
    }
    if !before.is_empty() && !is_blank(last_line(before)) {
        new.push_str(line);
    }
    let title = format!("[{}.{}]", Key::new(section), Key::new(name));
    new.push_str(&format!("{title}{line}{pair}{line}"));
    Splice::new(at..at, new)
}

type Header = (Range<usize>, Vec<Range<usize>>);

/// The header of a table that has one, and the values below it.
fn header(table: &Table) -> Option<Header> {
    let span = table
        .span()
        .filter(|_| !table.is_dotted() && !table.is_implicit())?;
    Some((span, values(table)))
}

/// The values that stand in a table's own lines.
fn values(table: &Table) -> Vec<Range<usize>> {
    let items = table.iter().map(|(_, item)| item);
    items
        .flat_map(|item| match item {
            Item::Value(value) => value.span().into_iter().collect(),
            Item::Table(inner) if inner.is_dotted() => values(inner),
            Item::Table(_) | Item::ArrayOfTables(_) | Item::None => Vec::new(),
        })
        .collect()
}

/// Every header below a table.
fn below(table: &Table) -> Vec<Header> {
    let items = table.iter().map(|(_, item)| item);
    items
        .flat_map(|item| match item {
            Item::Table(inner) => header(inner).into_iter().chain(below(inner)).collect(),
            Item::ArrayOfTables(tables) => tables
                .iter()
                .flat_map(|inner| header(inner).into_iter().chain(below(inner)))
                .collect(),
            Item::Value(_) | Item::None => Vec::new(),
        })
        .collect()
}

/// A whole section: its lines, and the blank one before it where two would meet.
pub(super) fn whole(
    text: &str,
    document: &Document<&str>,
    header: &Range<usize>,
    leaves: &[Leaf],
) -> Range<usize> {
    let values: Vec<_> = leaves.iter().map(|leaf| leaf.value.clone()).collect();
    let end = whole_end(text, document, header, &values);
    let start = line_start(text, header.start);
    let before = text.get(..start).unwrap_or_default();
    let above = last_line(before);
    let after = text.get(end..).unwrap_or_default();
    let meets = is_blank(after.split('\n').next().unwrap_or_default());
    if !above.is_empty() && is_blank(above) && meets {
        start - above.len()..end
    } else {
        start..end
    }
}

/// Where a section ends: behind its last value, and behind the comments that follow right there and
/// do not lead to the next section.
fn whole_end(
    text: &str,
    document: &Document<&str>,
    header: &Range<usize>,
    values: &[Range<usize>],
) -> usize {
    let last = values.iter().map(|value| value.end).max();
    let end = line_end(text, last.unwrap_or(header.end));
    let next = below(document.as_table()).into_iter();
    let next = next.map(|(header, _)| line_start(text, header.start));
    let next = next.filter(|start| *start >= end).min();
    let gap = text
        .get(end..next.unwrap_or(text.len()))
        .unwrap_or_default();
    let mut comments = 0;
    for line in gap.split_inclusive('\n') {
        if is_blank(line) {
            return end + comments;
        }
        comments += line.len();
    }
    if next.is_none() { end + comments } else { end }
}

/// A line of its own at `at`, which is where one begins, or the end of a text without a last newline.
pub(super) fn line_at(text: &str, at: usize, content: &str) -> Splice {
    let line = newline(text);
    let before = text.get(..at).unwrap_or_default();
    let first = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        line
    };
    Splice::new(at..at, format!("{first}{content}{line}"))
}

/// The lines that a range stands on.
pub(super) fn lines(text: &str, range: &Range<usize>) -> Range<usize> {
    line_start(text, range.start)..line_end(text, range.end)
}

/// Where the line begins that `at` stands on. A byte order mark stands before the first.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    match text.get(start..at) {
        Some(line) if start == 0 && line.starts_with('\u{feff}') => '\u{feff}'.len_utf8(),
        _ => start,
    }
}

/// Where the line ends that `at` stands on, its newline included.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n')
        .map_or(text.len(), |newline| at + newline + 1)
}

/// Behind the comma that follows `at`, past blanks and comments.
pub(super) fn comma_after(text: &str, mut at: usize) -> Option<usize> {
    loop {
        let rest = text.get(at..)?;
        let blank = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        if rest.starts_with('#') {
            at = line_end(text, at + blank);
        } else {
            return rest.starts_with(',').then_some(at + blank + 1);
        }
    }
}

/// Behind the blanks that follow `at` on its line.
pub(super) fn blank_after(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.len() - rest.trim_start_matches([' ', '\t']).len()
}

fn last_line(text: &str) -> &str {
    text.split_inclusive('\n').next_back().unwrap_or_default()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// How this text ends its lines.
fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        Some(_) | None => "\n",
    }
}
