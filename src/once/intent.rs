//! The durable note that a paid call is under way.
//!
//! It is written before the request leaves and goes only when the outcome is known *and* kept. So
//! a process that dies in between leaves the note, and nobody runs the generation again by himself.
//!
//! There is one note for each generation, while a client may have asked for a second run beside one
//! that is under way (`no-cache`). So the runs of one generation share it: the first writes it, and
//! only the last to end decides what becomes of it.

mod note;
mod past;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::generation::Fingerprint;
use crate::store::{Intent, IntentState, Record, Shelf, Stake, Store, StoreError};

use note::{Note, SHARED};
use past::Past;

/// How many groups of generations can write notes without waiting for each other. Each note lasts for some
/// syncs, so there are many more than notes at a time.
const STRIPES: usize = 512;

/// The notes of this process's runs.
#[derive(Clone)]
pub(super) struct Pledges {
    shelf: Shelf,
    notes: Arc<[Mutex<Notes>; STRIPES]>,
    past: Arc<Past>,
}

type Notes = HashMap<Fingerprint, Note>;

/// One run's part in the note. Dropped without a word, the note stays: the outcome is unknown.
pub struct Pledge {
    pledges: Pledges,
    intent: Intent,
    told: bool,
}

impl Pledges {
    /// No run is under way yet.
    pub(super) fn new(shelf: Shelf) -> Self {
        Self {
            shelf,
            notes: Arc::new(std::array::from_fn(|_| Mutex::default())),
            past: Arc::default(),
        }
    }

    /// Writes the note for a run that is about to be sent; it is durable when this returns.
    ///
    /// # Errors
    /// When it could not be written: then nothing may be sent.
    pub(super) async fn make(&self, mut intent: Intent) -> Result<Pledge, StoreError> {
        let (notes, past) = (self.notes.clone(), self.past.clone());
        let mut written = intent.clone();
        intent.started_at = self
            .shelf
            .writing(move |store| {
                if written.passed_by.is_some() {
                    let live = |key: &_| stripe(&notes, key).contains_key(key);
                    past.forget(store, written.started_at, live)?;
                }
                let mut notes = stripe(&notes, &written.key);
                if let Some(note) = notes.get_mut(&written.key) {
                    // The answer that one of them keeps must not pass for the other's after a crash.
                    written.reason = Some(SHARED.to_owned());
                    let own = written.stakes();
                    written.beside = note.beside(&written).0;
                    store.put_intent(&written)?;
                    note.stakes.extend(own);
                    note.live += 1;
                    note.written = Some((written.run, written.beside));
                    return Ok(written.started_at);
                }
                let before = store.intent(&written.key)?;
                if before.is_some() {
                    // The ledger's line of a run that is paid says it too.
                    let key = written.key.short();
                    tracing::warn!(key, "runs again although an earlier run's outcome is unknown: a possible double payment");
                }
                written.started_at = after_what_is_kept(&written, store)?;
                let mut note = Note {
                    live: 1,
                    stakes: written.stakes(),
                    before,
                    ..Note::default()
                };
                // A crash must not forget what the note was about that stood here before.
                written.beside = note.beside(&written).0;
                if let Err(error) = store.put_intent(&written) {
                    take_back(&written.key, note.before.as_ref(), store);
                    return Err(error);
                }
                note.written = Some((written.run, written.beside));
                notes.insert(written.key, note);
                Ok(written.started_at)
            })
            .await?;
        Ok(Pledge {
            pledges: self.clone(),
            intent,
            told: false,
        })
    }

    /// The keys of the notes that runs of this process have.
    pub(super) async fn live(&self) -> Result<Vec<Fingerprint>, StoreError> {
        let notes = self.notes.clone();
        self.shelf
            .blocking(move |_| {
                let stripes = notes.iter().map(locked);
                Ok(stripes
                    .flat_map(|notes| notes.keys().copied().collect::<Vec<_>>())
                    .collect())
            })
            .await
    }

    /// The note of a run that nobody knows the end of: one that stands while no run of this process
    /// is about to take it away. Blocks.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub(super) fn open_question(
        &self,
        store: &dyn Store,
        key: Fingerprint,
    ) -> Result<Option<Intent>, StoreError> {
        let notes = stripe(&self.notes, &key);
        // MONEY: who led before a `no-cache` run took the note over asks what stood before.
        match notes.get(&key) {
            Some(note) => Ok(note.doubt.clone().or_else(|| note.before.clone())),
            None => store.intent(&key),
        }
    }

    /// Removes the notes of an earlier process whose answers were kept after all: it ended between
    /// keeping the answer and taking the note away. And those of runs that were passed by in another
    /// month.
    ///
    /// # Errors
    /// When the store cannot say what it holds.
    pub(super) async fn reconcile(&self, now: Timestamp) -> Result<(), StoreError> {
        let past = self.past.clone();
        self.shelf
            .writing(move |store| {
                for intent in store.intents()? {
                    let kept = store.get(&intent.key)?;
                    if kept.is_some_and(|entry| is_settled(&intent, &entry.record)) {
                        store.remove_intent(&intent.key)?;
                    }
                }
                past.forget(store, now, |_| false)
            })
            .await
    }

    /// Does something about the note of `key`, unless a run of this process is about to; then
    /// `None`.
    ///
    /// # Errors
    /// Those of `call`.
    ///
    /// # Cancel safety
    /// What was begun goes on to its end, whether or not anyone waits for it.
    pub(super) async fn unless_running<T: Send + 'static>(
        &self,
        key: Fingerprint,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let notes = self.notes.clone();
        self.shelf
            .exclusively(key, move |store| {
                let notes = stripe(&notes, &key);
                if notes.contains_key(&key) {
                    return Ok(None);
                }
                call(store).map(Some)
            })
            .await
    }

    /// Ends one run's part; `end` decides for the last one what becomes of the note. Returns what was
    /// held for the runs of an earlier note, once it is gone for good. Blocks.
    fn end(
        &self,
        key: Fingerprint,
        end: impl FnOnce(&mut Note, &dyn Store) -> Result<(), StoreError>,
    ) -> Result<Vec<Stake>, StoreError> {
        self.shelf.writing_here(|store| {
            let mut notes = stripe(&self.notes, &key);
            let Some(note) = notes.get_mut(&key) else {
                return Ok(Vec::new());
            };
            note.live = note.live.saturating_sub(1);
            if note.live > 0 {
                return end(note, store).map(|()| Vec::new());
            }
            // Out of the map before anything can go wrong: nobody waits for a note of no run.
            let mut note = notes.remove(&key).unwrap_or_default();
            end(&mut note, store)?;
            note.conclude(&key, store)
        })
    }
}

impl Pledge {
    /// The answer is durable, and so is its line in the ledger. A note that cannot be removed does no
    /// harm while the answer is kept.
    ///
    /// Returns what was held for runs that nobody waits for any longer: an earlier note is gone.
    pub async fn settle(self) -> Vec<Stake> {
        self.apart(Self::settle_blocking).await.unwrap_or_default()
    }

    /// The same, for a thread that may block.
    pub fn settle_blocking(mut self) -> Vec<Stake> {
        self.told = true;
        let run = self.intent.run;
        let settled = self.pledges.end(self.intent.key, |note, _| {
            note.kept = true;
            note.forget(run);
            Ok(())
        });
        settled.unwrap_or_else(|error| {
            let key = self.intent.key.short();
            tracing::warn!(key, %error, "an intent that is settled could not be removed");
            Vec::new()
        })
    }

    /// The answer is durable and its line in the ledger is not: the note stays as it is, for the next
    /// start to find that the run is not booked.
    pub async fn leave(self) {
        // Nothing is written, so it only fails by a panic.
        let _ = self.apart(Self::leave_blocking).await;
    }

    /// The same, for a thread that may block.
    pub fn leave_blocking(mut self) {
        self.told = true;
        let intent = self.intent.clone();
        let _ = self.pledges.end(intent.key, |note, _| {
            note.doubt.get_or_insert(intent);
            Ok(())
        });
    }

    /// Upstream proved that nothing ran: what stood before stands again. Returns the same as
    /// [`settle`](Self::settle).
    ///
    /// # Errors
    /// When the note could not be taken back: the next identical request will be asked about it.
    pub async fn withdraw(self) -> Result<Vec<Stake>, StoreError> {
        let withdraw = |mut pledge: Self| {
            pledge.told = true;
            let run = pledge.intent.run;
            pledge.pledges.end(pledge.intent.key, |note, _| {
                note.forget(run);
                Ok(())
            })
        };
        self.apart(withdraw).await?
    }

    /// Nobody knows whether it ran: the note says why, and stays until somebody resolves it. Returns the
    /// same as [`settle`](Self::settle).
    pub async fn doubt(self, reason: String) -> Vec<Stake> {
        let doubted = self.apart(move |pledge| pledge.doubt_blocking(reason));
        doubted.await.unwrap_or_default()
    }

    fn doubt_blocking(mut self, reason: String) -> Vec<Stake> {
        self.told = true;
        let unknown = self.unknown(Some(reason));
        let key = unknown.key;
        let doubted = self.pledges.end(key, |note, store| {
            let unknown = Intent {
                beside: note.beside(&unknown).0,
                ..unknown
            };
            note.doubt = Some(unknown.clone());
            store.put_intent(&unknown)?;
            note.written = Some((unknown.run, unknown.beside));
            Ok(())
        });
        doubted.unwrap_or_else(|error| {
            // The note as it was first written stands, and says the same without the reason.
            tracing::warn!(key = key.short(), %error, "the reason for an unknown outcome could not be written");
            Vec::new()
        })
    }

    /// Does something with it on a thread that may block. It goes on to its end, whether or not anyone
    /// waits for it.
    async fn apart<T: Send + 'static>(
        self,
        call: impl FnOnce(Self) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let pledges = self.pledges.clone();
        pledges.shelf.blocking(move |_| Ok(call(self))).await
    }

    fn unknown(&self, reason: Option<String>) -> Intent {
        Intent {
            state: IntentState::Unknown,
            reason,
            ..self.intent.clone()
        }
    }
}

impl Drop for Pledge {
    /// A panic of the run: the file stands as it is, and nobody else may take it away.
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let mut notes = stripe(&self.pledges.notes, &self.intent.key);
        let Some(note) = notes.get_mut(&self.intent.key) else {
            return;
        };
        note.live = note.live.saturating_sub(1);
        note.doubt = Some(self.unknown(None));
        if note.live == 0 {
            notes.remove(&self.intent.key);
        }
    }
}

/// A note that may have been written all the same: its folder could not be synced, say. Nothing is sent
/// now, so it must not say that something was; what stood before stands again.
fn take_back(key: &Fingerprint, before: Option<&Intent>, store: &dyn Store) {
    let taken_back = match before {
        Some(before) => store.put_intent(before),
        None => store.remove_intent(key).map(drop),
    };
    if let Err(error) = taken_back {
        tracing::warn!(key = key.short(), %error, "a note of a run that was not sent may stay behind");
    }
}

/// When this run began, as its note says it: later than what is kept already.
///
/// MONEY: [`Pledges::reconcile`] tells by these times whether a kept answer is the run's own. After the
/// clock was set back, one that was kept before must not be taken for it.
fn after_what_is_kept(intent: &Intent, store: &dyn Store) -> Result<Timestamp, StoreError> {
    let kept = store.get(&intent.key)?.map(|entry| entry.record.created_at);
    let later = kept.and_then(|at| at.checked_add(SignedDuration::from_nanos(1)).ok());
    Ok(later.map_or(intent.started_at, |later| later.max(intent.started_at)))
}

/// Whether what is kept answers the very call that the note is about: the process ended, or is,
/// between keeping the answer and taking the note away.
pub fn is_settled(intent: &Intent, kept: &Record) -> bool {
    // A note that stands for several runs has a reason, and no answer settles it.
    intent.state == IntentState::Pending
        && intent.reason.is_none()
        && kept.key == intent.key
        && kept.created_at >= intent.started_at
        && (intent.run.is_none() || kept.run == intent.run)
}

fn stripe<'a>(notes: &'a [Mutex<Notes>; STRIPES], key: &Fingerprint) -> MutexGuard<'a, Notes> {
    let [_, high, low, ..] = key.as_bytes();
    let stripe = usize::from(u16::from_be_bytes([*high, *low])) % STRIPES;
    locked(&notes[stripe])
}

fn locked(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
