//! Everything that clients asked and were given, and what may follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use reprise::sandbox::Sandbox;

use crate::sort::Sort;

/// The history of all generations, by sort and prompt.
#[derive(Default)]
pub(crate) struct History(Mutex<BTreeMap<Wish, Chapter>>);

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wish {
    sort: usize,
    pub(crate) prompt: String,
}

/// What happened to one generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chapter {
    /// Requests that asked for a run of their own, each attempt by itself.
    pub(crate) no_cache: u64,
    /// Every answer that somebody was given whole.
    pub(crate) seen: BTreeSet<Bytes>,
    /// By the path of the poll: what showed the end of a job.
    pub(crate) ends: BTreeMap<String, Bytes>,
}

impl Wish {
    pub(crate) fn new(sort: Sort, prompt: &str) -> Self {
        let place = crate::sort::ALL.iter().position(|known| *known == sort);
        Self {
            sort: place.unwrap(),
            prompt: prompt.to_owned(),
        }
    }

    pub(crate) fn sort(&self) -> Sort {
        crate::sort::ALL[self.sort]
    }

    /// How often upstream was asked for it; each time was paid for.
    pub(crate) fn billed(&self, sandbox: &Sandbox) -> u64 {
        let sort = self.sort();
        let body = sort.body(&self.prompt).to_string();
        let route = format!("POST {}", sort.path());
        let asked = sandbox.requests();
        let asked = asked
            .iter()
            .filter(|seen| seen.route == route && seen.body == body.as_bytes());
        asked.count() as u64
    }
}

impl History {
    pub(crate) fn change(&self, wish: &Wish, change: impl FnOnce(&mut Chapter)) {
        let mut chapters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(chapters.entry(wish.clone()).or_default());
    }

    pub(crate) fn chapters(&self) -> BTreeMap<Wish, Chapter> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Somebody was given this, whole.
    pub(crate) fn seen(&self, wish: &Wish, body: Bytes) {
        self.change(wish, |chapter| {
            chapter.seen.insert(body);
        });
    }
}

impl Chapter {
    /// Holds the bill, and the answers that were given, to what was asked for.
    pub(crate) fn check(&self, wish: &Wish, billed: u64, kills: u64) {
        // What is cheap runs again after a crash, once for each.
        let again = if wish.sort().is_dear() { 0 } else { kills };
        let most = 1 + self.no_cache + again;
        assert!(
            billed <= most,
            "{wish:?}: paid {billed} times, asked for {most}: {self:?}"
        );
        if self.no_cache == 0 {
            let answers = self.seen.len();
            assert!(answers <= 1, "{wish:?}: {answers} different answers");
        }
    }
}
