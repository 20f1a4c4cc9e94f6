//! The upstream's list, and what it changes.

use serde_json::{Value, json};

use crate::price::{Changes, Listed, Price, Prices, Unlisted};

fn list(rows: &Value) -> Value {
    json!({"success": true, "data": rows, "group_ratio": {"default": 1, "vip": 0.7}})
}

fn read(list: &Value, group: &str) -> Result<Listed, Unlisted> {
    Listed::read(list.to_string().as_bytes(), group, &Prices::default())
}

fn row(model: &str, ratio: f64, completion: f64) -> Value {
    json!({"model_name": model, "quota_type": 0, "model_ratio": ratio, "completion_ratio": completion,
        "model_price": 0, "enable_groups": ["default"], "supported_endpoint_types": ["openai"]})
}

fn fixed(model: &str, usd: f64, endpoint: &str) -> Value {
    json!({"model_name": model, "quota_type": 1, "model_ratio": 0, "completion_ratio": 0,
        "model_price": usd, "supported_endpoint_types": [endpoint]})
}

#[test]
fn ratios_and_fixed_prices_become_dollars() {
    let rows = json!([
        row("doubao-seedance-2-0-720p", 4.375, 1.0),
        row("grok-4.5", 1.25, 3.0),
        fixed("happyhorse-1.0-t2v", 0.1391, "openai-video"),
        fixed("grok-imagine-image", 0.018, "openai"),
        fixed("a-new-film", 0.5, "openai-video"),
        fixed("a-new-picture", 0.04, "image-generation"),
        fixed("a-new-song", 0.03, "suno"),
    ]);
    let listed = read(&list(&rows), "default").expect("a list");
    assert_eq!(listed.without, Vec::<String>::new());
    let of = |model: &str| listed.prices[model];
    assert_eq!(
        of("doubao-seedance-2-0-720p").per_million_tokens,
        Some(8.75)
    );
    let text = Price {
        input_per_million: Some(2.5),
        output_per_million: Some(7.5),
        ..Price::default()
    };
    assert_eq!(of("grok-4.5"), text);
    assert_eq!(of("happyhorse-1.0-t2v").per_second, Some(0.1391));
    assert_eq!(
        of("grok-imagine-image").per_image,
        Some(0.018),
        "as it was before"
    );
    assert_eq!(of("a-new-film").per_second, Some(0.5));
    assert_eq!(of("a-new-picture").per_image, Some(0.04));
    assert_eq!(of("a-new-song").per_request, Some(0.03));
    let vip = read(&list(&rows), "vip").expect("a list");
    assert_eq!(
        vip.prices["doubao-seedance-2-0-720p"].per_million_tokens,
        Some(6.125)
    );
}

#[test]
fn what_is_no_price_is_not_taken_for_one() {
    let rows = json!([
        row("free", 0.0, 1.0),
        row("below", -1.0, 1.0),
        row("absurd", 1e300, 1.0),
        {"model_name": "formula", "model_ratio": 1, "billing_mode": "tiered_expr"},
        {"model_name": "text", "model_ratio": "1"},
        {"model_name": "", "model_ratio": 1},
        {"model_name": "a\nb", "model_ratio": 1},
        {"model_ratio": 1},
        null,
        row("sound", 1.0, 0.0),
    ]);
    let listed = read(&list(&rows), "default").expect("a list");
    assert_eq!(
        listed.without,
        ["free", "below", "absurd", "formula", "text"]
    );
    let models: Vec<_> = listed.prices.keys().collect();
    assert_eq!(models, ["sound"]);
    assert_eq!(listed.prices["sound"].per_million_tokens, Some(2.0));
}

#[test]
fn what_is_no_list_says_why() {
    let refused = json!({"success": false, "message": "log in first"});
    let steers = json!({"success": false, "message": "\u{1b}[2J\nno"});
    let too_many: Vec<_> = (0..1_001).map(|_| row("m", 1.0, 1.0)).collect();
    for (body, error) in [
        (json!({"success": true}), Unlisted::NotAList),
        (json!([]), Unlisted::NotAList),
        (json!("<html>"), Unlisted::NotAList),
        (refused, Unlisted::Refused("log in first".to_owned())),
        (steers, Unlisted::Refused("?[2J?no".to_owned())),
        (list(&json!([])), Unlisted::Empty),
        (list(&json!(too_many)), Unlisted::TooMany),
    ] {
        assert_eq!(read(&body, "default"), Err(error));
    }
    let rows = list(&json!([row("m", 1.0, 1.0)]));
    assert_eq!(
        read(&rows, "staff"),
        Err(Unlisted::NoGroup("default, vip".to_owned()))
    );
    let groups: serde_json::Map<_, _> = (0..999).map(|n| (format!("g{n}"), json!(1))).collect();
    let many = json!({"data": [row("m", 1.0, 1.0)], "group_ratio": groups});
    let error = read(&many, "staff").unwrap_err().to_string();
    assert!(error.len() < 300, "{error}");
    assert_eq!(
        Listed::read(b"<html>", "default", &Prices::default()),
        Err(Unlisted::NotAList)
    );
}

#[test]
fn only_differences_are_changes() {
    let mine = Price {
        per_request: Some(1.0),
        ..Price::default()
    };
    let names = ["grok-4.5", "mine-alone", "unclear"];
    let held = Prices::new(
        &names
            .map(|name| (name.to_owned(), mine))
            .into_iter()
            .collect(),
    );
    let rows = list(&json!([
        row("doubao-seedance-2-0-720p", 4.375, 1.0),
        row("grok-4.5", 1.25, 3.0),
        row("brand-new", 1.0, 2.0),
        row("unclear", 0.0, 1.0),
    ]));
    let listed = Listed::read(rows.to_string().as_bytes(), "default", &held).expect("a list");
    let changes = Changes::between(&held, &listed);
    assert_eq!(changes.added.keys().collect::<Vec<_>>(), ["brand-new"]);
    assert_eq!(
        changes.changed["grok-4.5"],
        (mine, listed.prices["grok-4.5"])
    );
    assert_eq!(changes.gone, ["mine-alone"]);
    assert_eq!(changes.unchanged, 1);
    let new: Vec<_> = changes.new_prices().map(|(model, _)| model).collect();
    assert_eq!(new, ["brand-new", "grok-4.5"]);
}
