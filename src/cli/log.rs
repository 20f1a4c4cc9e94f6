//! Where log lines go: to standard error, as text or as JSON.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Begins to log. Called once, before anything is worth a line.
pub(super) fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    // A second subscriber in one process is refused; the first one goes on.
    let _ = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
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
