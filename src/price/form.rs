//! A price by its forms: as keys of `proxy.toml`, as JSON, as words.

use super::{Price, Usd};

/// The forms of a price, each by its key in `[prices]`, with the dollars it says.
pub fn forms(price: &Price) -> [(&'static str, Option<f64>); 6] {
    let Price {
        per_million_tokens,
        per_second,
        per_image,
        per_request,
        input_per_million,
        output_per_million,
    } = *price;
    [
        ("per_million_tokens", per_million_tokens),
        ("per_second", per_second),
        ("per_image", per_image),
        ("per_request", per_request),
        ("input_per_million", input_per_million),
        ("output_per_million", output_per_million),
    ]
}

/// A price as people say it: `$8.75 for a million tokens`; the parts of a sum with `+` between them.
pub fn words(price: &Price) -> String {
    let said = forms(price).into_iter().filter_map(|(form, usd)| {
        let usd = Usd::from_dollars(usd?);
        Some(match form {
            "per_million_tokens" => format!("{usd} for a million tokens"),
            "per_second" => format!("{usd} for a second"),
            "per_image" => format!("{usd} for an image"),
            "per_request" => format!("{usd} for a request"),
            "input_per_million" => format!("{usd} for a million tokens in"),
            _ => format!("{usd} for a million tokens out"),
        })
    });
    said.collect::<Vec<_>>().join(" + ")
}

/// Whether both cost the same, however it is written.
pub fn same(one: &Price, other: &Price) -> bool {
    // So much a token in and the same out is so much a token.
    let plain = |price: &Price| {
        let any = price.per_million_tokens.unwrap_or_default();
        [
            price.input_per_million.unwrap_or_default() + any,
            price.output_per_million.unwrap_or_default() + any,
            price.per_second.unwrap_or_default(),
            price.per_image.unwrap_or_default(),
            price.per_request.unwrap_or_default(),
        ]
        .map(Usd::from_dollars)
    };
    plain(one) == plain(other)
}
