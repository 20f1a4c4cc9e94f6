//! What an answer says was used.

mod events;
mod job;
mod text;
mod tokens;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::generation::{Kind, json_members};

/// What a run used, as far as its answer tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens in.
    pub input: Option<u64>,
    /// Tokens out.
    pub output: Option<u64>,
    /// Tokens in all.
    pub total: Option<u64>,
    /// Seconds of what was made, or heard.
    pub seconds: Option<f64>,
    /// Bytes of text that a stream has brought which does not say how many tokens that is.
    pub text: Option<u64>,
    /// Pictures that were made.
    pub images: Option<u32>,
    /// It failed, and costs nothing.
    pub failed: bool,
}

impl Usage {
    /// Reads the answer to a generation of `kind`, or the last poll of a video job: JSON in every
    /// dialect, or an event stream. What cannot be read says nothing.
    ///
    /// The `quota` in a RelayDance poll is a hold, never money, and is not looked at.
    pub fn read(kind: Kind, body: &[u8]) -> Self {
        let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
        let usage = match (begins, kind) {
            (Some(b'{'), Kind::Video) => job::read(body),
            (Some(b'{'), _) => object(kind, body),
            (Some(b'[') | None, _) => Self::default(),
            (Some(_), _) => events::read(body),
        };
        let usage = usage.without_zeros();
        match begins {
            Some(b'{' | b'[') | None => usage,
            Some(_) if usage.output.is_some() || usage.total.is_some() => usage,
            Some(_) if kind != Kind::Chat => usage,
            Some(_) => Self {
                text: Some(events::text(body)).filter(|bytes| *bytes > 0),
                ..usage
            },
        }
    }

    /// MONEY: a gateway that was not told what was used says zero of everything. That is not what
    /// it charges.
    fn without_zeros(self) -> Self {
        let told = [self.input, self.output, self.total];
        if told.into_iter().flatten().any(|tokens| tokens > 0) {
            return self;
        }
        Self {
            input: None,
            output: None,
            total: None,
            ..self
        }
    }

    /// What both say together. Of a stream, later events count more tokens, never less; each picture
    /// has an event.
    fn with(self, more: Self) -> Self {
        let images = [self.images, more.images].into_iter().flatten();
        Self {
            input: self.input.max(more.input),
            output: self.output.max(more.output),
            total: self.total.max(more.total),
            seconds: more.seconds.or(self.seconds),
            text: self.text.or(more.text),
            images: images.reduce(u32::saturating_add),
            failed: self.failed || more.failed,
        }
    }
}

/// One JSON object, whole.
fn object(kind: Kind, body: &[u8]) -> Usage {
    let names = ["usage", "data", "duration", "error", "meta"];
    let Some([usage, data, duration, error, meta]) = json_members(body, names) else {
        return Usage::default();
    };
    // Rerankers of another family: `{"meta":{"tokens":{"input_tokens"}}}`.
    let meta = || {
        let [tokens] = json_members(meta?.get().as_bytes(), ["tokens"])?;
        tokens
    };
    let mut used = usage
        .filter(|usage| usage.get() != "null")
        .or_else(meta)
        .map_or_else(Usage::default, tokens::read);
    if kind == Kind::Images {
        used.images = data.and_then(length);
    }
    if kind == Kind::Audio && used.seconds.is_none() {
        used.seconds = duration.and_then(tokens::number);
    }
    used.failed = error.is_some_and(|error| error.get() != "null");
    used
}

/// How many items a list has.
fn length(list: &RawValue) -> Option<u32> {
    let items: Vec<IgnoredAny> = serde_json::from_str(list.get()).ok()?;
    u32::try_from(items.len()).ok()
}
