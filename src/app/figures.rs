//! The figures that stand in other rooms already, for the page that a Prometheus server reads.

use std::sync::Arc;

use jiff::Timestamp;

use crate::callbacks::Callbacks;
use crate::config::Live;
use crate::ledger::Ledger;
use crate::media::Archive;
use crate::metrics::{Metrics, Page, Reading};
use crate::proxy::Proxy;
use crate::store::{Keeper, Shelf};

/// Whom the figures are read from.
pub(super) struct Sources<'a> {
    pub(super) proxy: &'a Live<Proxy>,
    pub(super) kept: (&'a Shelf, &'a Arc<Keeper>, &'a Arc<Ledger>),
    /// Who deals with addresses that others name.
    pub(super) outside: (&'a Arc<Archive>, &'a Arc<Callbacks>),
}

impl Sources<'_> {
    /// The page with all of them, and with what `metrics` counts. Each takes a moment to read, and none
    /// blocks.
    pub(super) fn page(self, metrics: &Metrics, started: Timestamp) -> Page {
        let (archive, callbacks) = self.outside;
        let mut all = Vec::from(of_runs(self.proxy));
        all.extend(of_what_is_kept(self.kept.0, self.kept.1));
        all.push(of_lines(self.kept.2));
        all.extend(of_files(archive));
        all.extend(of_calls(callbacks));
        Page::new(metrics, all, started)
    }
}

fn of_lines(ledger: &Arc<Ledger>) -> Reading {
    let ledger = ledger.clone();
    let help = "Bytes of lines that are not in the ledger's files yet";
    Reading::gauge("ledger_waiting_bytes", help, move || {
        count(ledger.waiting())
    })
}

fn of_runs(proxy: &Live<Proxy>) -> [Reading; 2] {
    let (calls, jobs) = (proxy.clone(), proxy.clone());
    [
        Reading::gauge(
            "paid_calls_in_flight",
            "Generations that are being run, jobs apart",
            move || count(calls.load().under_way()),
        ),
        Reading::gauge("jobs_running", "Video jobs that are followed", move || {
            count(jobs.load().jobs_running())
        }),
    ]
}

fn of_what_is_kept(shelf: &Shelf, keeper: &Arc<Keeper>) -> [Reading; 5] {
    let (kept, failures) = (shelf.clone(), shelf.clone());
    let (expired, room, freed) = (keeper.clone(), keeper.clone(), keeper.clone());
    let looking = keeper.clone();
    [
        Reading::gauge(
            "evictions_waiting",
            "1 until everything that is kept was looked at since the start: nothing is evicted before",
            move || u64::from(looking.is_looking()),
        ),
        Reading::gauge(
            "kept_bytes",
            "Bytes that are kept, media included",
            move || kept.kept_bytes(),
        ),
        Reading::counters(
            "evictions",
            "Generations that were evicted, by why",
            "reason",
            vec![
                ("expired", Box::new(move || expired.evicted().expired)),
                ("room", Box::new(move || room.evicted().for_room)),
            ],
        ),
        Reading::counter("evicted_bytes", "Bytes that evictions freed", move || {
            freed.evicted().bytes
        }),
        Reading::counter(
            "store_errors",
            "Writes to the disk that failed",
            move || failures.failures(),
        ),
    ]
}

fn of_files(archive: &Arc<Archive>) -> [Reading; 3] {
    let (kept, lost) = (archive.clone(), archive.clone());
    let (bytes, waiting) = (archive.clone(), archive.clone());
    [
        Reading::counters(
            "media_files",
            "Files behind links of results, by what became of them",
            "outcome",
            vec![
                ("kept", Box::new(move || kept.tally().files)),
                ("lost", Box::new(move || lost.tally().lost)),
            ],
        ),
        Reading::counter(
            "media_bytes",
            "Bytes of files that were fetched",
            move || bytes.tally().bytes,
        ),
        Reading::gauge(
            "media_waiting",
            "Files that are still to be fetched",
            move || count(waiting.waiting()),
        ),
    ]
}

fn of_calls(callbacks: &Arc<Callbacks>) -> [Reading; 2] {
    let (delivered, given_up) = (callbacks.clone(), callbacks.clone());
    let waiting = callbacks.clone();
    [
        Reading::counters(
            "callbacks",
            "Callbacks, by what became of them",
            "outcome",
            vec![
                ("delivered", Box::new(move || delivered.tally().delivered)),
                ("given_up", Box::new(move || given_up.tally().given_up)),
            ],
        ),
        Reading::gauge(
            "callbacks_waiting",
            "Callbacks that are due or to be repeated",
            move || count(waiting.tally().waiting),
        ),
    ]
}

fn count(many: usize) -> u64 {
    u64::try_from(many).unwrap_or(u64::MAX)
}
