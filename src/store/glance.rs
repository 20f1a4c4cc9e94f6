//! A look at a data directory that nobody has to own: nothing is locked, made, or tidied.

use std::ops::ControlFlow;
use std::path::Path;

use super::StoreError;
use super::generations::Generations;
use super::intents::Intents;
use super::layout::{self, CALLBACKS, GENERATIONS, Layout, PENDING};
use super::outbox::{Delivery, Outbox};
use super::record::{Intent, Record};

/// The records and intents of a data directory, read from its files.
///
/// Files are replaced whole, so a look is right for each file at any moment, whoever else is at the
/// directory. It is slower than an open store: there is no index.
#[derive(Debug)]
pub struct Glance {
    generations: Generations,
    intents: Intents,
    outbox: Outbox,
}

impl Glance {
    /// Looks at `dir`; `None` when nothing was ever kept there.
    ///
    /// # Errors
    /// When the directory belongs to a newer version or to something else.
    pub fn at(dir: &Path) -> Result<Option<Self>, StoreError> {
        match layout::inspect(dir)? {
            Layout::Empty => Ok(None),
            Layout::Ours | Layout::VersionLost => Ok(Some(Self {
                generations: Generations::in_dir(dir.join(GENERATIONS)),
                intents: Intents::in_dir(dir.join(PENDING)),
                outbox: Outbox::in_dir(dir.join(CALLBACKS)),
            })),
        }
    }

    /// All intents, in the order of their keys.
    ///
    /// # Errors
    /// When not all could be listed.
    pub fn intents(&self) -> Result<Vec<Intent>, StoreError> {
        Ok(self.intents.list()?.intents)
    }

    /// The deliveries of one job, in no certain order.
    ///
    /// # Errors
    /// When not all could be read.
    pub fn deliveries_of(&self, task_id: &str) -> Result<Vec<Delivery>, StoreError> {
        self.outbox.of_job(task_id)
    }

    /// Shows every kept record to `visit` until it breaks. Damaged ones, and those of a newer
    /// version, are reported in the log and left out.
    ///
    /// # Errors
    /// When not all could be listed.
    pub fn list(
        &self,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for shard in 0..=u8::MAX {
            for key in self.generations.shard(shard)?.files.keys() {
                let file = match self.generations.read(key) {
                    Ok(file) => file,
                    Err(error @ (StoreError::Damaged { .. } | StoreError::NewerFormat { .. })) => {
                        tracing::warn!(%key, %error, "left out of a listing");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if file.is_some_and(|file| visit(&file.entry.record).is_break()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
