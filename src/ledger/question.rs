//! What statistics are asked for.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config;

/// What generations are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Who asked for them.
    #[default]
    Client,
    /// The model that they named.
    Model,
    /// What they make.
    Kind,
    /// The day in UTC on which they were asked for.
    Day,
}

impl By {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Client, Self::Model, Self::Kind, Self::Day];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Model => "model",
            Self::Kind => "kind",
            Self::Day => "day",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word by which nothing is grouped.
#[derive(Debug, thiserror::Error)]
#[error("group by client, model, kind or day")]
pub struct UnknownGroup;

impl FromStr for By {
    type Err = UnknownGroup;

    fn from_str(word: &str) -> Result<Self, UnknownGroup> {
        let known = Self::ALL.into_iter().find(|by| by.as_str() == word);
        known.ok_or(UnknownGroup)
    }
}

/// Which lines are counted, and in which groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The groups.
    pub by: By,
    /// Only what was asked for then or later.
    pub since: Option<Timestamp>,
}

impl Question {
    /// Reads the query of `GET /api/stats`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of_query(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut question = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "by" => {
                    question.by = value
                        .parse()
                        .map_err(|error: UnknownGroup| format!("by: {error}."))?;
                }
                "since" => {
                    let since = since(&value, now).map_err(|error| format!("since: {error}."))?;
                    question.since = Some(since);
                }
                _ => return Err("What can be asked for here is by and since.".to_owned()),
            }
        }
        Ok(question)
    }

    /// The same as a query, without its `?`.
    pub fn query(&self) -> String {
        let since = self.since.map(|since| format!("&since={since}"));
        format!("by={}{}", self.by, since.unwrap_or_default())
    }
}

/// Reads how far back is looked: an age such as `7d` or `12h`, a day in UTC (`2026-11-01`), or a
/// time (RFC 3339).
///
/// # Errors
/// When it is none of these, in words.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<Date>() {
        return date
            .to_zoned(TimeZone::UTC)
            .map(|day| day.timestamp())
            .map_err(|error| error.to_string());
    }
    let age = config::parse_duration(text).map_err(|_| {
        "write an age (7d, 12h), a day (2026-11-01) or a time (2026-11-01T08:00:00Z)".to_owned()
    })?;
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    // Before the calendar begins there is no line.
    Ok(now.checked_sub(age).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T10:00:00Z";

    #[test]
    fn one_can_look_back_in_three_ways() {
        let now = NOW.parse().unwrap();
        for (text, expected) in [
            ("7d", Some("2026-11-14T10:00:00Z")),
            ("12h", Some("2026-11-20T22:00:00Z")),
            ("2026-11-01", Some("2026-11-01T00:00:00Z")),
            ("2026-11-01T01:00:00+01:00", Some("2026-11-01T00:00:00Z")),
            ("10000d", Some("1999-07-06T10:00:00Z")),
            ("300000000d", None),
            ("2026-13-01", None),
            ("7", None),
            ("last week", None),
            ("", None),
        ] {
            let found = since(text, now).map(|time| time.to_string());
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_query_comes_back_as_it_was() {
        let now: Timestamp = NOW.parse().unwrap();
        for by in By::ALL {
            for since in [None, Some(now)] {
                let question = Question { by, since };
                let read = Question::of_query(&question.query(), now).unwrap();
                assert_eq!(read, question);
            }
        }
        assert_eq!(Question::of_query("", now).unwrap(), Question::default());
        for wrong in ["by=colour", "by=", "since=soon", "since=", "to=1d", "x"] {
            assert!(Question::of_query(wrong, now).is_err(), "{wrong}");
        }
    }
}
