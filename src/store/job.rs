//! A job where it stands now: a newer run sets it aside, and one that fails lets it come back.

use std::sync::Arc;

use super::aside;
use super::shelf::changed;
use super::{Change, Entry, Shelf, Store, StoreError};
use crate::generation::Fingerprint;

/// How often a job is looked for anew because it was moved meanwhile.
const LOOKS: usize = 4;

/// The kept generation whose job has this id. Blocks.
///
/// # Errors
/// As [`Store::find_task`] and [`Store::get`].
pub fn find_job(store: &dyn Store, task_id: &str) -> Result<Option<Entry>, StoreError> {
    for _ in 0..LOOKS {
        let Some(key) = store.find_task(task_id)? else {
            return Ok(None);
        };
        let entry = store.get(&key)?;
        if let Some(entry) = entry.filter(|entry| is_job(entry, task_id)) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

fn is_job(entry: &Entry, task_id: &str) -> bool {
    let task = entry.record.task.as_ref();
    task.is_some_and(|task| task.id == task_id)
}

impl Shelf {
    /// The kept generation whose job has this id.
    ///
    /// # Errors
    /// As [`find_job`].
    pub async fn job(&self, task_id: String) -> Result<Option<Arc<Entry>>, StoreError> {
        self.blocking(move |store| Ok(find_job(store, &task_id)?.map(Arc::new)))
            .await
    }

    /// As [`change_and`](Self::change_and), of the job `task_id`, which stood under `key` when it was
    /// last seen: wherever it stands now. `None`: it is kept nowhere, and nothing was decided.
    ///
    /// # Errors
    /// As [`change_and`](Self::change_and), and when the job was moved again and again.
    pub async fn change_job(
        &self,
        (mut key, task_id): (Fingerprint, String),
        decide: impl FnOnce(&Entry) -> Result<Change, StoreError> + Send + 'static,
        then: impl FnOnce(&Entry) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Option<Arc<Entry>>, StoreError> {
        let turns = self.turns.clone();
        self.writing(move |store| {
            let mut how = Some((decide, then));
            for _ in 0..LOOKS {
                let (_turn, entry) = aside::look(store, &turns, &key)?;
                if let Some(entry) = entry.filter(|entry| is_job(entry, &task_id))
                    && let Some(how) = how.take()
                {
                    return changed(store, entry, how);
                }
                match store.find_task(&task_id)? {
                    Some(now) => key = now,
                    None => return Ok(None),
                }
            }
            Err(StoreError::Refused("its job is moved again and again"))
        })
        .await
    }
}
