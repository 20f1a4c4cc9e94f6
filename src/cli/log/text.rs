//! A line of text, without colour: when, how bad, and its [`fields`].

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
