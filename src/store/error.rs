//! What can go wrong in a store. Each message says what to do next.

use std::io;
use std::path::{Path, PathBuf};

use super::blob_hash::BlobHash;

/// An error of the store.
///
/// A damaged index is none: files are the truth, so the store goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "open", "sync the folder of".
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process has this directory.
    #[error(
        "{} is in use by {holder}: stop that one, or give this one its own --data-dir",
        dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// Who holds it: process id and start time, as far as known.
        holder: String,
    },
    /// The directory was written by a newer version of this program. Nothing in it was touched.
    #[error(
        "{} has format {found}, this version reads up to {supported}: use a newer reprise, or \
         another --data-dir",
        dir.display()
    )]
    NewerVersion {
        /// The data directory.
        dir: PathBuf,
        /// What its VERSION says.
        found: u64,
        /// The newest format that this program reads.
        supported: u64,
    },
    /// The directory holds something else. Nothing in it was touched.
    #[error(
        "{} is not empty and not a data directory of reprise (found {found:?}): choose an empty \
         or a new directory with --data-dir",
        dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// A name in it that is not ours.
        found: String,
    },
    /// VERSION does not hold a number.
    #[error(
        "{} does not hold a format number: if this is a data directory of reprise, write 1 into it",
        path.display()
    )]
    UnreadableVersion {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what was written. It is never served, and left where it is.
    #[error("{} is damaged ({why}): restore it from a backup or remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// One generation was kept by a newer version of this program. It is left as it is.
    #[error("{} has format {format}: use a newer reprise to read it", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// A blob that a record names is not there.
    #[error("the blob {hash} is missing: restore it under blobs/ from a backup")]
    MissingBlob {
        /// The name of the blob.
        hash: BlobHash,
    },
    /// The caller gave an entry that cannot be kept.
    #[error("the entry cannot be kept: {0}")]
    Refused(&'static str),
    /// What should be imported is no export, or not one that this version reads.
    #[error("this is no export that can be read: {0}")]
    NotAnExport(&'static str),
    /// A call of the store ended in a panic, which is a mistake of this program.
    #[error("the store failed in a way it should not: {0}")]
    Panicked(String),
}

impl StoreError {
    /// Whether the cause is a full disk or a spent quota.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_out_of_space(source.kind()),
            Self::Locked { .. }
            | Self::NewerVersion { .. }
            | Self::Foreign { .. }
            | Self::UnreadableVersion { .. }
            | Self::Damaged { .. }
            | Self::NewerFormat { .. }
            | Self::MissingBlob { .. }
            | Self::Refused(_)
            | Self::NotAnExport(_)
            | Self::Panicked(_) => false,
        }
    }

    /// Whether a kept file is gone or is not what was written: it costs that one generation.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::MissingBlob { .. } => true,
            Self::Io { .. }
            | Self::Locked { .. }
            | Self::NewerVersion { .. }
            | Self::Foreign { .. }
            | Self::UnreadableVersion { .. }
            | Self::NewerFormat { .. }
            | Self::Refused(_)
            | Self::NotAnExport(_)
            | Self::Panicked(_) => false,
        }
    }

    /// Whether only this one file cannot be read: a bad sector, or a file that is not ours to read. Other
    /// errors of the system concern all files, and most of them pass.
    pub(super) fn is_of_one_file(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        let bad_sector = rustix::io::Errno::IO.raw_os_error();
        source.kind() == io::ErrorKind::PermissionDenied
            || source.raw_os_error() == Some(bad_sector)
    }

    /// Puts a name and a verb to an error of the system; made for `map_err`.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}

/// Whether the kind of error means that the disk or the quota is used up.
pub(super) fn is_out_of_space(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
