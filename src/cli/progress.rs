//! How far something is, on one line of a terminal; nothing where nobody looks.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is written anew at most.
const PAUSE: Duration = Duration::from_millis(100);

/// A line on stderr, which goes when this is dropped.
pub(super) struct Progress {
    what: &'static str,
    /// How much there is to do, as far as that is known; 0: it is not.
    of: u64,
    done: u64,
    shown: Option<Instant>,
    seen: bool,
    form: fn(u64) -> String,
}

impl Progress {
    /// For so many bytes.
    pub(super) fn of_bytes(what: &'static str, of: u64) -> Self {
        Self {
            what,
            of,
            done: 0,
            shown: None,
            seen: std::io::stderr().is_terminal(),
            form: size,
        }
    }

    /// For an unknown number of things.
    pub(super) fn counting(what: &'static str) -> Self {
        Self {
            form: |count| count.to_string(),
            ..Self::of_bytes(what, 0)
        }
    }

    /// How much there is to do, as far as that is known by now.
    pub(super) fn of(&mut self, of: u64) {
        self.of = of;
    }

    /// So much more is done.
    pub(super) fn add(&mut self, more: u64) {
        self.to(self.done.saturating_add(more));
    }

    /// So much is done in all.
    pub(super) fn to(&mut self, done: u64) {
        self.done = done;
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE);
        if self.seen && due {
            self.shown = Some(Instant::now());
            write(&format!("\r{}\x1b[K", self.line()));
        }
    }

    fn line(&self) -> String {
        let done = (self.form)(self.done);
        if self.of == 0 {
            return format!("{} {done}", self.what);
        }
        // It may grow while it is gone through.
        let percent = u128::from(self.done) * 100 / u128::from(self.of);
        let of = (self.form)(self.of);
        format!("{} {done} of {of}, {} %", self.what, percent.min(100))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            write("\r\x1b[K");
        }
    }
}

/// A terminal that is gone is no reason to fail.
fn write(text: &str) {
    let mut to = std::io::stderr().lock();
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    drop(written);
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = larger;
    }
    match tenths % 10 {
        _ if unit == "B" => format!("{bytes} B"),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_fitting_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_576, "1.0 MiB"),
            (3 * 1_024 * 1_024 * 1_024 / 2, "1.5 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        let mut progress = Progress {
            seen: false,
            ..Progress::of_bytes("read", 2_048)
        };
        progress.add(1_024);
        assert_eq!(progress.line(), "read 1.0 KiB of 2.0 KiB, 50 %");
        progress.to(4_096);
        assert_eq!(progress.line(), "read 4.0 KiB of 2.0 KiB, 100 %");
        assert_eq!(Progress::counting("seen").line(), "seen 0");
    }
}
