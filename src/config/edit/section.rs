//! Where a section stands in the text, and in which of TOML's forms.

use std::ops::Range;

use toml_edit::{Document, Item, Key, Table, TableLike, Value};

use super::draft::Splice;
use super::lines;

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

/// Finds the section `name` of `section`. What stands in the way is said in words that follow the file's
/// name.
pub(super) fn find(
    document: &Document<&str>,
    section: &str,
    name: &str,
) -> Result<Option<Entry>, String> {
    let text = document.raw();
    let Some(outer) = document.get(section) else {
        return Ok(None);
    };
    let Some(tables) = outer.as_table_like() else {
        return Err(format!("has `{section}`, which is no section"));
    };
    let Some((key, item)) = tables.get_key_value(name) else {
        return Ok(None);
    };
    let Some(table) = item.as_table_like() else {
        return Err(format!("has `{section}.{name}`, which is no section"));
    };
    let inside = inside(outer);
    let braces = inside.map(|inside| (inside, pairs(text, tables)));
    let form = form(item, braces.as_ref()).ok_or_else(|| {
        format!("has `{section}.{name}`, which is written in a way that only a hand can change")
    })?;
    let value = item.span().unwrap_or_default();
    let start = key.span().map_or(value.start, |key| start(text, key.start));
    let of = braces.map(|(inside, entries)| Outer {
        at: entries
            .iter()
            .position(|pair| pair.value == value)
            .unwrap_or(entries.len()),
        inside,
        entries,
    });
    Ok(Some(Entry {
        form,
        leaves: leaves(text, table),
        whole: start..value.end,
        of,
    }))
}

/// How a section is written that stands within `braces`, if it does; `None` for what is too odd.
fn form(item: &Item, braces: Option<&(Range<usize>, Vec<Leaf>)>) -> Option<Form> {
    match item {
        Item::Table(own) if own.is_dotted() => Some(Form::Lines),
        Item::Table(own) if !own.is_implicit() => Some(Form::Section {
            header: own.span()?,
        }),
        Item::Value(Value::InlineTable(own)) if own.is_dotted() => Some(match braces {
            Some((inside, all)) => Form::Dots {
                inside: inside.clone(),
                all: all.clone(),
            },
            None => Form::Lines,
        }),
        Item::Value(Value::InlineTable(own)) => {
            let span = own.span()?;
            Some(Form::Braces {
                inside: span.start + 1..span.end.saturating_sub(1),
            })
        }
        Item::Table(_) | Item::Value(_) | Item::ArrayOfTables(_) | Item::None => None,
    }
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
        if let Some(inner) = item.as_table_like().filter(|table| table.is_dotted()) {
            found.extend(pairs(text, inner));
            continue;
        }
        let pair = table.get_key_value(key);
        let spans = pair.and_then(|(key, item)| Some((key.span()?, item.span()?)));
        found.extend(spans.map(|(at, value)| Leaf {
            key: key.to_owned(),
            key_start: at.start,
            start: start(text, at.start),
            value,
        }));
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
    let begin = if let Some(quote) = quote {
        let opened = rest.strip_suffix(quote);
        opened.and_then(|rest| rest.rfind(quote))
    } else {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        Some(rest.trim_end_matches(bare).len())
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
    let line = lines::newline(text);
    let before = text.get(..at).unwrap_or_default();
    let mut new = String::new();
    if !before.is_empty() && !before.ends_with('\n') {
        new.push_str(line);
    }
    if !before.is_empty() && !lines::is_blank(lines::last(before)) {
        new.push_str(line);
    }
    let title = format!("[{}.{}]", Key::new(section), Key::new(name));
    for piece in [&title, line, pair, line] {
        new.push_str(piece);
    }
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
    let start = lines::start(text, header.start);
    let before = text.get(..start).unwrap_or_default();
    let above = lines::last(before);
    let after = text.get(end..).unwrap_or_default();
    let meets = lines::is_blank(after.split('\n').next().unwrap_or_default());
    if !above.is_empty() && lines::is_blank(above) && meets {
        start - above.len()..end
    } else {
        start..end
    }
}

/// Where a section ends: behind its last value, and behind the comments that follow right there. What
/// leads to the next section is not among them: comments down to its header, and from a header on that is
/// commented out.
fn whole_end(
    text: &str,
    document: &Document<&str>,
    header: &Range<usize>,
    values: &[Range<usize>],
) -> usize {
    let last = values.iter().map(|value| value.end).max();
    let end = lines::end(text, last.unwrap_or(header.end));
    let next = below(document.as_table()).into_iter();
    let next = next.map(|(header, _)| lines::start(text, header.start));
    let next = next.filter(|start| *start >= end).min();
    let gap = text
        .get(end..next.unwrap_or(text.len()))
        .unwrap_or_default();
    let mut comments = 0;
    for line in gap.split_inclusive('\n') {
        if lines::is_blank(line) || is_hidden_header(line) {
            return end + comments;
        }
        comments += line.len();
    }
    if next.is_none() { end + comments } else { end }
}

/// Whether a comment is the header of a section that somebody has taken out for now.
fn is_hidden_header(line: &str) -> bool {
    let inside = line.trim().trim_start_matches(['#', ' ', '\t']);
    let named = inside
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    named.is_some_and(|(name, rest)| {
        let word = |c: char| c.is_alphanumeric() || "-_.\"' [".contains(c);
        let rest = rest.trim_start_matches(']').trim_start();
        !name.is_empty() && name.chars().all(word) && (rest.is_empty() || rest.starts_with('#'))
    })
}
