//! How long upstream takes, by what it was asked for.

use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::histogram;
use super::labels::{Labels, Sort, word};

/// A histogram for each sort of request.
type Histograms = Family<Labels<1>, Histogram, fn() -> Histogram>;

/// Durations by what was asked for; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Timings(Histograms);

impl Default for Timings {
    fn default() -> Self {
        Self(Family::new_with_constructor(histogram))
    }
}

impl Timings {
    pub(super) fn note(&self, sort: Sort, took: Duration) {
        let labels = [word("kind", sort.as_str())];
        self.0.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(super) fn family(&self) -> Histograms {
        self.0.clone()
    }
}
