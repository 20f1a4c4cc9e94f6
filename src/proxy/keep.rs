//! A run that succeeded: durable first, then the note goes, then the last byte.
//!
//! What is written for it follows one another, and nobody else has to say something in between. So all
//! of it is one visit to a thread that may block ([`Keeping`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Proxy;
use super::bill::Bill;
use super::lead::Call;
use super::record::Taken;
use crate::clock::Clock;
use crate::fault;
use crate::generation::Kind;
use crate::media::{links, medium};
use crate::once::Ending;
use crate::store::{self, Entry, Record, Shelf, StoreError, Task};

/// All that has to do with a run while its answer is made durable.
///
/// MONEY: the call first, so that in a panic its note is in doubt before anything else ends.
struct Keeping {
    call: Call,
    taken: Taken,
    bill: Bill,
    shelf: Shelf,
    clock: Clock,
    /// Whether the files behind the links in its answer are to be fetched.
    archives: bool,
}

impl Proxy {
    /// Keeps the answer, and ends the flight with it.
    pub(super) async fn keep(&self, mut call: Call, taken: Taken) {
        if let Some(task) = &taken.task {
            call.admission.for_job(task);
        }
        let bill = self.bill(&call, &taken).await;
        let upstreams = call.run.upstreams.take();
        let keeping = Keeping {
            archives: call.run.kind == Kind::Images && self.config.media.archive,
            call,
            taken,
            bill,
            shelf: self.shelf.clone(),
            clock: self.clock.clone(),
        };
        // Before anybody hears of the end: who asks for a younger answer at once must not find the
        // note of a run that is over.
        let at_once = upstreams.is_none();
        let kept = move || keeping.keep(at_once);
        // A panic has dropped all of it, the lead too: there is nothing left to be done.
        let Ok((keeping, kept)) = tokio::task::spawn_blocking(kept).await else {
            return;
        };
        let (entry, booked) = match kept {
            Ok(kept) => kept,
            Err(error) => {
                let Keeping { call, taken, .. } = keeping;
                return call.not_kept(taken, &error).await;
            }
        };
        if let Some(task) = &entry.record.task {
            self.watch_job(&task.id, &entry.record.path);
        }
        self.archive.fetch_for(&entry.record);
        let keeping = if at_once {
            keeping
        } else {
            // Before anybody can join or hit, and have the same address called a second time.
            self.note_upstreams(&entry, upstreams).await;
            let settle = move || keeping.settle(booked);
            let Ok(keeping) = tokio::task::spawn_blocking(settle).await else {
                return;
            };
            keeping
        };
        fault::point("after-settle");
        keeping.end(entry);
    }
}

impl Keeping {
    /// Makes everything durable, in the order of a crash; says what is kept, and whether it is booked.
    /// The note goes too when it is to go `at_once`.
    fn keep(mut self, at_once: bool) -> (Self, Result<(Arc<Entry>, bool), StoreError>) {
        if self.call.pledge.is_none() {
            // MONEY: no note says that it ran, so it is booked before it is kept.
            self.call.book(self.bill.usd);
        }
        fault::point("before-record");
        // MONEY: a panic over the answer's text costs no more than keeping it: it was paid for.
        let entry = catch_unwind(AssertUnwindSafe(|| self.entry()))
            .unwrap_or_else(|_| Err(StoreError::Panicked("putting it together".to_owned())));
        let entry = match entry.and_then(|entry| self.shelf.put_blocking(entry)) {
            Ok(entry) => entry,
            Err(error) => {
                if !self.bill.is_job {
                    self.call.book(self.bill.usd);
                }
                return (self, Err(error));
            }
        };
        let booked = if self.bill.is_job {
            self.call.hand_to_job();
            true
        } else {
            self.call.book(self.bill.usd)
        };
        self.call.admission.kept();
        fault::point("after-record");
        if at_once {
            self = self.settle(booked);
        }
        (self, Ok((entry, booked)))
    }

    fn settle(mut self, booked: bool) -> Self {
        self.call.settle(booked);
        self
    }

    /// The end, for everyone who waits.
    fn end(self, entry: Arc<Entry>) {
        let Self { call, taken, .. } = self;
        let answer = taken.answer;
        drop(call.admission);
        call.lead.end(Ending::Kept { entry, answer });
        fault::point("after-flight");
        taken.recorder.end();
    }

    fn entry(&mut self) -> Result<Entry, StoreError> {
        let (run, answer) = (&self.call.run, &self.taken.answer);
        let task = match run.kind {
            Kind::Video => self.taken.task.take(),
            Kind::Images | Kind::Audio | Kind::Embeddings | Kind::Chat => None,
        };
        let now = self.clock.now();
        let mut record = Record {
            key: self.call.lead.key(),
            kind: run.kind,
            path: run.path.clone(),
            model: run.identity.model.clone(),
            client: run.client.clone(),
            status: answer.status.as_u16(),
            headers: store::keepable(&answer.headers),
            created_at: now,
            elapsed_ms: u64::try_from(self.call.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            usd: self.bill.recorded,
            run: Some(self.bill.run),
            extent: self.bill.extent,
            previous: None,
            media: Vec::new(),
            passed_by: None,
            task: task.map(|id| Task::begun(id, now)),
        };
        if self.archives {
            medium::want(&mut record, self.links());
        }
        Ok(Entry {
            record,
            body: self.taken.recorder.payload_blocking()?,
            polls: Vec::new(),
        })
    }

    /// The links in an answer that is whole. One that cannot be read back is kept all the same.
    fn links(&self) -> Vec<String> {
        let found = catch_unwind(AssertUnwindSafe(|| {
            let whole = self.taken.recorder.whole_blocking(links::LARGEST as u64);
            links::find(&whole.ok().flatten().unwrap_or_default())
        }));
        // A panic is reported by itself.
        found.unwrap_or_default()
    }
}
