//! From what was used, or will be, to dollars.

use super::{Price, Usage, Usd};
use crate::generation::{Extent, Kind, Quality};

/// Tokens that a text takes, roughly, as bytes for each.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens that are expected of a text whose length is not bounded.
const USUAL_TOKENS: u64 = 1000;
/// More tokens of one run are not believed.
const MOST_TOKENS: u64 = 1 << 40;

/// What a request will cost.
///
/// A clip's tokens are width × height × frames / 1024 (Seedance); a text's are its bytes / 4 in, and
/// the most that may come out, else 1,000.
pub fn estimate(price: &Price, kind: Kind, extent: &Extent) -> Usd {
    cost(price, kind, extent, &Usage::default())
}

/// What a run has cost, by what its answer says was used; what it does not say is estimated.
pub fn cost(price: &Price, kind: Kind, extent: &Extent, usage: &Usage) -> Usd {
    if usage.failed {
        return Usd::ZERO;
    }
    let (input, output) = tokens(kind, extent, usage);
    let images = match kind {
        Kind::Images => usage.images.unwrap_or(extent.count),
        Kind::Video | Kind::Audio | Kind::Embeddings | Kind::Chat => 0,
    };
    let seconds = match kind {
        Kind::Video => usage.seconds.unwrap_or_else(|| extent.seconds()),
        Kind::Audio => usage.seconds.unwrap_or_default(),
        Kind::Images | Kind::Embeddings | Kind::Chat => 0.0,
    };
    let parts = [
        (price.per_million_tokens, millions(input + output)),
        (price.input_per_million, millions(input)),
        (price.output_per_million, millions(output)),
        (price.per_second, seconds.clamp(0.0, 1e9)),
        (price.per_image, f64::from(images)),
        (price.per_request, 1.0),
    ];
    let dollars = parts.map(|(price, amount)| price.unwrap_or_default() * amount);
    Usd::from_dollars(dollars.iter().sum())
}

/// Tokens in and out.
fn tokens(kind: Kind, extent: &Extent, usage: &Usage) -> (u64, u64) {
    let (expected_in, expected_out) = expected(kind, extent);
    let rest = |part: Option<u64>| Some(usage.total?.saturating_sub(part?));
    let input = usage.input.or_else(|| rest(usage.output));
    let output = usage.output.or_else(|| rest(usage.input));
    let (input, output) = match (input, output, usage.total) {
        (None, None, Some(total)) => match kind {
            Kind::Video | Kind::Images | Kind::Audio => (0, total),
            Kind::Embeddings => (total, 0),
            // The dearer ones are those that come out.
            Kind::Chat => {
                let input = expected_in.min(total);
                (input, total - input)
            }
        },
        (input, output, total) => {
            let input = input.unwrap_or(expected_in);
            // What came, where a stream does not say what was used: never more than was asked for.
            let most = extent.max_tokens.map_or(MOST_TOKENS, |_| expected_out);
            let came = || Some(usage.text?.div_ceil(BYTES_PER_TOKEN).min(most));
            let output = output.or_else(came).unwrap_or(expected_out);
            // Some count what a model thinks to itself in the sum alone.
            let rest = total.unwrap_or_default().saturating_sub(input);
            (input, output.max(rest))
        }
    };
    (input.min(MOST_TOKENS), output.min(MOST_TOKENS))
}

/// The tokens in and out that a request of this extent is expected to take.
fn expected(kind: Kind, extent: &Extent) -> (u64, u64) {
    let text = extent.body.div_ceil(BYTES_PER_TOKEN);
    let count = u64::from(extent.count);
    let most = extent.max_tokens.map_or(USUAL_TOKENS, u64::from);
    match kind {
        Kind::Video => (0, clip(extent)),
        Kind::Images => (text, picture(extent) * count),
        Kind::Audio | Kind::Embeddings => (text, 0),
        Kind::Chat => (text, most * count),
    }
}

/// The tokens of a clip.
fn clip(extent: &Extent) -> u64 {
    let area = u64::from(extent.width) * u64::from(extent.height);
    area.saturating_mul(u64::from(extent.frames)) / 1024
}

/// The tokens of one picture, as OpenAI's image models count them: by quality and shape. The best
/// quality is expected where the model chooses.
fn picture(extent: &Extent) -> u64 {
    let square = extent.width == extent.height;
    match (extent.quality, square) {
        (Quality::Low, true) => 272,
        (Quality::Low, false) => 408,
        (Quality::Medium, true) => 1056,
        (Quality::Medium, false) => 1584,
        (Quality::High | Quality::Auto, true) => 4160,
        (Quality::High | Quality::Auto, false) => 6240,
    }
}

/// A million tokens is 1.
#[expect(clippy::cast_precision_loss, reason = "exact to 2^53 tokens")]
fn millions(tokens: u64) -> f64 {
    tokens as f64 / 1e6
}
