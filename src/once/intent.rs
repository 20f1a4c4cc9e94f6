//! The durable note that a paid call is under way.
//!
//! It is written before the request leaves and goes only when the outcome is known *and* kept. So
//! a process that dies in between leaves the note, and nobody runs the generation again by himself.
//!
//! There is one note for a generation, but `no-cache` may run it twice at once. So the runs of one
//! generation share a [`Page`], and the note says what they say together: it stays while any of them
//! is under way, goes when one of them is kept, and is a doubt when the last of them leaves one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::generation::Fingerprint;
use crate::store::{Intent, IntentState, Shelf, StoreError};

/// The notes of all generations that this process runs.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<HashMap<Fingerprint, Opened>>>);

/// A page, and by how many runs it is held.
struct Opened {
    holders: usize,
    page: SharedPage,
}

/// Locked while its note is written, so that two runs do not write past each other.
type SharedPage = Arc<tokio::sync::Mutex<Page>>;

/// What the runs of one generation that are under way at once have said so far.
#[derive(Default)]
struct Page {
    under_way: usize,
    /// The doubt that stood before the first of them.
    earlier: Option<Intent>,
    doubt: Option<Intent>,
    kept: bool,
}

/// One run's hold on its page; the last to let go closes it.
struct Seat {
    notes: Notes,
    key: Fingerprint,
    page: SharedPage,
}

/// A note that stands on disk. Dropped without a word, it stays there: the outcome is unknown.
pub struct Pledge {
    shelf: Shelf,
    intent: Intent,
    seat: Seat,
}

/// How a run ended, for its note.
enum Outcome {
    Kept,
    NothingRan,
    Doubt(String),
}

impl Pledge {
    /// Writes the note; it is durable when this returns.
    ///
    /// # Errors
    /// When it could not be written: then nothing may be sent.
    pub(super) async fn make(
        notes: &Notes,
        shelf: Shelf,
        intent: Intent,
    ) -> Result<Self, StoreError> {
        let seat = notes.sit(intent.key);
        let mut page = seat.page.lock().await;
        if page.under_way == 0 {
            *page = Page {
                earlier: shelf.intent(intent.key).await?,
                ..Page::default()
            };
        }
        shelf.put_intent(intent.clone()).await?;
        page.under_way += 1;
        drop(page);
        Ok(Self {
            shelf,
            intent,
            seat,
        })
    }

    /// The answer is durable: the note goes. A note that cannot be removed does no harm, since what
    /// is kept is looked up first.
    pub async fn settle(self) {
        let key = self.intent.key;
        if let Err(error) = self.end(Outcome::Kept).await {
            tracing::warn!(key = key.short(), %error, "an intent that is settled could not be removed");
        }
    }

    /// Upstream proved that nothing ran: what stood before the run stands again.
    ///
    /// # Errors
    /// When the note could not be taken back: the next identical request will be asked about it.
    pub async fn withdraw(self) -> Result<(), StoreError> {
        self.end(Outcome::NothingRan).await
    }

    /// Nobody knows whether it ran: the note says why, and stays until somebody resolves it.
    pub async fn doubt(self, reason: String) {
        let key = self.intent.key;
        if let Err(error) = self.end(Outcome::Doubt(reason)).await {
            // The note as it was first written stands, and says the same without the reason.
            tracing::warn!(key = key.short(), %error, "the reason for an unknown outcome could not be written");
        }
    }

    async fn end(self, outcome: Outcome) -> Result<(), StoreError> {
        let mut page = self.seat.page.lock().await;
        page.under_way = page.under_way.saturating_sub(1);
        match outcome {
            Outcome::Kept => page.kept = true,
            Outcome::NothingRan => {}
            Outcome::Doubt(reason) => {
                page.doubt = Some(Intent {
                    reason: Some(reason),
                    ..self.intent.clone()
                });
            }
        }
        // MONEY: another run is under way, and the note is also its own.
        if page.under_way > 0 {
            return Ok(());
        }
        let said = std::mem::take(&mut *page);
        match said.doubt.or(said.earlier) {
            Some(doubt) if !said.kept => {
                let unknown = Intent {
                    state: IntentState::Unknown,
                    ..doubt
                };
                self.shelf.put_intent(unknown).await
            }
            Some(_) | None => self.shelf.remove_intent(self.intent.key).await.map(drop),
        }
    }
}

impl Notes {
    fn sit(&self, key: Fingerprint) -> Seat {
        let mut pages = self.lock();
        let opened = pages.entry(key).or_insert_with(|| Opened {
            holders: 0,
            page: SharedPage::default(),
        });
        opened.holders += 1;
        Seat {
            notes: self.clone(),
            key,
            page: opened.page.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, Opened>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut pages = self.notes.lock();
        if let Some(opened) = pages.get_mut(&self.key) {
            opened.holders -= 1;
            if opened.holders == 0 {
                pages.remove(&self.key);
            }
        }
    }
}
