//! What the members of a request say about its size, noted one by one.

use serde_json::value::RawValue;

use super::super::{Kind, top};
use super::{Extent, FPS, Quality, frame};

/// The longest clip that any model makes when it chooses the length itself, in seconds.
const LONGEST_CHOSEN: u32 = 15;
/// The longest clip that is believed, in seconds.
const LONGEST: f64 = 600.0;
/// Most results of one request that are believed.
const MOST: u32 = 128;
/// A longer text says no size.
const LONGEST_WORD: usize = 64;

/// A member that says something about the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::generation) enum Member {
    Duration,
    Seconds,
    InnerDuration,
    Frames,
    Resolution,
    Ratio,
    Size,
    Count,
    Quality,
    MaxTokens,
}

impl Member {
    /// Every one that stands at the top of a body, by name.
    pub(in crate::generation) const TOP: [(&'static str, Self); 8] = [
        ("duration", Self::Duration),
        ("seconds", Self::Seconds),
        ("size", Self::Size),
        ("n", Self::Count),
        ("quality", Self::Quality),
        ("max_tokens", Self::MaxTokens),
        ("max_completion_tokens", Self::MaxTokens),
        ("max_output_tokens", Self::MaxTokens),
    ];

    /// Every one that stands in a video's `metadata`, by name.
    const METADATA: [(&'static str, Self); 4] = [
        ("duration", Self::InnerDuration),
        ("frames", Self::Frames),
        ("resolution", Self::Resolution),
        ("ratio", Self::Ratio),
    ];

    /// The one called `name` at the top of a body.
    pub(in crate::generation) fn at_top(name: &[u8]) -> Option<Self> {
        find(&Self::TOP, name)
    }

    /// The one called `name` in a video's `metadata`.
    pub(in crate::generation) fn in_metadata(name: &[u8]) -> Option<Self> {
        find(&Self::METADATA, name)
    }

    /// The one that the form field `name` is. In a video's form every field that has no place at the
    /// top belongs to `metadata` (RelayDance).
    pub(in crate::generation) fn in_form(kind: Kind, name: &[u8]) -> Option<Self> {
        let inner = |name| (kind == Kind::Video).then(|| Self::in_metadata(name))?;
        let nested = name
            .strip_prefix(b"metadata[")
            .and_then(|rest| rest.strip_suffix(b"]"));
        match nested {
            Some(nested) => inner(nested),
            None => Self::at_top(name).or_else(|| inner(name)),
        }
    }
}

fn find(members: &[(&'static str, Member)], name: &[u8]) -> Option<Member> {
    // RelayDance takes names in any case, and charges by what it takes.
    let name = std::str::from_utf8(name).ok()?;
    let mut members = members.iter();
    let found = members.find(|(known, _)| top::is_called(name, known));
    found.map(|(_, member)| *member)
}

/// A value as far as it may say a size.
#[derive(Clone, Copy, Debug)]
pub(in crate::generation) enum Value<'a> {
    /// A string's text, or a form's field.
    Text(&'a [u8]),
    /// Anything else as it is written.
    Other(&'a [u8]),
}

impl Value<'_> {
    /// A text that is short enough to say a size.
    fn word(&self) -> Option<&str> {
        match self {
            Self::Text(text) if text.len() <= LONGEST_WORD => {
                std::str::from_utf8(text).ok().map(str::trim)
            }
            Self::Text(_) | Self::Other(_) => None,
        }
    }

    /// A number, also one that is written as text. However long it is written, it is the same.
    fn number(&self) -> Option<f64> {
        let digits = match self {
            Self::Text(_) => self.word()?,
            Self::Other([b'-' | b'0'..=b'9', ..]) => self.token()?,
            Self::Other(_) => return None,
        };
        digits
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    }

    fn token(&self) -> Option<&str> {
        let (Self::Text(bytes) | Self::Other(bytes)) = self;
        std::str::from_utf8(bytes).ok()
    }
}

/// What was said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::generation) struct Said {
    duration: Option<f64>,
    seconds: Option<f64>,
    inner_duration: Option<f64>,
    frames: Option<f64>,
    resolution: Option<u32>,
    ratio: Option<(u32, u32)>,
    size: Option<(u32, u32)>,
    count: Option<f64>,
    quality: Quality,
    max_tokens: Option<u32>,
}

impl Said {
    /// Notes what `member` says. Nonsense says nothing, and leaves what was said before.
    pub(in crate::generation) fn note(&mut self, member: Member, value: Value<'_>) {
        match member {
            Member::Duration => set(&mut self.duration, value.number()),
            Member::Seconds => set(&mut self.seconds, value.number()),
            Member::InnerDuration => set(&mut self.inner_duration, value.number()),
            Member::Frames => set(&mut self.frames, value.number()),
            Member::Resolution => set(
                &mut self.resolution,
                value.word().and_then(frame::resolution),
            ),
            Member::Ratio => set(&mut self.ratio, value.word().and_then(frame::ratio)),
            Member::Size => set(&mut self.size, value.word().and_then(frame::size)),
            Member::Count => set(&mut self.count, value.number()),
            Member::Quality => self.quality = quality(value.word()),
            Member::MaxTokens => self.max_tokens = self.max_tokens.max(value.number().map(whole)),
        }
    }

    /// Notes what the members of a video's `metadata` say, when this is the text of an object.
    pub(in crate::generation) fn note_metadata(&mut self, text: &[u8]) {
        let names = Member::METADATA.map(|(name, _)| name);
        let found = top::loosely(text, names).into_iter().flatten();
        for ((_, member), said) in Member::METADATA.into_iter().zip(found) {
            self.note_raw(member, said);
        }
    }

    /// Notes what `member` says, as it is written in JSON.
    pub(in crate::generation) fn note_raw(&mut self, member: Member, said: Option<&RawValue>) {
        match said.map(|said| (top::text(said), said)) {
            Some((Some(text), _)) => self.note(member, Value::Text(text.as_bytes())),
            Some((None, said)) => self.note(member, Value::Other(said.get().as_bytes())),
            None => {}
        }
    }

    /// What comes of it for a request of `kind` with `body` bytes.
    pub(in crate::generation) fn extent(
        &self,
        kind: Kind,
        model: Option<&str>,
        body: u64,
    ) -> Extent {
        let (width, height) = match kind {
            Kind::Video => self.clip(model),
            Kind::Images | Kind::Audio | Kind::Embeddings | Kind::Chat => {
                self.size.unwrap_or((1024, 1024))
            }
        };
        Extent {
            frames: self.frames(model),
            fps: FPS,
            width,
            height,
            count: self.count.map_or(1, whole).clamp(1, MOST),
            quality: self.quality,
            max_tokens: self.max_tokens,
            body,
        }
    }

    /// `metadata.frames`, else the length: `duration` before `seconds` before `metadata.duration`
    /// (RelayDance), else five seconds.
    ///
    /// MONEY: a length that the model may choose (-1, and what Seedance 2.5 does without one) counts
    /// as the longest that it chooses.
    fn frames(&self, model: Option<&str>) -> u32 {
        let most = LONGEST * f64::from(FPS);
        if let Some(frames) = self.frames.filter(|frames| *frames >= 1.0) {
            return whole(frames.min(most));
        }
        let asked = [self.duration, self.seconds, self.inner_duration];
        let mut asked = asked.into_iter().flatten();
        let chooses = || model.is_some_and(|model| model.contains("seedance-2-5"));
        let seconds = match asked.find(|seconds| *seconds > 0.0 || is_choice(*seconds)) {
            Some(seconds) if seconds > 0.0 => seconds.min(LONGEST),
            Some(_) => f64::from(LONGEST_CHOSEN),
            None if chooses() => f64::from(LONGEST_CHOSEN),
            None => 5.0,
        };
        whole((seconds * f64::from(FPS)).ceil()).max(1)
    }

    /// The picture of a clip: by `metadata.resolution`, else by the model's name, else by `size`.
    fn clip(&self, model: Option<&str>) -> (u32, u32) {
        let by_name = || model.and_then(frame::of_model);
        match (self.resolution.or_else(by_name), self.size) {
            (Some(height), _) => frame::sides(height, self.ratio.unwrap_or((16, 9))),
            (None, Some(size)) => size,
            (None, None) => frame::sides(frame::USUAL, self.ratio.unwrap_or((16, 9))),
        }
    }
}

fn set<T>(said: &mut Option<T>, now: Option<T>) {
    if now.is_some() {
        *said = now;
    }
}

/// -1: the model chooses.
fn is_choice(seconds: f64) -> bool {
    (seconds + 1.0).abs() < f64::EPSILON
}

/// The nearest whole number from 0 to four billion.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and below zero is nothing"
)]
fn whole(number: f64) -> u32 {
    number.round() as u32
}

fn quality(word: Option<&str>) -> Quality {
    match word {
        Some("low") => Quality::Low,
        Some("medium" | "standard") => Quality::Medium,
        Some("high" | "hd") => Quality::High,
        Some(_) | None => Quality::Auto,
    }
}
