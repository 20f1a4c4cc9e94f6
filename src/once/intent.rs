//! The durable note that a paid call is under way.
//!
//! It is written before the request leaves and goes only when the outcome is known *and* kept. So
//! a process that dies in between leaves the note, and nobody runs the generation again by himself.

use crate::store::{Intent, IntentState, Shelf, StoreError};

/// A note that stands on disk. Dropped without a word, it stays there: the outcome is unknown.
pub struct Pledge {
    shelf: Shelf,
    intent: Intent,
    earlier: Option<Intent>,
}

impl Pledge {
    /// Writes the note; it is durable when this returns.
    ///
    /// # Errors
    /// When it could not be written: then nothing may be sent.
    pub async fn make(shelf: Shelf, intent: Intent) -> Result<Self, StoreError> {
        let earlier = shelf.put_intent(intent.clone()).await?;
        Ok(Self {
            shelf,
            intent,
            earlier,
        })
    }

    /// The answer is durable: the note goes. A note that cannot be removed does no harm, since what
    /// is kept is looked up first.
    pub async fn settle(self) {
        if let Err(error) = self.shelf.remove_intent(self.intent.key).await {
            tracing::warn!(key = self.intent.key.short(), %error, "an intent that is settled could not be removed");
        }
    }

    /// Upstream proved that nothing ran: what stood before the run stands again.
    ///
    /// # Errors
    /// When the note could not be taken back: the next identical request will be asked about it.
    pub async fn withdraw(self) -> Result<(), StoreError> {
        match self.earlier {
            Some(earlier) => {
                let unknown = Intent {
                    state: IntentState::Unknown,
                    ..earlier
                };
                self.shelf.put_intent(unknown).await.map(drop)
            }
            None => self.shelf.remove_intent(self.intent.key).await.map(drop),
        }
    }

    /// Nobody knows whether it ran: the note says why, and stays until somebody resolves it.
    pub async fn doubt(self, reason: String) {
        let key = self.intent.key;
        let unknown = Intent {
            state: IntentState::Unknown,
            reason: Some(reason),
            ..self.intent
        };
        if let Err(error) = self.shelf.put_intent(unknown).await {
            // The note as it was first written stands, and says the same without the reason.
            tracing::warn!(key = key.short(), %error, "the reason for an unknown outcome could not be written");
        }
    }
}
