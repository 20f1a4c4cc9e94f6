//! Notes about runs that were passed by, once their month is over.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;

use super::note::month;
use crate::generation::{Fingerprint, asked_at};
use crate::store::{Intent, Store, StoreError};

/// Forgets what is past, once in each month: nobody is asked about it, and no budget counts it any more,
/// so it would only grow.
#[derive(Default)]
pub(super) struct Past(Mutex<Date>);

impl Past {
    /// Removes such notes as of `now`, but for those that are `live`. Blocks.
    pub(super) fn forget(
        &self,
        store: &dyn Store,
        now: Timestamp,
        live: impl Fn(&Fingerprint) -> bool,
    ) -> Result<(), StoreError> {
        {
            let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if *looked >= month(now) {
                return Ok(());
            }
            *looked = month(now);
        }
        for intent in store.intents()? {
            if is_past(&intent, now) && !live(&intent.key) {
                store.remove_intent(&intent.key)?;
            }
        }
        Ok(())
    }
}

fn is_past(intent: &Intent, now: Timestamp) -> bool {
    let asked = intent.run.and_then(asked_at).unwrap_or(intent.started_at);
    intent.passed_by.is_some() && month(asked) < month(now)
}
