//! Prices, estimates and costs, in figures that are worked out by hand.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::form::{forms, same, words};
use super::{Price, Prices, Usage, Usd, cost, estimate, table};
use crate::generation::{Extent, Kind, Quality, Request};

mod changes;
mod usage;

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars)
}

fn price_of(model: &str) -> Price {
    Prices::default().of(Some(model)).expect("a known model")
}

/// What a JSON body asks for.
fn extent(kind: Kind, body: &Value) -> Extent {
    let request = Request {
        kind,
        path: "/v1/x",
        query: None,
        scope: None,
        take: 1,
        headers: &HeaderMap::new(),
        body: &body.to_string().into(),
    };
    request.identify().extent
}

fn expected(kind: Kind, body: &Value) -> Usd {
    let price = price_of(body["model"].as_str().unwrap_or_default());
    estimate(&price, kind, &extent(kind, body))
}

#[test]
fn clips() {
    for (model, body, dollars) in [
        // 1280 × 720 × 24 × 5 / 1024 = 108,000 tokens.
        ("doubao-seedance-2-0-720p", json!({}), 0.945),
        ("doubao-seedance-2-0-720p", json!({"seconds": "10"}), 1.89),
        // 1920 × 1080 × 24 × 5 / 1024 = 243,000.
        ("doubao-seedance-2-0-1080p", json!({}), 2.338_875),
        // 864 × 496 × 24 × 4 / 1024 = 40,176.
        ("doubao-seedance-2-0-480p", json!({"seconds": 4}), 0.351_54),
        // 3840 × 2160 × 24 × 5 / 1024 = 972,000.
        ("doubao-seedance-2-0-4k", json!({}), 4.86),
        ("doubao-seedance-2-0-fast-260128", json!({}), 0.756),
        ("happyhorse-1.0-t2v", json!({"seconds": 10}), 1.391),
        ("grok-video-1.5", json!({}), 0.184),
        // A picture of four seconds and a half.
        (
            "grok-video-1.5",
            json!({"metadata": {"frames": 108}}),
            0.1656,
        ),
    ] {
        let mut body = body;
        body["model"] = model.into();
        assert_eq!(expected(Kind::Video, &body), usd(dollars), "{body}");
    }
}

#[test]
fn pictures_and_texts() {
    for (kind, body, dollars) in [
        (Kind::Images, json!({"model": "grok-imagine-image"}), 0.018),
        (
            Kind::Images,
            json!({"model": "grok-imagine-image", "n": 4}),
            0.072,
        ),
        // 4160 tokens out, and 29 bytes in are 8 tokens.
        (
            Kind::Images,
            json!({"model": "gpt-image-2", "a": 1}),
            0.117_06,
        ),
        // 37 bytes are 10 tokens, 100 out.
        (
            Kind::Chat,
            json!({"model": "grok-4.5", "max_tokens": 100}),
            0.000_775,
        ),
        // 20 bytes are 5 tokens, 1,000 out.
        (Kind::Chat, json!({"model": "grok-4.5"}), 0.007_512_5),
        (Kind::Embeddings, json!({"model": "grok-4.5"}), 0.000_012_5),
    ] {
        let bytes = body.to_string().len();
        assert_eq!(expected(kind, &body), usd(dollars), "{body}: {bytes} bytes");
    }
    let medium = Extent {
        quality: Quality::Medium,
        width: 1536,
        ..extent(Kind::Images, &json!({}))
    };
    let out = Price {
        output_per_million: Some(1.0),
        ..Price::default()
    };
    assert_eq!(estimate(&out, Kind::Images, &medium), usd(0.001_584));
}

#[test]
fn a_price_is_the_sum_of_its_forms() {
    let all = Price {
        per_million_tokens: Some(1.0),
        per_second: Some(0.1),
        per_image: Some(0.01),
        per_request: Some(0.001),
        input_per_million: Some(2.0),
        output_per_million: Some(4.0),
    };
    let used = Usage {
        input: Some(100_000),
        output: Some(200_000),
        seconds: Some(3.0),
        images: Some(2),
        ..Usage::default()
    };
    let tokens = 0.3 + 0.2 + 0.8;
    for (kind, more) in [
        (Kind::Video, 0.3),
        (Kind::Images, 0.02),
        (Kind::Audio, 0.3),
        (Kind::Embeddings, 0.0),
        (Kind::Chat, 0.0),
    ] {
        let dollars = usd(tokens + 0.001 + more);
        assert_eq!(
            cost(&all, kind, &Extent::default(), &used),
            dollars,
            "{kind}"
        );
    }
    assert_eq!(
        words(&all),
        "$1.00 for a million tokens + $0.10 for a second + $0.01 for an image + $0.001 for a request \
         + $2.00 for a million tokens in + $4.00 for a million tokens out"
    );
}

#[test]
fn what_an_answer_does_not_say_is_estimated() {
    let extent = Extent {
        max_tokens: Some(50),
        ..extent(Kind::Chat, &json!({"model": "m"}))
    };
    let price = price_of("grok-4.5");
    let of = |usage: Usage| cost(&price, Kind::Chat, &extent, &usage);
    // 13 bytes are 4 tokens.
    assert_eq!(of(Usage::default()), usd(4.0 * 2.5e-6 + 50.0 * 7.5e-6));
    let total = Usage {
        total: Some(10),
        ..Usage::default()
    };
    assert_eq!(of(total), usd(4.0 * 2.5e-6 + 6.0 * 7.5e-6));
    let input = Usage {
        input: Some(8),
        ..total
    };
    assert_eq!(of(input), usd(8.0 * 2.5e-6 + 2.0 * 7.5e-6));
    // A stream has brought so many bytes: never more than was asked for.
    for (bytes, tokens) in [(9, 3.0), (4000, 50.0)] {
        let came = Usage {
            text: Some(bytes),
            ..Usage::default()
        };
        assert_eq!(of(came), usd(4.0 * 2.5e-6 + tokens * 7.5e-6));
    }
    let thought = Usage {
        input: Some(3),
        output: Some(2),
        total: Some(10),
        ..Usage::default()
    };
    assert_eq!(
        of(thought),
        usd(3.0 * 2.5e-6 + 7.0 * 7.5e-6),
        "thoughts are paid"
    );
    let failed = Usage {
        failed: true,
        ..input
    };
    assert_eq!(of(failed), Usd::ZERO);
}

#[test]
fn the_table_is_sound() {
    let known = Prices::default();
    assert_eq!(known.all().len(), table::PRICES.len(), "each model once");
    for (model, price) in table::PRICES {
        let forms: Vec<f64> = forms(price)
            .into_iter()
            .filter_map(|(_, usd)| usd)
            .collect();
        assert!((1..=2).contains(&forms.len()), "{model}");
        assert!(
            forms.iter().all(|usd| (0.001..100.0).contains(usd)),
            "{model}"
        );
        assert_eq!(known.of(Some(model)), Some(*price));
    }
    assert_eq!(known.of(Some("somebody-s-model")), None);
    assert_eq!(known.of(None), None);
}

#[test]
fn one_s_own_price_goes_before_the_table_whole() {
    let own = Price {
        per_request: Some(0.5),
        ..Price::default()
    };
    let own = [("grok-4.5".to_owned(), own), ("mine".to_owned(), own)];
    let prices = Prices::new(&own.into_iter().collect());
    let price = prices.of(Some("grok-4.5")).expect("a price");
    assert_eq!(price.input_per_million, None, "nothing of the table stays");
    assert_eq!(estimate(&price, Kind::Chat, &Extent::default()), usd(0.5));
    assert!(prices.of(Some("mine")).is_some());
    assert_eq!(prices.all().len(), table::PRICES.len() + 1);
}

#[test]
fn the_same_price_written_otherwise() {
    let any = price_of("doubao-seedance-2-0-720p");
    let both = Price {
        input_per_million: Some(8.75),
        output_per_million: Some(8.75),
        ..Price::default()
    };
    assert!(same(&any, &both));
    assert!(!same(&any, &price_of("doubao-seedance-2-0-1080p")));
    assert!(!same(
        &both,
        &Price {
            per_request: Some(0.1),
            ..both
        }
    ));
}

proptest! {
    #[test]
    fn a_cost_is_never_absurd(
        forms in proptest::array::uniform6(proptest::option::of(0.0..1e9_f64)),
        tokens in proptest::array::uniform3(proptest::option::of(any::<u64>())),
        seconds in proptest::option::of(any::<f64>()),
        images in proptest::option::of(any::<u32>()),
        said in (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>()),
    ) {
        let price = Price {
            per_million_tokens: forms[0],
            per_second: forms[1],
            per_image: forms[2],
            per_request: forms[3],
            input_per_million: forms[4],
            output_per_million: forms[5],
        };
        let usage = Usage {
            input: tokens[0],
            output: tokens[1],
            total: tokens[2],
            seconds: seconds.filter(|seconds| seconds.is_finite()),
            images,
            text: tokens[0],
            failed: false,
        };
        let extent = Extent {
            frames: said.0 % 14_400,
            count: said.1 % 128,
            max_tokens: Some(said.2),
            body: said.3,
            ..Extent::default()
        };
        for kind in Kind::ALL {
            let least = usd(price.per_request.unwrap_or_default());
            prop_assert!(cost(&price, kind, &extent, &usage) >= least);
            prop_assert!(estimate(&price, kind, &extent) >= least);
        }
    }

    #[test]
    fn more_tokens_never_cost_less(input in 0..1_u64 << 40, output in 0..1_u64 << 40, more in 0..1000_u64) {
        let of = |input, output| {
            let usage = Usage { input: Some(input), output: Some(output), ..Usage::default() };
            cost(&price_of("grok-4.5"), Kind::Chat, &Extent::default(), &usage)
        };
        prop_assert!(of(input + more, output) >= of(input, output));
        prop_assert!(of(input, output + more) >= of(input, output));
    }
}
