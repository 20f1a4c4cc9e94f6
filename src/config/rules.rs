//! What a value must look like, one function for each kind of value. Each says its rule, and never
//! repeats the value: it may be a key that was pasted into the wrong line.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::cache::Ttl;
use super::settings::Value;

/// The shortest duration that is taken: anything less would spin.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest duration that is taken: a hundred years.
const LONGEST: Duration = Duration::from_hours(36_525 * 24);

/// Text that `parse` takes.
pub(super) fn words<T>(
    value: &Value,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, String> {
    match value.text() {
        Some(text) => parse(text),
        None => Err(format!("must be text in quotes, not {}", value.noun())),
    }
}

/// `true` or `false`.
pub(super) fn truth(value: &Value) -> Result<bool, String> {
    match value {
        Value::Truth(truth) => Ok(*truth),
        Value::Plain(text) if text == "true" => Ok(true),
        Value::Plain(text) if text == "false" => Ok(false),
        Value::Plain(_) => Err("must be true or false".to_owned()),
        Value::Text(_)
        | Value::Whole(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Path(_)
        | Value::Foreign(_) => Err(format!("must be true or false, not {}", value.noun())),
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let chosen = value
            .text()
            .and_then(|text| choices.iter().find(|(word, _)| *word == text));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<String> = choices
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            match words.split_last() {
                Some((last, rest)) if !rest.is_empty() => {
                    format!("must be {} or {last}", rest.join(", "))
                }
                _ => format!("must be {}", words.join("")),
            }
        })
    }
}

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    const RULE: &str = "must be a duration such as \"30s\" or \"12h\" (units: ms, s, m, h, d)";
    let Some(text) = value.text() else {
        return Err(format!("{RULE}, not {}", value.noun()));
    };
    let (digits, unit) = number_and_unit(text);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(RULE.to_owned()),
    };
    if digits.is_empty() {
        return Err(RULE.to_owned());
    }
    // More digits than fit are more than a hundred years as well.
    let number: u64 = digits.parse().unwrap_or(u64::MAX);
    let duration = Duration::from_millis(number.saturating_mul(milliseconds));
    if duration < SHORTEST {
        Err("must be at least \"100ms\"".to_owned())
    } else if duration > LONGEST {
        Err("must be at most a hundred years (\"36525d\")".to_owned())
    } else {
        Ok(duration)
    }
}

/// A duration, or `forever`.
pub(super) fn ttl(value: &Value) -> Result<Ttl, String> {
    if value.text() == Some("forever") {
        return Ok(Ttl::Forever);
    }
    duration(value).map(Ttl::For).map_err(|rule| {
        rule.replacen(
            "must be a duration such as",
            "must be \"forever\" or a duration such as",
            1,
        )
    })
}

/// A number of bytes within `range`: a whole number, or one with a unit.
pub(super) fn size(range: std::ops::RangeInclusive<u64>) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        let bytes = bytes(value)?;
        if bytes < *range.start() {
            Err(format!("must be {} or more bytes", range.start()))
        } else if bytes > *range.end() {
            Err(format!(
                "must be {} or fewer bytes{}",
                range.end(),
                in_words(*range.end())
            ))
        } else {
            Ok(bytes)
        }
    }
}

/// A whole number of gibibytes as it may be written in the file; nothing for any other.
fn in_words(bytes: u64) -> String {
    let whole = bytes >> 30;
    if whole > 0 && whole << 30 == bytes {
        format!(" (\"{whole}GiB\")")
    } else {
        String::new()
    }
}

fn bytes(value: &Value) -> Result<u64, String> {
    const RULE: &str =
        "must be a size such as \"64MiB\" (units: B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)";
    let (digits, unit) = match value {
        Value::Whole(whole) => return u64::try_from(*whole).map_err(|_| RULE.to_owned()),
        Value::Text(text) | Value::Plain(text) => number_and_unit(text),
        Value::Float(_) | Value::Truth(_) | Value::List(_) | Value::Path(_) | Value::Foreign(_) => {
            return Err(format!("{RULE}, not {}", value.noun()));
        }
    };
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(RULE.to_owned()),
    };
    if digits.is_empty() {
        return Err(RULE.to_owned());
    }
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "must be fewer bytes than 2^64".to_owned())
}

/// The digits at the start and what follows them.
fn number_and_unit(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// A whole number within `range`.
pub(super) fn count(
    range: std::ops::RangeInclusive<u32>,
) -> impl Fn(&Value) -> Result<u32, String> {
    move |value| {
        let whole = match value {
            Value::Whole(whole) => u32::try_from(*whole).ok(),
            Value::Plain(text) => text.parse().ok(),
            Value::Text(_)
            | Value::Float(_)
            | Value::Truth(_)
            | Value::List(_)
            | Value::Path(_)
            | Value::Foreign(_) => None,
        };
        whole.filter(|whole| range.contains(whole)).ok_or_else(|| {
            format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            )
        })
    }
}

/// A number of US dollars, 0 or more.
pub(super) fn dollars(value: &Value) -> Result<f64, String> {
    let amount = match value {
        Value::Float(amount) => Some(*amount),
        Value::Whole(whole) => u32::try_from(*whole).ok().map(f64::from),
        Value::Plain(text) => text.parse().ok(),
        Value::Text(_) | Value::Truth(_) | Value::List(_) | Value::Path(_) | Value::Foreign(_) => {
            None
        }
    };
    // MONEY: not a number is neither below a budget nor above it.
    amount
        .filter(|amount: &f64| (0.0..=1e9).contains(amount))
        .ok_or_else(|| "must be a number of US dollars, from 0 to 1000000000".to_owned())
}

/// The name of an environment variable.
pub(super) fn variable(text: &str) -> Result<String, String> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.is_empty()
        || text.len() > 100
        || text.starts_with(|c: char| c.is_ascii_digit())
        || !text.bytes().all(sound)
    {
        // SECURITY: this is where the key itself is pasted by mistake.
        return Err(
            "must be the name of an environment variable (letters, digits, _), \
                    not the secret itself"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// The hash of a client's key.
pub(super) fn key_hash(text: &str) -> Result<blake3::Hash, String> {
    text.strip_prefix("blake3:")
        .and_then(|hex| blake3::Hash::from_hex(hex).ok())
        .ok_or_else(|| {
            "must be \"blake3:\" and 64 hex digits; `reprise keys add NAME` makes one".to_owned()
        })
}

/// The name of a client.
pub(super) fn client_name(name: &str) -> Result<(), String> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(sound) {
        return Err("a client's name is 1 to 64 of A-Z a-z 0-9 . _ -".to_owned());
    }
    if name == "local" {
        return Err("`local` is what a client without a key is called: choose another".to_owned());
    }
    Ok(())
}

/// What is logged: a level, or a filter such as `info,reprise=debug`.
pub(super) fn filter(text: &str) -> Result<String, String> {
    const RULE: &str = "must be off, error, warn, info, debug or trace, \
                        or a filter such as \"info,reprise=debug\"";
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // The filter takes a lone word that is no level for the name of a module, and then logs
    // nothing else: "inof" would be silence.
    let sound = text.split(',').map(str::trim).all(|part| {
        part.contains(['=', '[']) || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part))
    });
    if sound && EnvFilter::builder().parse(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(RULE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn durations_are_read() {
        let table = [
            ("100ms", 100),
            ("0100ms", 100),
            ("30s", 30_000),
            ("10m", 600_000),
            ("12h", 43_200_000),
            ("30d", 2_592_000_000),
            ("36525d", 3_155_760_000_000),
        ];
        for (written, milliseconds) in table {
            assert_eq!(
                duration(&text(written)),
                Ok(Duration::from_millis(milliseconds))
            );
        }
    }

    #[test]
    fn sizes_are_read() {
        let table = [
            (text("0"), 0),
            (text("7B"), 7),
            (text("64KiB"), 65_536),
            (text("64KB"), 64_000),
            (text("1MiB"), 1_048_576),
            (text("1MB"), 1_000_000),
            (text("20GiB"), 21_474_836_480),
            (text("2GB"), 2_000_000_000),
            (text("1TiB"), 1_099_511_627_776),
            (text("1TB"), 1_000_000_000_000),
            (text("18446744073709551615"), u64::MAX),
            (Value::Whole(12), 12),
            (Value::Plain("12".to_owned()), 12),
        ];
        for (written, bytes) in table {
            assert_eq!(size(0..=u64::MAX)(&written), Ok(bytes), "{written:?}");
        }
    }

    #[test]
    fn filters_are_levels_or_name_their_target() {
        for sound in [
            "info",
            "WARN",
            "off",
            "info,reprise=debug",
            "reprise::once=trace, warn",
        ] {
            assert_eq!(filter(sound).as_deref(), Ok(sound));
        }
        for unsound in [
            "",
            "inof",
            "reprise",
            "info,reprise",
            "reprise=loud",
            "info;debug",
        ] {
            assert!(filter(unsound).is_err(), "{unsound}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_within_its_bounds_or_refused(written in "[0-9]{0,25}(ms|s|m|h|d|x|)") {
            if let Ok(duration) = duration(&text(written)) {
                prop_assert!((SHORTEST..=LONGEST).contains(&duration));
            }
        }

        #[test]
        fn no_rule_repeats_what_was_written(written in "sk-[A-Za-z0-9 .:/@*-]{8,40}") {
            let value = text(written.clone());
            let rules = [
                duration(&value).err(),
                ttl(&value).err(),
                truth(&value).err(),
                size(0..=1)(&value).err(),
                count(0..=1)(&value).err(),
                dollars(&value).err(),
                one_of(&[("on", ())])(&value).err(),
                words(&value, variable).err(),
                words(&value, key_hash).err(),
            ];
            for rule in rules {
                prop_assert!(!rule.expect("a rule").contains(&written));
            }
        }
    }
}
