//! What is wrong with a configuration: where it stands and which rule it breaks.

use std::fmt;

use crate::tls::{Flaw, Half};

/// Where a value was written, in the order in which problems are printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the file: its name as it was given, line and column from 1, the column in characters.
    File {
        path: String,
        line: usize,
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In an option of the command line.
    Flag(&'static str),
    /// Nowhere in particular: the key it is about.
    Key(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Key(key) => f.write_str(key),
        }
    }
}

/// One thing that is wrong, as one line: the place, then the rule.
///
/// SECURITY: a problem never repeats a value. A key pasted into the wrong line would end in a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    place: Place,
    rule: String,
}

impl Problem {
    /// A problem with what was written at `place`.
    pub(super) fn at(place: &Place, rule: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            rule: rule.into(),
        }
    }

    /// A problem with `key` (such as `upstream.ca_file`) that no single line is to blame for.
    pub fn about(key: &str, rule: impl Into<String>) -> Self {
        Self::at(&Place::Key(key.to_owned()), rule)
    }

    /// A problem with one of the two files of `[tls]`.
    pub fn of(flaw: Flaw) -> Self {
        let key = match flaw.half {
            Half::Certificate => "tls.cert_file",
            Half::Key => "tls.key_file",
        };
        Self::about(key, flaw.reason)
    }

    /// The key it is about, if that is its only place.
    pub(super) fn key(&self) -> Option<&str> {
        match &self.place {
            Place::Key(key) => Some(key),
            Place::File { .. } | Place::Variable(_) | Place::Flag(_) => None,
        }
    }

    /// The same problem at `place`, where its key was written. A line of the file does not say
    /// which key it sets; a variable and a flag do.
    pub(super) fn moved(self, place: &Place) -> Self {
        let rule = match (place, self.key()) {
            (Place::File { .. }, Some(key)) => format!("`{key}`: {}", self.rule),
            (Place::File { .. }, None)
            | (Place::Variable(_) | Place::Flag(_) | Place::Key(_), Some(_) | None) => self.rule,
        };
        Self::at(place, rule)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

impl std::error::Error for Problem {}

/// Everything that is wrong, in the order of the file, then the environment, then the flags.
/// `Display` prints one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok(value)` if nothing is wrong.
    ///
    /// # Errors
    /// The problems, sorted, each once.
    pub(super) fn none_or<T>(mut problems: Vec<Problem>, value: T) -> Result<T, Self> {
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort();
        problems.dedup();
        Err(Self(problems))
    }

    /// Each problem.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "no problems are no `Problems`")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<T: IntoIterator<Item = Problem>>(problems: T) -> Self {
        let mut problems: Vec<Problem> = problems.into_iter().collect();
        problems.sort();
        Self(problems)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
