//! Lines beside those that the subscriber itself writes.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::fields::Fields;
use super::text::Text;

/// What was written.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

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
