//! What the runs would have cost.

use std::collections::VecDeque;
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
    /// US dollars, as far as the models have a price here; whole billionths of one.
    pub usd: f64,
}

/// One run that was charged.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// The model that it named.
    pub model: String,
    /// The job, of a video.
    pub task: Option<String>,
    /// US dollars. A job that fails later gets them back; this stays.
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

/// Runs that are remembered one by one; the oldest are forgotten.
const CHARGES: usize = 100_000;

/// Adds up.
#[derive(Debug, Default)]
pub(super) struct Till(Mutex<Takings>);

#[derive(Debug, Default)]
struct Takings {
    /// The counts. The dollars are beside them, so that their sum is exact.
    runs: Bill,
    billionths: u64,
    charges: VecDeque<Charge>,
}

impl Till {
    /// Counts one run of `model`, and gives what it costs.
    pub(super) fn charge(&self, kind: Kind, model: &str, usage: Usage) -> f64 {
        let usd = price(model, usage);
        self.take(
            kind,
            Charge {
                model: model.to_owned(),
                task: None,
                usd,
            },
        );
        usd
    }

    /// Counts one run.
    pub(super) fn take(&self, kind: Kind, charge: Charge) {
        let mut takings = locked(&self.0);
        let count = match kind {
            Kind::Video => &mut takings.runs.video,
            Kind::Images => &mut takings.runs.images,
            Kind::Audio => &mut takings.runs.audio,
            Kind::Embeddings => &mut takings.runs.embeddings,
            Kind::Chat => &mut takings.runs.chat,
        };
        *count += 1;
        takings.billionths += billionths(charge.usd);
        if takings.charges.len() >= CHARGES {
            takings.charges.pop_front();
        }
        takings.charges.push_back(charge);
    }

    /// Everything so far, less the billionths that failed jobs gave back.
    pub(super) fn total(&self, refunded: u64) -> Bill {
        let takings = locked(&self.0);
        Bill {
            usd: dollars(takings.billionths.saturating_sub(refunded)),
            ..takings.runs
        }
    }

    /// Every run, the oldest first.
    pub(super) fn charges(&self) -> Vec<Charge> {
        locked(&self.0).charges.iter().cloned().collect()
    }
}

/// Dollars in whole billionths.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn billionths(usd: f64) -> u64 {
    (usd * 1e9).round() as u64
}

// What is billed here stays far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn dollars(billionths: u64) -> f64 {
    billionths as f64 / 1e9
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

const fn video(id: &'static str, price: Price) -> Model {
    model(id, "openai-video", price)
}

/// The catalogue.
#[rustfmt::skip] // one model, one line
pub(super) const MODELS: &[Model] = &[
    video("doubao-seedance-2-0-480p", Price::Tokens(8.75, 8.75)),
    video("doubao-seedance-2-0-720p", Price::Tokens(8.75, 8.75)),
    video("doubao-seedance-2-0-1080p", Price::Tokens(9.625, 9.625)),
    video("doubao-seedance-2-0-4k", Price::Tokens(5.0, 5.0)),
    video("doubao-seedance-2-0-fast-260128", Price::Tokens(7.0, 7.0)),
    video("doubao-seedance-2-0-mini-480p", Price::Tokens(4.375, 4.375)),
    video("doubao-seedance-2-0-mini-720p", Price::Tokens(4.375, 4.375)),
    video("doubao-seedance-2-5-480p", Price::Tokens(13.375, 13.375)),
    video("doubao-seedance-2-5-720p", Price::Tokens(13.375, 13.375)),
    video("seedance-1-5-pro-no-audio", Price::Tokens(1.5, 1.5)),
    video("seedance-1-5-pro-with-audio", Price::Tokens(3.0, 3.0)),
    video("minimax-h3-768p", Price::Tokens(4.629_63, 4.629_63)),
    video("minimax-h3-2k", Price::Tokens(7.523_148, 7.523_148)),
    video("happyhorse-1.0-t2v", Price::Second(0.1391)),
    video("happyhorse-1.0-i2v", Price::Second(0.1391)),
    video("happyhorse-1.0-r2v", Price::Second(0.1391)),
    video("happyhorse-1.0-video-edit", Price::Second(0.1391)),
    video("grok-video-1.5", Price::Second(0.0368)),
    video("grok-image-video", Price::Second(0.0184)),
    model("grok-imagine-image", "image-generation", Price::Image(0.018)),
    model("grok-imagine-image-quality", "image-generation", Price::Image(0.045)),
    model("gpt-image-2", "image-generation", Price::Tokens(7.5, 28.125)),
    model("grok-4.5", "openai", Price::Tokens(2.5, 7.5)),
    model("grok-4.3", "openai", Price::Tokens(1.125, 2.25)),
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

/// What a run costs in dollars, in whole billionths; 0 for a model that is not in the catalogue.
// Counts are small; a dollar's 52 bits are plenty.
#[allow(clippy::cast_precision_loss)]
pub(super) fn price(model: &str, usage: Usage) -> f64 {
    let known = MODELS.iter().find(|known| known.id == model);
    let usd = match known.map(|known| known.price) {
        None => 0.0,
        Some(Price::Tokens(input, output)) => {
            (usage.tokens_in as f64 * input + usage.tokens_out as f64 * output) / 1e6
        }
        Some(Price::Second(usd)) => usage.seconds * usd,
        Some(Price::Image(usd)) => usage.images as f64 * usd,
    };
    dollars(billionths(usd))
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
        let text = Usage {
            tokens_in: 100_000,
            ..Usage::default()
        };
        let clip = Charge {
            model: "m".into(),
            task: Some("task_1".into()),
            usd: 0.5,
        };
        till.take(Kind::Video, clip.clone());
        assert!((till.charge(Kind::Chat, "grok-4.5", text) - 0.25).abs() < 1e-9);
        assert_eq!((till.charges().len(), &till.charges()[0]), (2, &clip));
        let bill = till.total(500_000_000);
        assert_eq!((bill.video, bill.chat, bill.total()), (1, 1, 2));
        assert!((bill.usd - 0.25).abs() < 1e-9);
    }
}
