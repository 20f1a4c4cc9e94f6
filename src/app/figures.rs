//! The figures that stand in other rooms already, for the page that a Prometheus server reads.

use std::sync::Arc;

use crate::callbacks::Callbacks;
use crate::media::Archive;
use crate::metrics::Reading;
use crate::proxy::Proxy;
use crate::store::{Keeper, Shelf};

/// Whom the figures are read from.
pub(super) struct Sources {
    pub(super) proxy: Arc<Proxy>,
    pub(super) shelf: Shelf,
    pub(super) keeper: Arc<Keeper>,
    pub(super) archive: Arc<Archive>,
    pub(super) callbacks: Option<Arc<Callbacks>>,
}

impl Sources {
    /// All of them. Each takes a moment to read, and none blocks.
    pub(super) fn readings(self) -> Vec<Reading> {
        let mut all = Vec::from(of_runs(&self.proxy));
        all.extend(of_what_is_kept(&self.shelf, &self.keeper));
        all.extend(of_files(&self.archive));
        all.extend(self.callbacks.iter().flat_map(of_calls));
        all
    }
}

fn of_runs(proxy: &Arc<Proxy>) -> [Reading; 3] {
    let (calls, waiting, jobs) = (proxy.clone(), proxy.clone(), proxy.clone());
    [
        Reading::gauge(
            "paid_calls_in_flight",
            "Generations that are being run, jobs apart",
            move || count(calls.under_way()),
        ),
        Reading::gauge(
            "requests_waiting",
            "Requests that wait for the beginning of an answer that is being paid for",
            move || count(waiting.once().waiting()),
        ),
        Reading::gauge("jobs_running", "Video jobs that are followed", move || {
            count(jobs.jobs_running())
        }),
    ]
}

fn of_what_is_kept(shelf: &Shelf, keeper: &Arc<Keeper>) -> [Reading; 4] {
    let (kept, failures) = (shelf.clone(), shelf.clone());
    let (expired, room, freed) = (keeper.clone(), keeper.clone(), keeper.clone());
    [
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
