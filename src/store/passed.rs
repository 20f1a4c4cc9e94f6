//! A job that was passed by: followed to its end like any other, and kept by nobody.
//!
//! Its record is a note that it runs, whose, and what is held for it. It stands under a key that comes
//! from the job's id, which no request has, so nobody finds it who asks for a generation; and it has no
//! body.

use bytes::Bytes;

use super::{Entry, Payload, Record, Shelf, StoreError};
use crate::generation::Fingerprint;

impl Entry {
    /// The note of a job that was passed by; its record's key becomes that of the job.
    ///
    /// `None` when the record has no job.
    pub fn passed_by(mut record: Record) -> Option<Self> {
        let task = record.task.as_ref()?;
        let key = place_of_job(&task.id);
        record.passed_by = Some(std::mem::replace(&mut record.key, key));
        Some(Self {
            record,
            body: Payload::Bytes(Bytes::new()),
            polls: Vec::new(),
        })
    }
}

/// The key under which a job's note stands when it was passed by.
pub fn place_of_job(task_id: &str) -> Fingerprint {
    let place = blake3::derive_key(
        "reprise 2026-11 job that was passed by, format 1",
        task_id.as_bytes(),
    );
    Fingerprint::from_bytes(place)
}

impl Shelf {
    /// Notes a job that was passed by, durably; `false` when a job with this id is known already.
    ///
    /// # Errors
    /// As [`Store::find_task`](super::Store::find_task) and [`Store::put`](super::Store::put).
    pub async fn note_job(&self, entry: Entry) -> Result<bool, StoreError> {
        self.exclusively(entry.record.key, move |store| {
            let task = entry.record.task.as_ref();
            let task = task.ok_or(StoreError::Refused("it has no job"))?;
            if store.find_task(&task.id)?.is_some() {
                return Ok(false);
            }
            store.put(&entry).map(|()| true)
        })
        .await
    }
}
