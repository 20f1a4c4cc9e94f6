//! The page that a Prometheus server reads.

use std::fmt;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::labels::word;

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text format of Prometheus, version 0.0.4.
    Plain,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Form {
    /// The form's `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Reads a figure that stands elsewhere.
type Read = Box<dyn Fn() -> u64 + Send + Sync>;

/// What stands elsewhere, and is read when the page is asked for. Reading must not block.
pub struct Reading {
    /// Its name, without `reprise_` and, for a counter, without `_total`.
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    figures: Figures,
}

enum Figures {
    One(Read),
    /// Told apart by the words of one label.
    Several(&'static str, Vec<(&'static str, Read)>),
}

impl Reading {
    /// A figure that goes up and down.
    pub fn gauge(
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            help,
            kind: MetricType::Gauge,
            figures: Figures::One(Box::new(read)),
        }
    }

    /// A figure that only goes up.
    pub fn counter(
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind: MetricType::Counter,
            ..Self::gauge(name, help, read)
        }
    }

    /// Figures that only go up, and are told apart by `label`.
    pub fn counters(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        reads: Vec<(&'static str, Read)>,
    ) -> Self {
        Self {
            name,
            help,
            kind: MetricType::Counter,
            figures: Figures::Several(label, reads),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // The registry ends the sentences of all others.
        let help = format!("{}.", self.help);
        let mut family = encoder.encode_descriptor(self.name, &help, None, self.kind)?;
        let put = |value: u64, to: MetricEncoder<'_>| match self.kind {
            MetricType::Counter => ConstCounter::new(value).encode(to),
            _ => ConstGauge::new(value).encode(to),
        };
        match &self.figures {
            Figures::One(read) => put(read(), family),
            Figures::Several(label, reads) => reads.iter().try_for_each(|(value, read)| {
                put(read(), family.encode_family(&[word(label, value)])?)
            }),
        }
    }
}

/// All figures, to be written whenever somebody asks.
#[derive(Debug)]
pub struct Page(Registry);

impl Page {
    /// The page of a process that began at `started`: with what `metrics` counts, and with `readings`.
    pub fn new(metrics: &Metrics, readings: Vec<Reading>, started: Timestamp) -> Self {
        let mut all = Registry::default();
        let began: Gauge<f64, AtomicU64> = Gauge::default();
        began.set(started.as_duration().as_secs_f64());
        let help = "When the process started, in seconds since 1970";
        all.register("process_start_time_seconds", help, began);
        let ours = all.sub_registry_with_prefix("reprise");
        let version = Info::new([word("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "The program", version);
        metrics.register(ours);
        for reading in readings {
            ours.register_collector(Box::new(reading));
        }
        Self(all)
    }

    /// The page as it is now.
    pub fn write(&self, form: Form) -> String {
        let mut text = String::new();
        // Writing into memory does not fail.
        let _ = text::encode(&mut text, &self.0);
        match form {
            Form::OpenMetrics => text,
            Form::Plain => plain(&text),
        }
    }
}

/// `OpenMetrics` as the older format has it: there a counter's family has the name of its figures, an
/// info is a gauge, and neither units nor an end are written.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), said) => help = said,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (ending, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                let help = help.take().unwrap_or_default();
                let head = format!("# HELP {name}{ending} {help}\n# TYPE {name}{ending} {kind}\n");
                plain.push_str(&head);
            }
            (Some("#"), ..) => {}
            _ => {
                plain.push_str(line);
                plain.push('\n');
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Kind;
    use crate::metrics::Sort;
    use crate::price::Usd;

    fn page() -> Page {
        let metrics = Metrics::new();
        let video = Sort::Generation(Kind::Video);
        metrics.request(video, "hit");
        metrics.request(video, "hit");
        metrics.refused("usd_per_day");
        let spent = Usd::from_billionths(100_000_000);
        for _ in 0..3 {
            metrics.generation((Kind::Video, "paid"), "anna", spent, Usd::ZERO);
        }
        metrics.upstream_head(video, std::time::Duration::from_millis(300));
        let readings = vec![
            Reading::gauge("kept_bytes", "What is kept", || 7),
            Reading::counters(
                "evictions",
                "What went",
                "reason",
                vec![("room", Box::new(|| 2)), ("age", Box::new(|| 3))],
            ),
        ];
        let page = Page::new(&metrics, readings, Timestamp::UNIX_EPOCH);
        // Counted after the page was made: it is the same counter.
        metrics.bypassed("no-store");
        page
    }

    #[test]
    fn the_older_format_names_families_as_their_figures() {
        let text = page().write(Form::Plain);
        for lines in [
            "# HELP reprise_requests_total Requests that are over.\n# TYPE reprise_requests_total \
             counter\nreprise_requests_total{kind=\"video\",outcome=\"hit\"} 2\n",
            "# TYPE reprise_build_info gauge\nreprise_build_info{version=",
            "# TYPE reprise_kept_bytes gauge\nreprise_kept_bytes 7\n",
            "reprise_evictions_total{reason=\"room\"} 2\nreprise_evictions_total{reason=\"age\"} 3\n",
            "reprise_refusals_total{limit=\"usd_per_day\"} 1\n",
            "reprise_refusals_total{limit=\"requests_per_minute\"} 0\n",
            "reprise_bypasses_total{reason=\"no-store\"} 1\n",
            "reprise_spent_dollars_total{client=\"anna\"} 0.3\n",
            "reprise_upstream_head_seconds_bucket{le=\"0.25\",kind=\"video\"} 0\n",
            "reprise_upstream_head_seconds_bucket{le=\"0.5\",kind=\"video\"} 1\n",
            "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 0.0\n",
        ] {
            assert!(text.contains(lines), "{lines}\nis not in\n{text}");
        }
        for odd in ["# EOF", "# UNIT", "saved_dollars"] {
            assert!(!text.contains(odd), "{odd} in\n{text}");
        }
    }

    #[test]
    fn the_newer_format_ends_with_its_mark() {
        let text = page().write(Form::OpenMetrics);
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(text.contains("# TYPE reprise_requests counter\nreprise_requests_total{"));
        assert!(text.contains("# TYPE reprise_build info\nreprise_build_info{"));
    }

    #[test]
    fn clients_without_end_do_not_make_figures_without_end() {
        let metrics = Metrics::new();
        let cent = Usd::from_dollars(0.01);
        for n in 0..1_500 {
            metrics.generation((Kind::Chat, "paid"), &format!("client-{n}"), cent, cent);
        }
        metrics.generation((Kind::Chat, "paid"), "client-3", cent, Usd::ZERO);
        let text = Page::new(&metrics, Vec::new(), Timestamp::UNIX_EPOCH).write(Form::Plain);
        let lines = text.lines();
        let spent = lines.filter(|line| line.starts_with("reprise_spent_dollars_total{"));
        assert_eq!(spent.count(), 1_001);
        assert!(text.contains("reprise_spent_dollars_total{client=\"other\"} 5.0\n"));
        assert!(text.contains("reprise_spent_dollars_total{client=\"client-3\"} 0.02\n"));
    }
}
