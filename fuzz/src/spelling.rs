//! The same JSON in other words: other order, other white space, other escapes, other numbers.

use std::fmt::Write;

use crate::tree::{Number, Tree};

/// Where the choices come from: the bytes of the input, over and over.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Choices<'a> {
    /// Choices by `bytes`; without any, always the first.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A number below `below`, which is not 0.
    pub fn next(&mut self, below: usize) -> usize {
        let byte = self.bytes.get(self.at % self.bytes.len().max(1));
        self.at += 1;
        usize::from(byte.copied().unwrap_or_default()) % below
    }
}

/// The one text of `tree`: names sorted, no white space, no needless escapes.
pub fn canonical(tree: &Tree) -> String {
    let mut out = String::new();
    Speller {
        out: &mut out,
        choices: None,
    }
    .tree(tree);
    out
}

/// Another text of `tree`, by `choices`.
pub fn other(tree: &Tree, choices: &mut Choices<'_>) -> String {
    let mut out = String::new();
    Speller {
        out: &mut out,
        choices: Some(choices),
    }
    .spaced(tree);
    out
}

struct Speller<'a, 'b> {
    out: &'a mut String,
    /// `None`: the canonical text.
    choices: Option<&'a mut Choices<'b>>,
}

impl Speller<'_, '_> {
    fn choose(&mut self, below: usize) -> usize {
        self.choices
            .as_mut()
            .map_or(0, |choices| choices.next(below))
    }

    fn spaced(&mut self, tree: &Tree) {
        self.space();
        self.tree(tree);
        self.space();
    }

    fn space(&mut self) {
        let space = ["", "", " ", "\n", "\t\r\n"][self.choose(5)];
        self.out.push_str(space);
    }

    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Null => self.out.push_str("null"),
            Tree::Truth(truth) => self.out.push_str(if *truth { "true" } else { "false" }),
            Tree::Number(number) => self.number(number),
            Tree::Text(text) => self.text(text),
            Tree::List(items) => {
                self.out.push('[');
                for (nth, item) in items.iter().enumerate() {
                    self.comma(nth);
                    self.spaced(item);
                }
                self.close(items.is_empty(), ']');
            }
            Tree::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                let turn = self.choose(members.len().max(1));
                members.rotate_left(turn);
                if self.choose(2) == 1 {
                    members.reverse();
                }
                self.out.push('{');
                for (nth, (name, value)) in members.iter().enumerate() {
                    self.comma(nth);
                    self.space();
                    self.text(name);
                    self.space();
                    self.out.push(':');
                    self.spaced(value);
                }
                self.close(members.is_empty(), '}');
            }
        }
    }

    fn comma(&mut self, nth: usize) {
        if nth > 0 {
            self.out.push(',');
        }
    }

    fn close(&mut self, empty: bool, end: char) {
        if empty {
            self.space();
        }
        self.out.push(end);
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            self.character(character);
        }
        self.out.push('"');
    }

    fn character(&mut self, character: char) {
        let needed = matches!(character, '"' | '\\' | '\0'..='\x1f');
        if !needed && self.choose(4) != 3 {
            self.out.push(character);
            return;
        }
        let short = match character {
            '"' | '\\' | '/' => Some(character),
            '\n' => Some('n'),
            '\t' => Some('t'),
            '\r' => Some('r'),
            '\x08' => Some('b'),
            '\x0c' => Some('f'),
            _ => None,
        };
        if let Some(short) = short.filter(|_| self.choose(2) == 0) {
            self.out.push('\\');
            self.out.push(short);
            return;
        }
        let upper = self.choose(2) == 1;
        for unit in character.encode_utf16(&mut [0; 2]) {
            let written = if upper {
                write!(self.out, "\\u{unit:04X}")
            } else {
                write!(self.out, "\\u{unit:04x}")
            };
            written.unwrap_or_default();
        }
    }

    fn number(&mut self, number: &Number) {
        let (negative, digits, exponent) = match number {
            Number::Huge(token) => return self.out.push_str(token),
            Number::Plain {
                negative,
                digits,
                exponent,
            } => (*negative, digits.as_str(), *exponent),
        };
        if digits.is_empty() {
            let zero = [
                "0",
                "-0",
                "0.0",
                "0e9",
                "-0.00E-7",
                "0E+999999999999999999999",
            ];
            let zero = zero[self.choose(6)];
            return self.out.push_str(zero);
        }
        if negative {
            self.out.push('-');
        }
        let shift = self.choose(4);
        let zeros = "0".repeat(shift);
        let moved = i64::try_from(shift).unwrap_or_default();
        let (text, exponent) = match self.choose(3) {
            0 => (format!("{digits}{zeros}"), exponent - moved),
            1 => (format!("{digits}.{zeros}0"), exponent),
            _ => {
                let length = i64::try_from(digits.len()).unwrap_or_default();
                (format!("0.{zeros}{digits}"), exponent + length + moved)
            }
        };
        self.out.push_str(&text);
        if exponent != 0 || self.choose(2) == 1 {
            let letter = ['e', 'E'][self.choose(2)];
            let plus = ["", "+"][self.choose(2)];
            let sign = if exponent < 0 { "-" } else { plus };
            let zeros = ["", "00"][self.choose(2)];
            let size = exponent.unsigned_abs();
            write!(self.out, "{letter}{sign}{zeros}{size}").unwrap_or_default();
        }
    }
}
