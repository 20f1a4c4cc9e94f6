//! How long upstream takes, by what it was asked for.

use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::figures::Figures;
use super::histogram;
use super::labels::{Labels, Sort};

/// Durations by what was asked for; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Timings(Figures<1, Histogram>);

impl Default for Timings {
    fn default() -> Self {
        Self(Figures::new(["kind"], histogram))
    }
}

impl Timings {
    pub(super) fn note(&self, sort: Sort, took: Duration) {
        let seconds = took.as_secs_f64();
        self.0.of([sort.as_str()], |times| times.observe(seconds));
    }

    pub(super) fn family(&self) -> Family<Labels<1>, Histogram, fn() -> Histogram> {
        self.0.family()
    }
}
