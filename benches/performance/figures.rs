//! What a row has found.

use crate::load::Heard;
use crate::rows::Row;

/// One system under one load, the medians of its turns.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) system: &'static str,
    pub(crate) connections: usize,
    pub(crate) heard: Heard,
}

/// What a row has to reach, and what it has.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) found: f64,
    pub(crate) limit: f64,
    /// Whether it is to be at least so much, and not at most.
    pub(crate) at_least: bool,
}

impl Verdict {
    pub(crate) fn at_most(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Self {
            what: what.into(),
            found,
            limit,
            at_least: false,
        }
    }

    pub(crate) fn at_least(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Self {
            at_least: true,
            ..Self::at_most(what, found, limit)
        }
    }

    pub(crate) fn holds(&self) -> bool {
        if self.at_least {
            self.found >= self.limit
        } else {
            self.found <= self.limit
        }
    }
}

/// Everything that a row has found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) row: Row,
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<Verdict>,
    /// What else was seen, in sentences.
    pub(crate) notes: Vec<String>,
}

impl Finding {
    pub(crate) fn of(row: Row, figures: Vec<Figure>) -> Self {
        Self {
            row,
            figures,
            verdicts: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, words: impl Into<String>) {
        self.notes.push(words.into());
    }

    pub(crate) fn judge(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    /// What a system has shown under a load.
    pub(crate) fn heard(&self, system: &str, connections: usize) -> Option<&Heard> {
        let mut figures = self.figures.iter();
        let found = figures.find(|one| one.system == system && one.connections == connections);
        found.map(|figure| &figure.heard)
    }

    /// Judges `system` against `floor` under every load: by CPU time, and by throughput too if so wanted.
    pub(crate) fn compare(&mut self, system: &str, floor: &str, (limit, rates): (f64, bool)) {
        let crowds = self.figures.iter().filter(|one| one.system == floor);
        for connections in crowds.map(|one| one.connections).collect::<Vec<_>>() {
            let Some((ours, theirs)) = self
                .heard(system, connections)
                .zip(self.heard(floor, connections))
            else {
                continue;
            };
            let (cpu, rate) = (ours.cpu / theirs.cpu, theirs.rate / ours.rate);
            let what = format!("{system} / {floor}, {connections} connections");
            self.judge(Verdict::at_most(format!("CPU of {what}"), cpu, limit));
            if rates {
                self.judge(Verdict::at_most(
                    format!("time a request of {what}"),
                    rate,
                    limit,
                ));
            }
        }
    }
}
