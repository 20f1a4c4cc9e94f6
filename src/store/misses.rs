//! What could not be evicted in a pass.

use std::ops::ControlFlow;

use super::StoreError;
use super::evict::Forgotten;

/// How many that cannot be removed, one after another, end a pass: then it is not one file.
const IN_A_ROW_MAX: u64 = 64;

/// The failures of a pass: one file that cannot be removed does not end it.
#[derive(Default)]
pub(super) struct Misses {
    /// How many went nonetheless.
    pub(super) gone: u64,
    in_a_row: u64,
    last: Option<StoreError>,
}

impl Misses {
    /// Breaks when nothing seems to go any longer.
    pub(super) fn note(&mut self, forgotten: Result<Forgotten, StoreError>) -> ControlFlow<()> {
        match forgotten {
            Ok(Forgotten::Gone(_)) => {
                self.gone += 1;
                self.in_a_row = 0;
            }
            Ok(Forgotten::Open | Forgotten::Pending | Forgotten::Absent) => {}
            Err(error) => {
                self.in_a_row += 1;
                self.last = Some(error);
            }
        }
        if self.in_a_row < IN_A_ROW_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// The last failure, when nothing at all went.
    pub(super) fn verdict(&mut self) -> Result<(), StoreError> {
        match self.last.take() {
            Some(error) if self.gone == 0 => Err(error),
            Some(_) | None => Ok(()),
        }
    }
}
