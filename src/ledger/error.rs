//! What can go wrong with the ledger. Each message says what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a line is not durable, or the ledger cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refused. A line that was to be written waits, and is written when the disk
    /// works again.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "write", "read".
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The disk has failed for so long that no further line can wait for it. The line is lost.
    #[error(
        "no further line of the ledger can wait for the disk to work again: make room on it, or \
         mend it"
    )]
    Full,
    /// Something ended in a panic, which is a mistake of this program.
    #[error("the ledger failed in a way it should not: {0}")]
    Panicked(String),
}

impl LedgerError {
    /// Puts a name and a verb to an error of the system; made for `map_err`.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source: Arc::new(source),
        }
    }
}
