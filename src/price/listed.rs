//! The upstream's public price list: `GET /api/pricing` of a new-api gateway, which RelayDance is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Price, Prices, Usd};
use crate::message::one_line;

/// What a ratio of 1 costs for a million tokens, in dollars.
const RATIO: f64 = 2.0;
/// More models are no list.
const MOST_MODELS: usize = 1_000;
/// A longer name is none.
const LONGEST_NAME: usize = 256;
/// So many letters of what it says are repeated.
const LONGEST_WORDS: usize = 200;
/// More dollars are no price.
const MOST_DOLLARS: f64 = 1e9;

/// What the list says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// The price of each model.
    pub prices: BTreeMap<String, Price>,
    /// Models that are listed without a price that can be said in `[prices]`: none, zero, or a formula.
    pub without: Vec<String>,
}

/// Why a list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// It is something else.
    #[error("what it answers is no price list")]
    NotAList,
    /// Upstream says that something is wrong.
    #[error("it says: {0}")]
    Refused(String),
    /// It names no model.
    #[error("its price list is empty")]
    Empty,
    /// It names too many.
    #[error("its price list has more than {MOST_MODELS} models")]
    TooMany,
    /// It knows no such group.
    #[error("it has no group of this name; there are: {0}")]
    NoGroup(String),
}

#[derive(Deserialize)]
struct List {
    success: Option<bool>,
    message: Option<String>,
    data: Option<Vec<Value>>,
    group_ratio: Option<BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    quota_type: f64,
    #[serde(default)]
    model_ratio: f64,
    completion_ratio: Option<f64>,
    #[serde(default)]
    model_price: f64,
    /// A formula of its own, where the gateway has those.
    #[serde(default)]
    billing_mode: String,
    #[serde(default)]
    supported_endpoint_types: Option<Vec<String>>,
}

impl Listed {
    /// Reads a list for an account of `group`. `held` is what was known before: the list does not say
    /// whether a price that is not for tokens is for a second, an image or a request.
    ///
    /// # Errors
    /// [`Unlisted`].
    pub fn read(body: &[u8], group: &str, held: &Prices) -> Result<Self, Unlisted> {
        let list: List = serde_json::from_slice(body).map_err(|_| Unlisted::NotAList)?;
        if list.success == Some(false) {
            let message = list.message.unwrap_or_default();
            return Err(Unlisted::Refused(
                one_line(&message, LONGEST_WORDS).into_owned(),
            ));
        }
        let rows = list.data.ok_or(Unlisted::NotAList)?;
        if rows.len() > MOST_MODELS {
            return Err(Unlisted::TooMany);
        }
        let ratio = ratio(list.group_ratio.unwrap_or_default(), group)?;
        let mut listed = Self::default();
        for row in rows {
            let Some(model) = name(&row) else { continue };
            match price(&row, &model, ratio, held) {
                Some(price) => {
                    listed.prices.insert(model, price);
                }
                None => listed.without.push(model),
            }
        }
        if listed.prices.is_empty() && listed.without.is_empty() {
            return Err(Unlisted::Empty);
        }
        Ok(listed)
    }
}

/// What the account's group pays of each price. The group `default` pays all where none is named.
fn ratio(groups: BTreeMap<String, f64>, group: &str) -> Result<f64, Unlisted> {
    match groups.get(group) {
        Some(ratio) => Ok(*ratio),
        None if group == "default" => Ok(1.0),
        None => {
            let groups = groups.into_keys().collect::<Vec<_>>().join(", ");
            Err(Unlisted::NoGroup(
                one_line(&groups, LONGEST_WORDS).into_owned(),
            ))
        }
    }
}

fn name(row: &Value) -> Option<String> {
    let name = row.get("model_name")?.as_str()?;
    let sound = !name.is_empty() && name.len() <= LONGEST_NAME;
    (sound && !name.contains(char::is_control)).then(|| name.to_owned())
}

/// The price of one row; `None` where there is none that `[prices]` can say.
///
/// MONEY: zero is not taken for a price. A model that costs nothing by mistake would be counted by no
/// budget; without a price it is loudly unpriced.
fn price(row: &Value, model: &str, ratio: f64, held: &Prices) -> Option<Price> {
    let row: Row = serde_json::from_value(row.clone()).ok()?;
    if !matches!(row.billing_mode.as_str(), "" | "ratio" | "price") {
        return None;
    }
    let dollars = |amount: f64| {
        let dollars = Usd::from_dollars(amount * ratio).dollars();
        (dollars > 0.0 && dollars <= MOST_DOLLARS).then_some(dollars)
    };
    if row.quota_type > 0.5 {
        return dollars(row.model_price).map(|usd| unit(&row, model, usd, held));
    }
    let input = dollars(row.model_ratio * RATIO)?;
    let more = row.completion_ratio.filter(|more| *more > 0.0);
    let output = dollars(row.model_ratio * RATIO * more.unwrap_or(1.0))?;
    Some(if Usd::from_dollars(input) == Usd::from_dollars(output) {
        Price {
            per_million_tokens: Some(input),
            ..Price::default()
        }
    } else {
        Price {
            input_per_million: Some(input),
            output_per_million: Some(output),
            ..Price::default()
        }
    })
}

/// What a price that is not for tokens is for: what it was for before, else what its model makes.
fn unit(row: &Row, model: &str, usd: f64, held: &Prices) -> Price {
    let held = held.of(Some(model)).unwrap_or_default();
    let known = [held.per_second, held.per_image, held.per_request].map(|form| form.is_some());
    let makes = |what: &str| {
        let types = row.supported_endpoint_types.iter().flatten();
        types.into_iter().any(|kind| kind.contains(what))
    };
    let (second, image) = match known {
        [true, false, false] => (true, false),
        [false, true, false] => (false, true),
        [false, false, true] => (false, false),
        _ => (makes("video"), makes("image")),
    };
    let mut price = Price::default();
    let form = if second {
        &mut price.per_second
    } else if image {
        &mut price.per_image
    } else {
        &mut price.per_request
    };
    *form = Some(usd);
    price
}
