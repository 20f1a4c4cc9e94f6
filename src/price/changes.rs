//! What a new price list changes.

use std::collections::BTreeMap;

use super::{Listed, Price, Prices, form};

/// The difference between the prices that hold and a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Models that had no price, with the new one.
    pub added: BTreeMap<String, Price>,
    /// Models that cost something else now: before, and after.
    pub changed: BTreeMap<String, (Price, Price)>,
    /// Models with a price in the configuration that the list has no more.
    pub gone: Vec<String>,
    /// How many cost what they did.
    pub unchanged: usize,
}

impl Changes {
    /// What `listed` changes in the prices that hold.
    pub fn between(held: &Prices, listed: &Listed) -> Self {
        let mut changes = Self::default();
        for (model, new) in &listed.prices {
            match held.of(Some(model)) {
                None => {
                    changes.added.insert(model.clone(), *new);
                }
                Some(old) if form::same(&old, new) => changes.unchanged += 1,
                Some(old) => {
                    changes.changed.insert(model.clone(), (old, *new));
                }
            }
        }
        let gone = held
            .configured()
            .keys()
            .filter(|model| !listed.prices.contains_key(*model) && !listed.without.contains(model));
        changes.gone = gone.cloned().collect();
        changes
    }

    /// Every new price, by its model.
    pub fn new_prices(&self) -> impl Iterator<Item = (&str, Price)> {
        let changed = self.changed.iter().map(|(model, (_, new))| (model, new));
        let all = self.added.iter().chain(changed);
        all.map(|(model, price)| (model.as_str(), *price))
    }
}
