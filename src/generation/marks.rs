//! What an event says about the stream it stands in.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::path;

/// What one event means for its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing.
    None,
    /// The last event.
    End,
    /// The last event of one result; there may be more results.
    MaybeEnd,
    /// The generation failed.
    Error,
}

impl Mark {
    /// What an event is that says this and `other`: its data and its name may each tell.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Error, _) | (_, Self::Error) => Self::Error,
            (Self::None, other) => other,
            (Self::End | Self::MaybeEnd, _) => self,
        }
    }
}

/// The words that end a stream. `data: [DONE]` ends every one (OpenAI); a stream whose events have
/// a type ends with one of these (OpenAI, Anthropic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vocabulary {
    Responses,
    Messages,
    Images,
    Speech,
    Transcription,
    /// Only `[DONE]`.
    Plain,
}

impl Vocabulary {
    pub(super) fn of(path: &str) -> Self {
        let segments = path::split_then_decode(path);
        let last = segments.last().map(AsRef::as_ref);
        match last {
            Some(b"responses") => Self::Responses,
            Some(b"messages") => Self::Messages,
            Some(b"speech") => Self::Speech,
            Some(b"transcriptions" | b"translations") => Self::Transcription,
            _ if segments.iter().any(|segment| **segment == *b"images") => Self::Images,
            _ => Self::Plain,
        }
    }

    /// The types of event that may be the last.
    fn ends(self) -> &'static [&'static str] {
        match self {
            Self::Responses => &["response.completed", "response.incomplete"],
            Self::Messages => &["message_stop"],
            Self::Images => &["image_generation.completed", "image_edit.completed"],
            Self::Speech => &["speech.audio.done"],
            Self::Transcription => &["transcript.text.done"],
            Self::Plain => &[],
        }
    }

    /// What the type `name` of an event means.
    pub(super) fn name(self, name: &[u8]) -> Mark {
        match name.trim_ascii() {
            b"error" | b"response.failed" => Mark::Error,
            name if self.ends().iter().any(|end| end.as_bytes() == name) => {
                if self == Self::Images {
                    Mark::MaybeEnd
                } else {
                    Mark::End
                }
            }
            _ => Mark::None,
        }
    }

    /// What the data of an event means. It may be cut off.
    pub(super) fn data(self, data: &[u8]) -> Mark {
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            return Mark::End;
        }
        // Most events are a few more words of text: parse only what can matter.
        let mut words = ["error", "response.failed"].iter().chain(self.ends());
        if !words.any(|word| memchr::memmem::find(data, word.as_bytes()).is_some()) {
            return Mark::None;
        }
        let mut seen = Seen::default();
        // An error here is the end of what was kept of a long event; what came before it counts.
        let _cut = serde_json::Deserializer::from_slice(data).deserialize_map(&mut seen);
        let kind = seen
            .kind
            .map_or(Mark::None, |kind| self.name(kind.as_bytes()));
        if seen.error { Mark::Error } else { kind }
    }
}

/// What the top level of an event's data holds, as far as it could be read.
#[derive(Default)]
struct Seen {
    kind: Option<String>,
    error: bool,
}

impl<'de> Visitor<'de> for &mut Seen {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*key {
                "type" => self.kind = map.next_value::<Word>()?.0,
                "error" => map.next_value_seed(IsSet(&mut self.error))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A string, or nothing of interest.
struct Word(Option<String>);

impl<'de> serde::Deserialize<'de> for Word {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(reader)?;
        Ok(Self(value.as_str().map(str::to_owned)))
    }
}

/// Notes that a value is not null as soon as it begins: it may be cut off.
struct IsSet<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for IsSet<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for IsSet<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        *self.0 = true;
        reader.deserialize_ignored_any(IgnoredAny)?;
        Ok(())
    }
}
