//! The built-in prices, in US dollars.
//!
//! From RelayDance's public list (`https://relaydance.com/api/pricing`, group `default`), as it was
//! on [`AS_OF`]; models that had left it by then are priced as on 2026-06-14. The list moves:
//! `reprise prices update` reads it anew, and a price in `proxy.toml` goes before one here.

use super::Price;

/// The day of the list.
pub const AS_OF: &str = "2026-09-06";

/// What no form says.
const UNSAID: Price = Price {
    per_million_tokens: None,
    per_second: None,
    per_image: None,
    per_request: None,
    input_per_million: None,
    output_per_million: None,
};

/// For a million tokens of any kind.
const fn tokens(usd: f64) -> Price {
    Price {
        per_million_tokens: Some(usd),
        ..UNSAID
    }
}

/// For a million tokens in, and a million out.
const fn text(input: f64, output: f64) -> Price {
    Price {
        input_per_million: Some(input),
        output_per_million: Some(output),
        ..UNSAID
    }
}

/// For a second.
const fn second(usd: f64) -> Price {
    Price {
        per_second: Some(usd),
        ..UNSAID
    }
}

/// For a picture.
const fn image(usd: f64) -> Price {
    Price {
        per_image: Some(usd),
        ..UNSAID
    }
}

/// What `model` costs.
pub(super) fn of(model: &str) -> Option<Price> {
    let found = PRICES.iter().find(|(known, _)| *known == model);
    found.map(|(_, price)| *price)
}

/// Every model of the list, each once.
#[rustfmt::skip] // one model, one line
pub(super) const PRICES: &[(&str, Price)] = &[
    ("claude-fable-5", text(12.5, 62.5)),
    ("claude-haiku-4-5", text(1.25, 6.25)),
    ("claude-opus-4-6", text(6.25, 31.25)),
    ("claude-opus-4-7", text(6.25, 31.25)),
    ("claude-opus-4-8", text(6.25, 31.25)),
    ("claude-opus-5", text(6.25, 31.25)),
    ("claude-sonnet-4-6", text(3.75, 18.75)),
    ("doubao-seedance-2-0-1080p", tokens(9.625)),
    ("doubao-seedance-2-0-480p", tokens(8.75)),
    ("doubao-seedance-2-0-4k", tokens(5.0)),
    ("doubao-seedance-2-0-720p", tokens(8.75)),
    ("doubao-seedance-2-0-fast-260128", tokens(7.0)),
    ("doubao-seedance-2-0-mini-480p", tokens(4.375)),
    ("doubao-seedance-2-0-mini-720p", tokens(4.375)),
    ("doubao-seedance-2-5-480p", tokens(13.375)),
    ("doubao-seedance-2-5-720p", tokens(13.375)),
    ("gpt-image-2", text(7.5, 28.125)),
    ("grok-4.5", text(2.5, 7.5)),
    ("grok-image-video", second(0.0184)),
    ("grok-video-1.5", second(0.0368)),
    ("happyhorse-1.0-i2v", second(0.1391)),
    ("happyhorse-1.0-r2v", second(0.1391)),
    ("happyhorse-1.0-t2v", second(0.1391)),
    ("happyhorse-1.0-video-edit", second(0.1391)),
    ("minimax-h3-2k", tokens(7.523_148)),
    ("minimax-h3-768p", tokens(4.629_63)),
    ("seedance-1-5-pro-no-audio", tokens(1.5)),
    ("seedance-1-5-pro-with-audio", tokens(3.0)),
    ("seedance-2-5-nsfw", tokens(13.375)),
    ("seedance-fast-nsfw", tokens(7.0)),
    ("seedance-mini-nsfw", tokens(4.375)),
    ("seedance-nsfw", tokens(8.75)),
    ("seedance-nsfw-1080p", tokens(9.625)),
    ("seedance-nsfw-4k", tokens(5.0)),
    ("seedance-nsfw-720p", tokens(8.75)),
    ("seedance-upscale-1080p", second(0.008_608_333_3)),
    ("seedance-upscale-2k", second(0.017_216_666_7)),
    ("seedance-upscale-4k", second(0.034_435_416_7)),
    ("seedance-upscale-720p", second(0.004_304_166_7)),
    // Of 2026-06-14.
    ("grok-4.20-0309-non-reasoning", text(1.125, 2.25)),
    ("grok-4.20-0309-reasoning", text(1.125, 2.25)),
    ("grok-4.20-multi-agent-0309", text(1.125, 2.25)),
    ("grok-4.3", text(1.125, 2.25)),
    ("grok-build-0.1", text(0.9, 1.8)),
    ("grok-imagine-image", image(0.018)),
    ("grok-imagine-image-quality", image(0.045)),
    ("grok-imagine-video", tokens(2.0834)),
    ("grok-imagine-video-1.5-preview", tokens(2.0834)),
];
