//! A month in UTC: what a file of the ledger is about.

use jiff::Timestamp;
use jiff::tz::Offset;

/// What the name of a month's file ends with.
const ENDING: &str = ".jsonl";

/// One month of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The month that `time` is in.
    pub(super) fn of(time: Timestamp) -> Self {
        let date = Offset::UTC.to_datetime(time).date();
        Self {
            year: date.year(),
            month: date.month(),
        }
    }

    /// The name of its file: `2026-11.jsonl`.
    pub(super) fn file_name(self) -> String {
        format!("{:04}-{:02}{ENDING}", self.year, self.month)
    }

    /// The month whose file has this name.
    pub(super) fn of_file_name(name: &str) -> Option<Self> {
        let (year, month) = name.strip_suffix(ENDING)?.split_once('-')?;
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        let found = Self { year, month };
        // One spelling only: no other file is ours.
        ((1..=12).contains(&month) && found.file_name() == name).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_at_midnight_in_utc() {
        for (time, name) in [
            ("2026-11-30T23:59:59.999999999Z", "2026-11.jsonl"),
            ("2026-12-01T00:00:00Z", "2026-12.jsonl"),
            ("2026-12-01T00:30:00+01:00", "2026-11.jsonl"),
        ] {
            let month = Month::of(time.parse().unwrap());
            assert_eq!(month.file_name(), name);
            assert_eq!(Month::of_file_name(name), Some(month));
        }
    }

    #[test]
    fn only_our_own_files_are_read() {
        for name in [
            "2026-13.jsonl",
            "2026-00.jsonl",
            "2026-1.jsonl",
            "+026-01.jsonl",
            "2026-11.jsonl.bak",
            "2026-11.json",
            "notes.jsonl",
            ".jsonl",
        ] {
            assert_eq!(Month::of_file_name(name), None, "{name}");
        }
    }
}
