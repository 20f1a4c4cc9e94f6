//! Which price holds for a model.

use std::collections::BTreeMap;

use super::{Price, table};

/// Where a price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `[prices]` of the configuration.
    Configured,
    /// The built-in table.
    BuiltIn,
}

impl Source {
    /// The word for it: `configured`, `built-in`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::BuiltIn => "built-in",
        }
    }
}

/// What every known model costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    configured: BTreeMap<String, Price>,
}

impl Prices {
    /// The user's own prices over the built-in ones. One of the user's replaces the built-in one of
    /// its model whole: forms are not mixed.
    pub fn new(configured: &BTreeMap<String, Price>) -> Self {
        Self {
            configured: configured.clone(),
        }
    }

    /// What `model` costs; `None`: nobody knows, and a generation of it counts as unpriced.
    pub fn of(&self, model: Option<&str>) -> Option<Price> {
        let model = model?;
        let configured = self.configured.get(model).copied();
        configured.or_else(|| table::of(model))
    }

    /// The user's own prices.
    pub fn configured(&self) -> &BTreeMap<String, Price> {
        &self.configured
    }

    /// Every price that holds, by the model's name, with where it comes from.
    pub fn all(&self) -> BTreeMap<&str, (Price, Source)> {
        let built_in = table::PRICES
            .iter()
            .map(|(model, price)| (*model, (*price, Source::BuiltIn)));
        let configured = self
            .configured
            .iter()
            .map(|(model, price)| (model.as_str(), (*price, Source::Configured)));
        built_in.chain(configured).collect()
    }
}
