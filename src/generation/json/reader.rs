//! The grammar of JSON (RFC 8259), read once from left to right.

use std::borrow::Cow;

use super::encoding::{ARRAY, EMPTY_OBJECT, Encoding, FALSE, NULL, TEXT, TRUE, ZERO};
use super::number::{self, Number};
use super::{NotCanonical, text};
use crate::generation::extent::{Member, Value};
use crate::generation::facts::Facts;
use crate::generation::{Kind, left_out, metadata};

/// What a body means.
pub(in crate::generation) struct Reading {
    /// The canonical encoding: at most about a kilobyte, equal exactly for equal meanings.
    pub(in crate::generation) encoding: Vec<u8>,
    pub(in crate::generation) facts: Facts,
}

/// Arrays and objects inside one another; as many as `serde_json` reads.
const DEEPEST: u8 = 127;

/// Reads `body` as a request of this kind; `None` when it has to be hashed as its raw bytes.
pub(in crate::generation) fn read(body: &[u8], kind: Kind) -> Option<Reading> {
    std::str::from_utf8(body).ok()?;
    let mut reader = Reader {
        body,
        at: 0,
        kind,
        out: Encoding::for_body(body.len()),
        facts: Facts::unread(body),
    };
    reader.whole().ok()?;
    Some(Reading {
        encoding: reader.out.into_bytes(),
        facts: reader.facts,
    })
}

struct Reader<'a> {
    /// UTF-8.
    body: &'a [u8],
    at: usize,
    kind: Kind,
    out: Encoding,
    facts: Facts,
}

/// Where a value stands, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The body itself.
    Top,
    /// A member of the body.
    Member(Name),
    /// Deeper.
    Inside,
}

/// The top-level members that mean something to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    /// In any case, as RelayDance reads it.
    Model,
    Stream,
    Temperature,
    Seed,
    Seconds,
    Metadata,
    /// `Metadata` and the like, which RelayDance reads as `metadata`. All of it counts.
    MetadataLoosely,
    Other,
}

impl Name {
    fn of(key: Option<&[u8]>) -> Self {
        match key {
            Some(b"stream") => Self::Stream,
            Some(b"temperature") => Self::Temperature,
            Some(b"seed") => Self::Seed,
            Some(b"seconds") => Self::Seconds,
            Some(b"metadata") => Self::Metadata,
            Some(key) if key.eq_ignore_ascii_case(b"model") => Self::Model,
            Some(key) if key.eq_ignore_ascii_case(b"metadata") => Self::MetadataLoosely,
            Some(_) | None => Self::Other,
        }
    }
}

impl Reader<'_> {
    fn whole(&mut self) -> Result<(), NotCanonical> {
        self.skip_space();
        self.value(0, Place::Top)?;
        self.skip_space();
        if self.at == self.body.len() {
            Ok(())
        } else {
            Err(NotCanonical)
        }
    }

    /// Reads the value that starts here, inside `depth` others.
    fn value(&mut self, depth: u8, place: Place) -> Result<(), NotCanonical> {
        match self.peek() {
            Some(b'{') => self.object(depth, place),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word(b"null", NULL),
            Some(b't') => self.word(b"true", TRUE),
            Some(b'f') => self.word(b"false", FALSE),
            Some(_) | None => Err(NotCanonical),
        }
    }

    fn array(&mut self, depth: u8) -> Result<(), NotCanonical> {
        if depth >= DEEPEST {
            return Err(NotCanonical);
        }
        let mut open = self.out.open(ARRAY);
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.value(depth + 1, Place::Inside)?;
                self.out.settle(&mut open);
                if !self.another(b']')? {
                    break;
                }
            }
        }
        self.out.close(open);
        Ok(())
    }

    fn object(&mut self, depth: u8, place: Place) -> Result<(), NotCanonical> {
        if depth >= DEEPEST {
            return Err(NotCanonical);
        }
        let open = self.out.open_object();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                self.member(depth + 1, place)?;
                if !self.another(b'}')? {
                    break;
                }
            }
        }
        self.out.close_object(&open)
    }

    /// Reads one member of an object that stands at `place`.
    fn member(&mut self, depth: u8, place: Place) -> Result<(), NotCanonical> {
        if self.peek() != Some(b'"') {
            return Err(NotCanonical);
        }
        let key = self.out.mark();
        self.string()?;
        let value = self.out.mark();
        let name = self.out.text_at(key);
        let (inside, left_out, sized) = match place {
            Place::Top => {
                let known = Name::of(name);
                let left_out = name.is_some_and(|name| left_out::at_top(self.kind, name));
                let sized = name.and_then(Member::at_top);
                (Place::Member(known), left_out, sized)
            }
            Place::Member(Name::Metadata) if self.kind == Kind::Video => {
                let left_out = name.is_some_and(left_out::in_metadata);
                (Place::Inside, left_out, name.and_then(Member::in_metadata))
            }
            Place::Member(Name::MetadataLoosely) if self.kind == Kind::Video => {
                (Place::Inside, false, name.and_then(Member::in_metadata))
            }
            Place::Member(_) | Place::Inside => (Place::Inside, false, None),
        };
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(NotCanonical);
        }
        self.at += 1;
        self.skip_space();
        let written = self.at;
        self.value(depth, inside)?;
        if let Some(member) = sized {
            self.note_size(member, value, written);
        }
        let absent = match inside {
            Place::Member(name) => self.weigh(name, value, written),
            Place::Top | Place::Inside => false,
        };
        self.out.add_member(key, value, !left_out && !absent)
    }

    /// Notes what the top-level member `name`, whose value stood at `from` and has just been written
    /// at `value`, says about the request. True when the member counts as absent.
    fn weigh(&mut self, name: Name, value: usize, from: usize) -> bool {
        let encoded = self.out.since(value);
        match name {
            Name::Model => {
                if let Some(model) = self.out.text_at(value) {
                    self.facts.note_model(model);
                }
            }
            Name::Stream => self.facts.stream = encoded == [TRUE],
            Name::Temperature => self.facts.deterministic |= encoded == ZERO,
            Name::Seed => self.facts.deterministic |= encoded != [NULL],
            Name::Seconds => self.fold_seconds(value),
            Name::Metadata => return encoded == EMPTY_OBJECT || self.fold_metadata(value, from),
            Name::MetadataLoosely => self.note_metadata_text(from),
            Name::Other => {}
        }
        false
    }

    /// Notes what a member whose value stood at `from` and has just been written at `value` says of
    /// the request's size.
    fn note_size(&mut self, member: Member, value: usize, from: usize) {
        let said = match self.out.text_at(value) {
            Some(text) => Value::Text(text),
            None => Value::Other(self.body.get(from..self.at).unwrap_or_default()),
        };
        self.facts.size.note(member, said);
    }

    /// A whole number of seconds is the same as a string and as a number: the documentation says
    /// string, clients send both. Only for video, and only in the one way a number is printed.
    fn fold_seconds(&mut self, value: usize) {
        let Some(digits) = self.out.text_at(value) else {
            return;
        };
        if self.kind != Kind::Video
            || !matches!(digits, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit))
        {
            return;
        }
        let digits = digits.to_vec();
        self.out.take_back(value);
        number::write(&Number::whole(&digits), &mut self.out);
    }

    /// A video's `metadata` may be the text of an object. True when it counts as absent.
    fn fold_metadata(&mut self, value: usize, from: usize) -> bool {
        let token = self.body.get(from..self.at).unwrap_or_default();
        if self.kind != Kind::Video || token.first() != Some(&b'"') {
            return false;
        }
        let Ok(text) = serde_json::from_slice::<String>(token) else {
            return false;
        };
        self.facts.size.note_metadata(text.as_bytes());
        match metadata::counted(&text) {
            None => return true,
            Some(Cow::Borrowed(_)) => {}
            Some(Cow::Owned(rest)) => {
                self.out.take_back(value);
                let mut open = self.out.open(TEXT);
                self.out.put(&mut open, rest.as_bytes());
                self.out.close(open);
            }
        }
        false
    }

    /// Notes what a video's `Metadata` says that is the text of an object.
    fn note_metadata_text(&mut self, from: usize) {
        let token = self.body.get(from..self.at).unwrap_or_default();
        if self.kind == Kind::Video
            && let Ok(text) = serde_json::from_slice::<String>(token)
        {
            self.facts.size.note_metadata(text.as_bytes());
        }
    }

    fn string(&mut self) -> Result<(), NotCanonical> {
        self.at = text::read(self.body, self.at, &mut self.out)?;
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotCanonical> {
        let (number, end) = number::read(self.body, self.at)?;
        self.at = end;
        number::write(&number, &mut self.out);
        Ok(())
    }

    fn word(&mut self, word: &[u8], tag: u8) -> Result<(), NotCanonical> {
        if !self
            .body
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            return Err(NotCanonical);
        }
        self.at += word.len();
        self.out.word(tag);
        Ok(())
    }

    /// After an element: is there another one, or does `end` stand here?
    fn another(&mut self, end: u8) -> Result<bool, NotCanonical> {
        self.skip_space();
        let found = self.peek().ok_or(NotCanonical)?;
        self.at += 1;
        if found == b',' {
            self.skip_space();
            Ok(true)
        } else if found == end {
            Ok(false)
        } else {
            Err(NotCanonical)
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }
}
