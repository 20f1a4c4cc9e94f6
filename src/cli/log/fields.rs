//! The fields of a line of text, without colour: `message name="text" name=5`.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Thousandths of a whole number are written by hand up to here: all of its digits are exact.
const EXACT: f64 = 1e12;

/// Writes fields as the subscriber's own form does, in a tenth of its time: that asks of every field how
/// it is to be coloured, and looks at every character of a text.
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        write(&fields, &mut text)?;
        writer.write_str(&text)
    }
}

/// Appends fields to a line.
pub(super) fn write(fields: &impl RecordFields, line: &mut String) -> fmt::Result {
    let mut writing = Writing {
        line,
        is_first: true,
        result: Ok(()),
    };
    fields.record(&mut writing);
    writing.result
}

struct Writing<'l> {
    line: &'l mut String,
    is_first: bool,
    result: fmt::Result,
}

impl Writing<'_> {
    fn name(&mut self, field: &Field) {
        if !std::mem::take(&mut self.is_first) {
            self.line.push(' ');
        }
        match field.name() {
            "message" => {}
            name => {
                self.line.push_str(name.strip_prefix("r#").unwrap_or(name));
                self.line.push('=');
            }
        }
    }
}

impl Visit for Writing<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        if field.name() == "message" {
            push_harmless(value, self.line);
        } else if all(value, is_plain) {
            self.line.push('"');
            self.line.push_str(value);
            self.line.push('"');
        } else {
            self.result = self.result.and(write!(self.line, "{value:?}"));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.line.push_str(itoa::Buffer::new().format(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        match thousandths(value) {
            Some(parts) => push_thousandths(parts, self.line),
            None => self.result = self.result.and(write!(self.line, "{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        let begins = self.line.len();
        self.result = self.result.and(write!(self.line, "{value:?}"));
        let text = self.line.get(begins..).unwrap_or_default();
        if !all(text, is_printable) {
            let text = text.to_owned();
            self.line.truncate(begins);
            push_harmless(&text, self.line);
        }
    }
}

/// Appends a text. SECURITY: a stranger's words may be in an error or a message, and must steer no terminal.
fn push_harmless(text: &str, line: &mut String) {
    if all(text, is_printable) {
        line.push_str(text);
        return;
    }
    for letter in text.chars() {
        // Writing to a `String` cannot fail.
        let _ = match letter {
            _ if !steers(letter) => line.write_char(letter),
            '\0'..='\x7f' => write!(line, "\\x{:02x}", u32::from(letter)),
            _ => write!(line, "\\u{{{:x}}}", u32::from(letter)),
        };
    }
}

fn steers(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
}

/// Whether all bytes of a text are such. Without a branch for each, which compilers turn into wide instructions.
fn all(text: &str, are: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & are(byte))
}

/// Whether a character stands for itself wherever it is shown.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Whether a character stands for itself between quotes.
fn is_plain(byte: u8) -> bool {
    is_printable(byte) && byte != b'"' && byte != b'\\'
}

/// `value` in thousandths, if it is so many and no other number is written so: as times are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "within bounds, and only what is exactly so many thousandths counts"
)]
fn thousandths(value: f64) -> Option<u64> {
    let parts = (value * 1e3).round();
    let are_exact = parts / 1e3 == value && (1.0..EXACT).contains(&parts);
    are_exact.then_some(parts as u64)
}

/// Appends a number of thousandths as Rust writes it: with a point, and no digit too many.
fn push_thousandths(parts: u64, line: &mut String) {
    line.push_str(itoa::Buffer::new().format(parts / 1_000));
    line.push('.');
    let rest = parts % 1_000;
    if rest == 0 {
        line.push('0');
        return;
    }
    // The leading zeros come with a thousand in front.
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(1_000 + rest).trim_end_matches('0');
    line.push_str(digits.get(1..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::fmt::format::DefaultFields;

    use super::super::tests::Kept;
    use super::*;

    fn say() {
        let error: Result<u8, _> = "x".parse();
        let error = error.unwrap_err();
        tracing::info!(id = "req_1", client = "al\"ice\n", status = 200, "request");
        tracing::info!(ms = 0.25, none = Option::<u8>::None, some = Some("text"));
        tracing::warn!(%error, path = %"/v1/é", ok = true, "two  words");
        tracing::info!("{} kept, \x1b[31mred\x07 \u{9b}2J", 3);
        tracing::info!(debug = ?"a\tb\u{7f}", large = u64::MAX, below = -5, "numbers\tand é\nlines");
    }

    fn written(
        with: impl for<'w> FormatFields<'w> + Send + Sync + 'static,
        say: impl FnOnce(),
    ) -> String {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(with)
            .with_ansi(false)
            .without_time()
            .with_writer(kept.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        kept.text()
    }

    #[test]
    fn they_look_as_the_subscribers_own() {
        let ours = written(Fields, say);
        assert_eq!(ours, written(DefaultFields::new(), say));
        assert!(ours.contains(r#"request id="req_1" client="al\"ice\n" status=200"#));
    }

    #[test]
    fn numbers_look_as_rust_writes_them() {
        let mut numbers = vec![
            0.0,
            -0.0,
            -1.5,
            0.001,
            0.01,
            0.25,
            1.0,
            1.1,
            9.999,
            10.05,
            1234.567,
            0.0004,
            1e9,
            999_999_999.999,
            1e12,
            1e15,
            1e300,
            1e-300,
            f64::NAN,
            f64::INFINITY,
            0.1 + 0.2,
        ];
        numbers.extend((0..20_000).map(|micros| f64::from(micros * 7) / 1e3));
        for number in numbers {
            let ours = written(Fields, || tracing::info!(number));
            assert_eq!(
                ours.trim_end().rsplit('=').next(),
                Some(&*format!("{number:?}"))
            );
        }
    }

    #[test]
    fn a_strangers_words_steer_no_terminal() {
        let ours = written(Fields, || {
            tracing::info!(said = %"\x1b[2J\x7f twice \x1b\x1b", line = "\x1b]0;x\x07");
        });
        assert!(
            ours.contains(r"said=\x1b[2J\x7f twice \x1b\x1b "),
            "{ours:?}"
        );
        let rest = ours.trim_end_matches('\n');
        assert!(!rest.chars().any(char::is_control), "{ours:?}");
    }
}
