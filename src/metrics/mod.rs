//! What is counted for whoever watches: every event has a method here, every figure a place on the
//! page that [`Page`] writes.
//!
//! - [`labels`] the words that figures are told apart by: each from a short list, or a client's name;
//! - [`figures`] figures that are told apart by such words alone;
//! - [`dollars`] sums of money, for each client;
//! - [`timing`] how long something took, and how that is counted;
//! - [`page`] all figures as Prometheus reads them, those included that stand elsewhere already and are
//!   only read when the page is asked for.
//!
//! Counts are since the start of the process. What was paid over all time stands in the ledger.

mod dollars;
mod figures;
mod labels;
mod page;
mod timing;

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::generation::Kind;
use crate::price::Usd;
use dollars::Sums;
use figures::Figures;
use labels::LIMITS;
pub use labels::Sort;
pub use page::{Form, Page, Reading};
use timing::Timings;

/// All that is counted as it happens. One for each proxy; a clone counts the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Figures<2, Counter>,
    bypasses: Figures<1, Counter>,
    errors: Figures<1, Counter>,
    refusals: Figures<1, Counter>,
    generations: Figures<2, Counter>,
    spent: Sums,
    saved: Sums,
    heads: Timings,
    answers: Timings,
    requests_in_flight: Gauge,
    requests_waiting: Gauge,
    connections: Gauge,
    tunnels: Gauge,
    received: Counter,
    sent: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Figures::new(["kind", "outcome"], Counter::default),
            bypasses: Figures::new(["reason"], Counter::default),
            errors: Figures::new(["code"], Counter::default),
            refusals: Figures::new(["limit"], Counter::default),
            generations: Figures::new(["kind", "outcome"], Counter::default),
            spent: Sums::default(),
            saved: Sums::default(),
            heads: Timings::default(),
            answers: Timings::default(),
            requests_in_flight: Gauge::default(),
            requests_waiting: Gauge::default(),
            connections: Gauge::default(),
            tunnels: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
        }
    }
}

fn one_more(figure: &Counter) {
    figure.inc();
}

impl Metrics {
    /// Nothing has happened yet. What is told apart by short lists of words starts at 0 for each of
    /// them, so that its first event is an increase to whoever watches.
    pub fn new() -> Self {
        let metrics = Self::default();
        for limit in LIMITS {
            metrics.refusals.of([limit], |_| {});
        }
        metrics
    }

    /// A request has begun; it counts as under way until what comes back is dropped.
    pub fn request_begins(&self) -> UnderWay {
        UnderWay::of(&self.requests_in_flight)
    }

    /// A request waits for the beginning of an answer that is being paid for, until what comes back is
    /// dropped.
    pub fn request_waits(&self) -> UnderWay {
        UnderWay::of(&self.requests_waiting)
    }

    /// A connection is open, until what comes back is dropped.
    pub fn connection_opens(&self) -> UnderWay {
        UnderWay::of(&self.connections)
    }

    /// A WebSocket is open, until what comes back is dropped.
    pub fn tunnel_opens(&self) -> UnderWay {
        UnderWay::of(&self.tunnels)
    }

    /// A request is over: what it was, and how it was answered, in a word from a list.
    pub fn request(&self, sort: Sort, outcome: &'static str) {
        let words = [sort.as_str(), outcome];
        self.requests.of(words, one_more);
    }

    /// So many bytes of bodies came from a client, and went to it.
    pub fn bytes(&self, received: u64, sent: u64) {
        self.received.inc_by(received);
        self.sent.inc_by(sent);
    }

    /// The cache had nothing to do with a request; why, in the word of `Cache-Status`.
    pub fn bypassed(&self, reason: &'static str) {
        self.bypasses.of([reason], one_more);
    }

    /// The proxy itself answered, with an error; `code` is the envelope's.
    pub fn failed(&self, code: &'static str) {
        self.errors.of([code], one_more);
    }

    /// A client met a limit: its request, or its connection, was refused. `limit` is its key in the
    /// configuration, or `connections` or `memory`.
    pub fn refused(&self, limit: &'static str) {
        self.refusals.of([limit], one_more);
    }

    /// A generation has an outcome, in the ledger's word for it, and cost or saved so much.
    pub fn generation(
        &self,
        (kind, outcome): (Kind, &'static str),
        name: &str,
        spent: Usd,
        saved: Usd,
    ) {
        let words = [kind.as_str(), outcome];
        self.generations.of(words, one_more);
        self.spent.add(name, spent);
        self.saved.add(name, saved);
    }

    /// Upstream took so long until the head of its answer.
    pub fn upstream_head(&self, sort: Sort, took: Duration) {
        self.heads.note(sort, took);
    }

    /// Upstream took so long until the end of its answer.
    pub fn upstream_answer(&self, sort: Sort, took: Duration) {
        self.answers.note(sort, took);
    }

    fn register(&self, on: &mut Registry) {
        let (requests, bypasses) = (self.requests.family(), self.bypasses.family());
        on.register("requests", "Requests that are over", requests);
        on.register("bypasses", "Requests that the cache passed by", bypasses);
        let (errors, refusals) = (self.errors.family(), self.refusals.family());
        on.register("errors", "Errors that the proxy itself answered", errors);
        on.register("refusals", "Refusals by the limit that was met", refusals);
        let help = "Generations, by what became of them";
        on.register("generations", help, self.generations.family());
        let (spent, saved) = (self.spent.family(), self.saved.family());
        on.register("spent_dollars", "US dollars paid for generations", spent);
        let help = "US dollars that other runs would have cost";
        on.register("saved_dollars", help, saved);
        let help = "From sending a request upstream to the head of its answer";
        on.register("upstream_head_seconds", help, self.heads.family());
        let help = "From sending a request upstream to the end of its answer";
        on.register("upstream_answer_seconds", help, self.answers.family());
        let help = "Requests that are being answered";
        on.register("requests_in_flight", help, self.requests_in_flight.clone());
        let help = "Requests that wait for the beginning of an answer that is being paid for";
        on.register("requests_waiting", help, self.requests_waiting.clone());
        let (connections, tunnels) = (self.connections.clone(), self.tunnels.clone());
        on.register("connections", "Open connections of clients", connections);
        on.register("tunnels", "Open WebSockets", tunnels);
        let help = "Bytes of bodies from clients";
        on.register("received_bytes", help, self.received.clone());
        let help = "Bytes of bodies to clients";
        on.register("sent_bytes", help, self.sent.clone());
    }
}

/// Something that goes on: counted in while this lives.
#[derive(Debug)]
pub struct UnderWay(Gauge);

impl UnderWay {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A histogram for what takes from a millisecond to an hour.
fn histogram() -> Histogram {
    Histogram::new([
        0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0,
    ])
}
