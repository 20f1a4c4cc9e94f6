//! One line of the ledger.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::utc::{Fraction, write_utc};
use crate::generation::{Fingerprint, Kind};
use crate::price::Usd;

/// What became of a generation that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It ran, and was paid for.
    Paid,
    /// It was answered from what is kept.
    Hit,
    /// It was answered by a run, or a job, that somebody else had begun.
    Joined,
    /// It ran, failed, and cost nothing.
    Failed,
    /// Nobody knows whether it ran.
    Unknown,
}

impl Outcome {
    /// Every one, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::Paid,
        Self::Hit,
        Self::Joined,
        Self::Failed,
        Self::Unknown,
    ];

    /// The word for it in the ledger, in statistics and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_nothing(usd: &Usd) -> bool {
    *usd == Usd::ZERO
}

/// One generation that a client asked for. Holds no prompt and no key of anybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it was asked for. Its month is the file's, and its day the one that a budget counts it in.
    pub time: Timestamp,
    /// Who asked.
    pub client: String,
    /// What kind of generation it is.
    pub kind: Kind,
    /// The model that the request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Which generation.
    pub key: Fingerprint,
    /// What became of it.
    pub outcome: Outcome,
    /// What was paid for it.
    pub usd_spent: Usd,
    /// What another run would have cost, where none was needed.
    pub usd_saved: Usd,
    /// What stays held of its client's budget until the day and the month of `time` are over: of an
    /// unknown outcome that nobody can resolve, since no note stands for it.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub usd_held: Usd,
    /// The run that it is about, where there was one: the same in every line of that run, of which
    /// the last counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Uuid>,
    /// Upstream's id of its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// No price is known for its model, so it counts as if it cost nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpriced: bool,
    /// It was paid for, or may have been, and an earlier run of the same generation has an unknown outcome:
    /// it may be paid for twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub possible_double_payment: bool,
}

impl Line {
    /// Appends it as JSON: what `serde` makes of it, in a fraction of the time, since every hit has one.
    ///
    /// # Errors
    /// Those of `serde`, which has none for what is in a line.
    pub(super) fn write(&self, out: &mut String) -> Result<(), serde_json::Error> {
        out.push_str(r#"{"time":""#);
        write_utc(self.time, Fraction::Shortest, out);
        out.push_str(r#"","client":"#);
        write_text(&self.client, out)?;
        out.push_str(r#","kind":""#);
        out.push_str(self.kind.as_str());
        out.push('"');
        if let Some(model) = &self.model {
            out.push_str(r#","model":"#);
            write_text(model, out)?;
        }
        out.push_str(r#","key":""#);
        self.key.write(out);
        out.push_str(r#"","outcome":""#);
        out.push_str(self.outcome.as_str());
        out.push_str(r#"","usd_spent":"#);
        write_usd(self.usd_spent, out)?;
        out.push_str(r#","usd_saved":"#);
        write_usd(self.usd_saved, out)?;
        if self.usd_held != Usd::ZERO {
            out.push_str(r#","usd_held":"#);
            write_usd(self.usd_held, out)?;
        }
        if let Some(run) = self.run {
            // Writing to a `String` cannot fail.
            let _ = write!(out, r#","run":"{run}""#);
        }
        if let Some(task) = &self.task {
            out.push_str(r#","task":"#);
            write_text(task, out)?;
        }
        if self.unpriced {
            out.push_str(r#","unpriced":true"#);
        }
        if self.possible_double_payment {
            out.push_str(r#","possible_double_payment":true"#);
        }
        out.push('}');
        Ok(())
    }
}

fn write_text(text: &str, out: &mut String) -> Result<(), serde_json::Error> {
    let stands_for_itself = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // Without a branch for each, which compilers turn into wide instructions.
    if text
        .bytes()
        .fold(true, |all, byte| all & stands_for_itself(byte))
    {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text)?);
    }
    Ok(())
}

fn write_usd(usd: Usd, out: &mut String) -> Result<(), serde_json::Error> {
    if usd == Usd::ZERO {
        out.push_str("0.0");
    } else {
        out.push_str(&serde_json::to_string(&usd)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    /// Anything that may stand in a line.
    fn lines() -> impl Strategy<Value = Line> {
        let words = || {
            prop_oneof![
                "[a-z0-9./-]{1,20}",
                ".{0,8}",
                Just("a\"b\\c\n\u{7f}é".to_owned())
            ]
        };
        let usd = || prop_oneof![Just(0), 0..20_000_000_000_u64].prop_map(Usd::from_billionths);
        let when = (0_i64..4_000_000_000, 0..1_000_000_000_i32);
        let who = (words(), option::of(words()), option::of(words()));
        let what = (0..Kind::ALL.len(), 0..Outcome::ALL.len(), any::<[u8; 32]>());
        let run = option::of(any::<u128>());
        let marks = (any::<bool>(), any::<bool>());
        (when, who, what, (usd(), usd(), usd()), run, marks).prop_map(
            |((second, nanos), (client, model, task), (kind, outcome, key), usd, run, marks)| {
                Line {
                    time: Timestamp::new(second, nanos).unwrap(),
                    client,
                    kind: Kind::ALL[kind],
                    model,
                    key: Fingerprint::from_bytes(key),
                    outcome: Outcome::ALL[outcome],
                    usd_spent: usd.0,
                    usd_saved: usd.1,
                    usd_held: usd.2,
                    run: run.map(Uuid::from_u128),
                    task,
                    unpriced: marks.0,
                    possible_double_payment: marks.1,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn it_is_written_as_serde_writes_it(line in lines()) {
            let mut text = String::new();
            line.write(&mut text)?;
            prop_assert_eq!(text, serde_json::to_string(&line)?);
        }
    }
}
