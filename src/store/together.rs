//! One sync of a folder for all who wait for one.
//!
//! A sync makes every name durable that stands in its folder when it begins. So whoever comes while one
//! is under way waits for the next, and all who wait for the next share it.

use std::io;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::error::StoreError;
use super::files;

/// The syncs of one folder.
#[derive(Debug, Default)]
pub(super) struct Together {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    under_way: bool,
    /// How many wait for a round to end.
    waiting: usize,
    /// The round that begins when the one that is under way has ended.
    next: Arc<Round>,
}

/// How a sync has ended, once it has.
type Round = OnceLock<Result<(), Failure>>;

/// An error of the system for each who waited.
#[derive(Clone, Debug)]
struct Failure {
    code: Option<i32>,
    kind: io::ErrorKind,
    text: String,
}

impl Together {
    /// Makes the names in the folder `dir` durable that stand there now. Blocks.
    ///
    /// A failed sync is never tried again for those who waited for it: the kernel may have dropped what it
    /// could not write.
    ///
    /// # Errors
    /// When the sync failed that began after this call did, or the one that was under way.
    pub(super) fn sync(&self, dir: &Path) -> Result<(), StoreError> {
        self.share(|| files::sync_dir(dir))
            .map_err(StoreError::io("sync the folder", dir))
    }

    fn share(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut rounds = self.rounds();
        // MONEY: never the one that is under way: it may have begun before the name was there.
        let round = rounds.next.clone();
        while rounds.under_way && round.get().is_none() {
            rounds.waiting += 1;
            rounds = self
                .ended
                .wait(rounds)
                .unwrap_or_else(PoisonError::into_inner);
            rounds.waiting -= 1;
        }
        if let Some(result) = round.get() {
            return result.as_ref().copied().map_err(Failure::error);
        }
        rounds.under_way = true;
        rounds.next = Arc::default();
        drop(rounds);
        let under_way = UnderWay {
            together: self,
            round,
        };
        let result = sync();
        under_way.end(&result);
        result
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        Self {
            code: error.raw_os_error(),
            kind: error.kind(),
            text: error.to_string(),
        }
    }

    fn error(&self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, self.text.clone()),
        }
    }
}

/// A sync that somebody makes. However it goes, those who wait go on.
struct UnderWay<'a> {
    together: &'a Together,
    round: Arc<Round>,
}

impl UnderWay<'_> {
    fn end(&self, result: &io::Result<()>) {
        let result = result.as_ref().copied().map_err(Failure::of);
        // Only its maker says how it ended, and says so once.
        let _ = self.round.set(result);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // After a panic nobody knows what is durable.
        self.end(&Err(io::Error::other("the sync ended in a panic")));
        let mut rounds = self.together.rounds();
        rounds.under_way = false;
        // MONEY: what those who wait have renamed may be among what the kernel has dropped with this error,
        // and it tells of an error once: their own sync might say that all is well.
        if rounds.waiting > 0
            && let Some(Err(failure)) = self.round.get()
        {
            let next = mem::take(&mut rounds.next);
            let _ = next.set(Err(failure.clone()));
        }
        // Telling nobody is a call to the system all the same.
        if rounds.waiting > 0 {
            self.together.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
