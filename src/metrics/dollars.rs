//! Sums of money for each client: whole billionths of a dollar, shown as dollars.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::labels::{Labels, client};
use crate::price::Usd;

/// How many clients are told apart. A configuration names them, so there are as many only after it
/// has been changed over and over; who comes later is counted as `other`.
const MOST: usize = 1_000;

/// Sums by client; a clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    of: Family<Labels<1>, Dollars>,
    clients: Arc<AtomicUsize>,
}

impl Sums {
    pub(super) fn add(&self, name: &str, amount: Usd) {
        if amount == Usd::ZERO {
            return;
        }
        let mut labels = client(name);
        let known = self.of.get(&labels).is_some();
        if !known && self.clients.fetch_add(1, Ordering::Relaxed) >= MOST {
            labels = client("other");
        }
        self.of.get_or_create(&labels).add(amount);
    }

    pub(super) fn family(&self) -> Family<Labels<1>, Dollars> {
        self.of.clone()
    }
}

/// A sum of amounts; a clone is the same sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Dollars(Arc<AtomicU64>);

impl Dollars {
    fn add(&self, amount: Usd) {
        self.0.fetch_add(amount.billionths(), Ordering::Relaxed);
    }

    fn sum(&self) -> Usd {
        Usd::from_billionths(self.0.load(Ordering::Relaxed))
    }
}

impl TypedMetric for Dollars {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Dollars {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, f64>(&self.sum().dollars(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
