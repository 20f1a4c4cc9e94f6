//! A data directory, the upstream behind it, and what a client remembers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reprise::sandbox::{Options, Sandbox};
use tempfile::TempDir;

use crate::program::Launch;
use crate::sort::Sort;

/// One upstream and one data directory; the directory goes when this is dropped.
pub(crate) struct Home {
    pub(crate) sandbox: Sandbox,
    pub(crate) launch: Launch,
    folder: TempDir,
}

impl Home {
    /// With nothing in it.
    pub(crate) async fn empty() -> Self {
        Self::slow(Duration::ZERO).await
    }

    /// With nothing in it, and an upstream that takes its time.
    pub(crate) async fn slow(answer_time: Duration) -> Self {
        let folder = folder();
        let options = Options {
            job_time: 2 * answer_time,
            stream_gap: answer_time / 10,
            answer_time,
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let launch = Launch::new(folder.path(), &sandbox.base_url());
        Self {
            sandbox,
            launch,
            folder,
        }
    }

    /// With a copy of this directory in it.
    pub(crate) async fn with(data: &Path) -> Self {
        let home = Self::empty().await;
        copy(data, &home.launch.data);
        home
    }

    /// As [`Self::with`], for one sort.
    pub(crate) async fn for_sort(data: &Path, sort: Sort) -> Self {
        let mut home = Self::with(data).await;
        sort.prepare(&home.sandbox);
        sort.configure(&mut home.launch);
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn billed(&self) -> u64 {
        self.sandbox.bill().total()
    }

    /// The notes of paid calls that nobody knows the end of.
    pub(crate) fn pending(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.launch.data.join("pending")) else {
            return Vec::new();
        };
        let files = entries.map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect()
    }
}

/// What a client was given whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// The answer to its request.
    pub(crate) answer: Option<Bytes>,
    /// It was told that nothing was started.
    pub(crate) refused: bool,
    /// A poll that showed the end of its job.
    pub(crate) end: Option<Bytes>,
}

/// A folder in memory where there is one: a killed process loses nothing that it had written, synced
/// or not, so the disk would only cost time.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let free = fs2::available_space(memory).unwrap_or(0);
    let in_memory = (free > 512 * 1024 * 1024).then(|| tempfile::tempdir_in(memory).ok());
    let folder = in_memory.flatten();
    folder.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Copies a directory as it is.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A directory as a first start leaves it.
pub(crate) async fn furnished() -> TempDir {
    let home = Home::empty().await;
    let ended = home.launch.must_start().await.stop().await;
    assert!(ended.status.success(), "{}", ended.log);
    let data = folder();
    copy(&home.launch.data, data.path());
    data
}
