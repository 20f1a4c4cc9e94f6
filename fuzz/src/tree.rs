//! JSON as a tree, and when two of them ask for the same generation.

use std::collections::BTreeMap;

use reprise::generation::Kind;

use crate::reading::Reader;

/// A JSON value with nothing lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `null`
    Null,
    /// `true` or `false`
    Truth(bool),
    /// A number, by its value.
    Number(Number),
    /// A string, decoded.
    Text(String),
    /// An array.
    List(Vec<Tree>),
    /// An object; no name comes twice.
    Object(BTreeMap<String, Tree>),
}

/// A number by its decimal value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// `digits` × 10^`exponent`; zero has no digits.
    Plain {
        /// Below zero.
        negative: bool,
        /// Without zeros at either end.
        digits: String,
        /// The power of ten.
        exponent: i64,
    },
    /// One with an exponent beyond all use, as it is written: what equals it is not said.
    Huge(String),
}

/// What a body counts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// JSON, without what does not count.
    Json(Tree),
    /// Its bytes.
    Raw(Vec<u8>),
}

impl Tree {
    /// Whether there is a [`Number::Huge`] in it.
    pub fn has_huge(&self) -> bool {
        match self {
            Self::Number(number) => matches!(number, Number::Huge(_)),
            Self::List(items) => items.iter().any(Self::has_huge),
            Self::Object(members) => members.values().any(Self::has_huge),
            Self::Null | Self::Truth(_) | Self::Text(_) => false,
        }
    }
}

impl Meaning {
    /// Whether it equals `other`; `None` when that is not said.
    pub fn equals(&self, other: &Self) -> Option<bool> {
        let huge = |meaning: &Self| matches!(meaning, Self::Json(tree) if tree.has_huge());
        let certain = self == other || !(huge(self) || huge(other));
        certain.then(|| self == other)
    }
}

/// What `body` counts as for a generation of `kind`.
pub fn meaning(kind: Kind, body: &[u8]) -> Meaning {
    match read(body) {
        Some(tree) => Meaning::Json(counted(kind, tree)),
        None => Meaning::Raw(body.to_vec()),
    }
}

/// The tree of `body`; `None` when it is no JSON, repeats a name or is deeper than 127.
pub fn read(body: &[u8]) -> Option<Tree> {
    Reader::new(std::str::from_utf8(body).ok()?).whole()
}

/// `tree` without what does not count, and with what is the same written the same.
pub fn counted(kind: Kind, mut tree: Tree) -> Tree {
    let Tree::Object(members) = &mut tree else {
        return tree;
    };
    members.remove("user");
    members.remove("safety_identifier");
    if kind == Kind::Video {
        members.remove("callback_url");
        fold_seconds(members);
        drop_metadata(members);
    }
    tree
}

fn fold_seconds(members: &mut BTreeMap<String, Tree>) {
    let Some(Tree::Text(text)) = members.get("seconds") else {
        return;
    };
    let whole = text.bytes().all(|byte| byte.is_ascii_digit());
    // A "number of seconds" of more than a kilobyte is left as the text that it is.
    if whole && !text.is_empty() && !text.starts_with('0') && text.len() <= 1024 {
        let number = Number::plain(false, text, "", 0);
        members.insert("seconds".to_owned(), Tree::Number(number));
    }
}

fn drop_metadata(members: &mut BTreeMap<String, Tree>) {
    let Some(Tree::Object(metadata)) = members.get_mut("metadata") else {
        return;
    };
    for name in [
        "callback_url",
        "safety_identifier",
        "execution_expires_after",
        "priority",
        "service_tier",
    ] {
        metadata.remove(name);
    }
    if metadata.is_empty() {
        members.remove("metadata");
    }
}

impl Number {
    /// The number whose digits before and after the point are `whole` and `fraction`.
    pub fn plain(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Self {
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let shift = len(&all[digits.len()..]) - len(fraction);
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Self::Plain {
                negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        Self::Plain {
            negative,
            digits: digits.to_owned(),
            exponent: exponent + shift,
        }
    }
}

fn len(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}
