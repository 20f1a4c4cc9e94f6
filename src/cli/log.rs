//! Where log lines go: to standard error, as text or as JSON.

mod fields;
mod lines;
#[cfg(test)]
mod tests;
mod text;

use std::io::{IsTerminal, Write};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{Log, LogFormat};
use fields::Fields;
use lines::Lines;
use text::Text;

/// What lines go through: which of them, and in which form. Both can be changed.
type Filter = reload::Layer<EnvFilter, Registry>;
type Form = Box<dyn Layer<Layered<Filter, Registry>> + Send + Sync>;

/// How lines are logged at this moment.
pub(super) struct Voice {
    filter: reload::Handle<EnvFilter, Registry>,
    form: reload::Handle<Form, Layered<Filter, Registry>>,
    lines: Lines,
}

/// Begins to log. Called once, before anything is worth a line.
pub(super) fn start(log: &Log) -> Voice {
    let out = Lines::default();
    let (choice, filter) = reload::Layer::new(choice(log));
    let (lines, form) = reload::Layer::new(lines(log.format, out.clone()));
    // A second subscriber in one process is refused; the first one goes on.
    let _ = tracing_subscriber::registry()
        .with(choice)
        .with(lines)
        .try_init();
    Voice {
        filter,
        form,
        lines: out,
    }
}

impl Voice {
    /// Logs as `log` says from now on.
    pub(super) fn change(&self, log: &Log) {
        // Both fail only where nobody listens, so there is nobody to tell.
        let _ = self.filter.reload(choice(log));
        let _ = self.form.reload(lines(log.format, self.lines.clone()));
    }

    /// Where its lines go: to be flushed when the program ends.
    pub(super) fn lines(&self) -> Lines {
        self.lines.clone()
    }
}

/// sled speaks only where it is named, or has something to say. It tells of what it frees also from a
/// thread that is ending, and formatting a line there aborts the process: its buffer is gone already.
fn choice(log: &Log) -> EnvFilter {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let talkative = filter.max_level_hint() > Some(LevelFilter::INFO);
    match "sled=info".parse() {
        Ok(quiet) if talkative && !log.level.contains("sled") => filter.add_directive(quiet),
        _ => filter,
    }
}

fn lines(format: LogFormat, out: Lines) -> Form {
    let lines = fmt::layer().with_target(false).with_writer(out);
    match format {
        LogFormat::Text if std::io::stderr().is_terminal() => Box::new(lines.with_ansi(true)),
        LogFormat::Text => {
            let plain = lines.with_ansi(false).fmt_fields(Fields);
            Box::new(plain.event_format(Text))
        }
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
    }
}

/// Says what stands at start: plain lines that a person reads and copies, whatever the level; as
/// JSON, lines like any other.
pub(super) fn announce(format: LogFormat, lines: &[String]) {
    match format {
        LogFormat::Text => {
            let mut err = std::io::stderr().lock();
            for line in lines {
                let _ = writeln!(err, "{line}");
            }
        }
        LogFormat::Json => {
            for line in lines {
                tracing::info!("{line}");
            }
        }
    }
}
