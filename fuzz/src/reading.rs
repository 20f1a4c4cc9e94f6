//! A plain recursive reader of JSON (RFC 8259).

use std::collections::BTreeMap;

use crate::tree::{Number, Tree};

const DEEPEST: usize = 127;
/// Exponents with more digits than this are left as they are written.
const LONGEST_EXPONENT: usize = 15;

pub(crate) struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(crate) fn whole(mut self) -> Option<Tree> {
        let tree = self.value(0)?;
        self.rest.is_empty().then_some(tree)
    }

    /// A value with the white space around it.
    fn value(&mut self, depth: usize) -> Option<Tree> {
        self.space();
        let tree = match self.rest.chars().next()? {
            '{' if depth < DEEPEST => self.object(depth + 1)?,
            '[' if depth < DEEPEST => self.list(depth + 1)?,
            '"' => Tree::Text(self.text()?),
            '-' | '0'..='9' => Tree::Number(self.number()?),
            _ => self.word()?,
        };
        self.space();
        Some(tree)
    }

    fn word(&mut self) -> Option<Tree> {
        let words = [
            ("null", Tree::Null),
            ("true", Tree::Truth(true)),
            ("false", Tree::Truth(false)),
        ];
        words
            .into_iter()
            .find_map(|(word, tree)| self.take(word).then_some(tree))
    }

    fn object(&mut self, depth: usize) -> Option<Tree> {
        let mut members = BTreeMap::new();
        self.take("{");
        self.space();
        if self.take("}") {
            return Some(Tree::Object(members));
        }
        loop {
            self.space();
            let name = self.text()?;
            self.space();
            if !self.take(":") {
                return None;
            }
            let value = self.value(depth)?;
            if members.insert(name, value).is_some() {
                return None;
            }
            if self.take("}") {
                return Some(Tree::Object(members));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Tree> {
        let mut items = Vec::new();
        self.take("[");
        self.space();
        if self.take("]") {
            return Some(Tree::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.take("]") {
                return Some(Tree::List(items));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    /// A string: `serde_json` knows all about escapes once its end is found.
    fn text(&mut self) -> Option<String> {
        let inside = self.rest.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let (token, rest) = self.rest.split_at(end + 2);
        self.rest = rest;
        serde_json::from_str(token).ok()
    }

    fn number(&mut self) -> Option<Number> {
        let before = self.rest;
        let negative = self.take("-");
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let fraction = if self.take(".") { self.digits()? } else { "" };
        let mut minus = false;
        let mut exponent = "";
        if self.take("e") || self.take("E") {
            minus = self.take("-");
            if !minus {
                self.take("+");
            }
            exponent = self.digits()?;
        }
        let exponent = exponent.trim_start_matches('0');
        let zero = whole.bytes().chain(fraction.bytes()).all(|d| d == b'0');
        if exponent.len() > LONGEST_EXPONENT && !zero {
            let token = &before[..before.len() - self.rest.len()];
            return Some(Number::Huge(token.to_owned()));
        }
        let exponent: i64 = exponent.parse().unwrap_or(0);
        let exponent = if minus { -exponent } else { exponent };
        Some(Number::plain(negative, whole, fraction, exponent))
    }

    fn digits(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|digit: char| !digit.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!digits.is_empty()).then_some(digits)
    }

    fn take(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}
