//! What the runs would have cost.

use std::sync::Mutex;

use serde::Serialize;
use serde_json::{Value, json};

use super::locked;

/// The runs that RelayDance would have charged for, counted when they were accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bill {
    /// Video jobs. One that fails later stays counted, its money goes back.
    pub video: u64,
    /// Image requests (not pictures).
    pub images: u64,
    /// Speech and transcription requests.
    pub audio: u64,
    /// Embedding and reranking requests.
    pub embeddings: u64,
    /// Text requests in any dialect.
    pub chat: u64,
    /// US dollars, as far as the models have a price here.
    pub usd: f64,
}

impl Bill {
    /// All runs together.
    pub fn total(&self) -> u64 {
        self.video + self.images + self.audio + self.embeddings + self.chat
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "video": self.video, "images": self.images, "audio": self.audio,
            "embeddings": self.embeddings, "chat": self.chat, "total": self.total(), "usd": self.usd,
        })
    }
}

/// What a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Video,
    Images,
    Audio,
    Embeddings,
    Chat,
}

/// Adds up.
#[derive(Debug, Default)]
pub(super) struct Till(Mutex<Bill>);

impl Till {
    /// Counts one run.
    pub(super) fn charge(&self, kind: Kind, usd: f64) {
        let mut bill = locked(&self.0);
        let count = match kind {
            Kind::Video => &mut bill.video,
            Kind::Images => &mut bill.images,
            Kind::Audio => &mut bill.audio,
            Kind::Embeddings => &mut bill.embeddings,
            Kind::Chat => &mut bill.chat,
        };
        *count += 1;
        bill.usd += usd;
    }

    /// Everything so far, less what failed jobs gave back.
    pub(super) fn total(&self, refunded: f64) -> Bill {
        let bill = *locked(&self.0);
        Bill {
            usd: (bill.usd - refunded).max(0.0),
            ..bill
        }
    }
}

/// A model that the sandbox lists, and its price as of RelayDance's catalogue of 2026-09.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) id: &'static str,
    /// The gateway's word for where the model is served.
    pub(super) endpoint: &'static str,
    pub(super) price: Price,
}

/// US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Price {
    /// For a million tokens in and out.
    Tokens(f64, f64),
    /// For each second of video.
    Second(f64),
    /// For each picture.
    Image(f64),
}

const fn model(id: &'static str, endpoint: &'static str, price: Price) -> Model {
    Model {
        id,
        endpoint,
        price,
    }
}

/// The catalogue.
pub(super) const MODELS: &[Model] = &[
    model(
        "doubao-seedance-2-0-480p",
        "openai-video",
        Price::Tokens(8.75, 8.75),
    ),
    model(
        "doubao-seedance-2-0-720p",
        "openai-video",
        Price::Tokens(8.75, 8.75),
    ),
    model(
        "doubao-seedance-2-0-1080p",
        "openai-video",
        Price::Tokens(9.625, 9.625),
    ),
    model(
        "doubao-seedance-2-0-4k",
        "openai-video",
        Price::Tokens(5.0, 5.0),
    ),
    model(
        "doubao-seedance-2-0-fast-260128",
        "openai-video",
        Price::Tokens(7.0, 7.0),
    ),
    model(
        "doubao-seedance-2-5-720p",
        "openai-video",
        Price::Tokens(13.375, 13.375),
    ),
    model(
        "seedance-1-5-pro-with-audio",
        "openai-video",
        Price::Tokens(3.0, 3.0),
    ),
    model("happyhorse-1.0-t2v", "openai-video", Price::Second(0.1391)),
    model("grok-video-1.5", "openai-video", Price::Second(0.0368)),
    model(
        "grok-imagine-image",
        "image-generation",
        Price::Image(0.018),
    ),
    model(
        "gpt-image-2",
        "image-generation",
        Price::Tokens(7.5, 28.125),
    ),
    model("grok-4.5", "openai", Price::Tokens(2.5, 7.5)),
    model("claude-haiku-4-5", "anthropic", Price::Tokens(1.25, 6.25)),
    model("claude-sonnet-4-6", "anthropic", Price::Tokens(3.75, 18.75)),
    model("claude-opus-5", "anthropic", Price::Tokens(6.25, 31.25)),
];

/// What one run used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
    pub(super) seconds: f64,
    pub(super) images: u64,
}

/// What a run costs in dollars; 0 for a model that is not in the catalogue.
// Counts are small; a dollar's 52 bits are plenty.
#[allow(clippy::cast_precision_loss)]
pub(super) fn price(model: &str, usage: Usage) -> f64 {
    match MODELS
        .iter()
        .find(|known| known.id == model)
        .map(|known| known.price)
    {
        None => 0.0,
        Some(Price::Tokens(input, output)) => {
            (usage.tokens_in as f64 * input + usage.tokens_out as f64 * output) / 1e6
        }
        Some(Price::Second(usd)) => usage.seconds * usd,
        Some(Price::Image(usd)) => usage.images as f64 * usd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices() {
        let clip = Usage {
            tokens_out: 108_000,
            seconds: 5.0,
            ..Usage::default()
        };
        let chat = Usage {
            tokens_in: 1_000,
            tokens_out: 2_000,
            ..Usage::default()
        };
        let pictures = Usage {
            images: 3,
            ..Usage::default()
        };
        for (model, usage, expected) in [
            ("doubao-seedance-2-0-720p", clip, 0.945),
            ("happyhorse-1.0-t2v", clip, 0.6955),
            ("grok-4.5", chat, 0.0175),
            ("grok-imagine-image", pictures, 0.054),
            ("somebody-else-s", clip, 0.0),
        ] {
            assert!((price(model, usage) - expected).abs() < 1e-9, "{model}");
        }
    }

    #[test]
    fn a_refund_takes_money_back_and_no_count() {
        let till = Till::default();
        till.charge(Kind::Video, 0.5);
        till.charge(Kind::Chat, 0.25);
        let bill = till.total(0.5);
        assert_eq!((bill.video, bill.chat, bill.total()), (1, 1, 2));
        assert!((bill.usd - 0.25).abs() < 1e-9);
    }
}
