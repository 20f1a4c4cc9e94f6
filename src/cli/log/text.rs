//! A line of text, without colour: when, how bad, and its [`fields`](super::fields).

use std::fmt;

use jiff::Timestamp;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields;
use crate::clock::utc::{Fraction, write_utc};

/// Room for most lines, in bytes.
const ROOM: usize = 512;

/// Writes lines as the subscriber's own form does, in one piece.
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if context.event_scope().is_some() {
            // Within spans there are only libraries, where somebody wants to hear of all they do.
            let own = format::Format::default().with_target(false);
            return own.format_event(context, writer, event);
        }
        let mut line = String::with_capacity(ROOM);
        write_utc(Timestamp::now(), Fraction::Micros, &mut line);
        line.push_str(word(*event.metadata().level()));
        fields::write(event, &mut line)?;
        line.push('\n');
        writer.write_str(&line)
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => " ERROR ",
        Level::WARN => "  WARN ",
        Level::INFO => "  INFO ",
        Level::DEBUG => " DEBUG ",
        Level::TRACE => " TRACE ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::log::fields::Fields;
    use crate::cli::log::fields::tests::Kept;

    fn said() {
        tracing::error!(code = 5, "it is broken");
        tracing::warn!("careful");
        tracing::info!(target: "reprise::request", id = "req_1", total_ms = 0.25, "request");
        tracing::debug!("details");
        tracing::trace!(last = true);
        tracing::info_span!("within", of = "x").in_scope(|| tracing::info!("a library"));
    }

    /// What is written, without the times, all of which are as long.
    fn without_times(kept: &Kept) -> Vec<String> {
        let text = kept.text();
        let lines = text.lines().map(|line| {
            let (time, rest) = line.split_at("2026-11-22T00:04:31.435684Z".len());
            assert!(time.parse::<Timestamp>().is_ok(), "{line}");
            rest.to_owned()
        });
        lines.collect()
    }

    #[test]
    fn lines_look_as_the_subscribers_own() {
        let (ours, theirs) = (Kept::default(), Kept::default());
        let subscriber = || {
            let plain = tracing_subscriber::fmt().with_max_level(Level::TRACE);
            plain.with_ansi(false).with_target(false)
        };
        let own = subscriber().with_writer(theirs.clone()).finish();
        let with_text = subscriber().fmt_fields(Fields).event_format(Text);
        let with_text = with_text.with_writer(ours.clone()).finish();
        tracing::subscriber::with_default(own, said);
        tracing::subscriber::with_default(with_text, said);
        assert_eq!(without_times(&ours), without_times(&theirs));
        assert_eq!(without_times(&ours).len(), 6);
    }
}
