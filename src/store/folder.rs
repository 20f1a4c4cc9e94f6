//! What tells that nothing has come into one of the 256 folders, or gone from it, since a look.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::error::StoreError;
use super::row;

/// A folder changes its times with each file that comes or goes. One that did so longer ago than
/// this cannot do so once more within the same tick of the file system's clock, whatever that is.
pub(super) const RESTS: Duration = Duration::from_secs(2);

/// A version of a folder: another one, or another set of names in it, has another.
///
/// Every write of ours is a rename into the folder, so it shows here. The second time is the one
/// that nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderStamp {
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FolderStamp {
    /// The folder as it is; `None` when there is none.
    pub(super) fn of(dir: &Path) -> Result<Option<Self>, StoreError> {
        match std::fs::metadata(dir) {
            Ok(metadata) => Ok(Some(Self::in_metadata(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("look at", dir)(error)),
        }
    }

    fn in_metadata(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether its last change lies so far back that another one would show.
    pub(super) fn rests(&self, now: Timestamp, since: Duration) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
        let changed = Timestamp::new(seconds, nanoseconds).unwrap_or(now);
        let rested = u128::try_from(now.duration_since(changed).as_nanos()).unwrap_or(0);
        rested >= since.as_nanos()
    }
}

/// The folder with which it is tried whether the times of folders move.
const PROBE: &str = ".probe";

/// Whether a folder below `root` changes its time with each file that comes, gets another name or goes.
/// MONEY: on a file system where it does not, nothing tells that a folder has changed.
pub(super) fn times_move(root: &Path) -> Result<bool, StoreError> {
    let dir = root.join(PROBE);
    let tried = remove_probe(&dir)
        .and_then(|()| fs::create_dir(&dir))
        .and_then(|()| moves_with_each(&dir));
    let removed = remove_probe(&dir);
    let tried = tried.and_then(|moves| removed.map(|()| moves));
    tried.map_err(StoreError::io("try the times of the folder", &dir))
}

fn remove_probe(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn moves_with_each(dir: &Path) -> io::Result<bool> {
    let (one, other) = (dir.join("a"), dir.join("b"));
    let changes: [&dyn Fn() -> io::Result<()>; 3] = [
        &|| File::create(&one).map(drop),
        &|| fs::rename(&one, &other),
        &|| fs::remove_file(&other),
    ];
    for change in changes {
        // Long ago, so that any other time shows, however seldom the clock of the file system ticks.
        File::open(dir)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_hours(24))?;
        let before = fs::metadata(dir)?;
        change()?;
        let now = fs::metadata(dir)?;
        if (before.mtime(), before.mtime_nsec()) == (now.mtime(), now.mtime_nsec()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What stood in a folder when its rows were true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderMark {
    pub(super) stamp: FolderStamp,
    /// How many generations.
    pub(super) generations: u64,
    /// With how many of them something is still to be done.
    pub(super) open: u64,
    /// The size of their files, in bytes.
    pub(super) bytes: u64,
}

impl FolderMark {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let FolderStamp {
            inode,
            modified,
            changed,
        } = self.stamp;
        let times = [modified.0, modified.1, changed.0, changed.1];
        let mut bytes = Vec::with_capacity(65);
        // Rows of another form are made again from their files, so a mark of theirs says nothing.
        bytes.push(row::FORM);
        bytes.extend_from_slice(&inode.to_be_bytes());
        bytes.extend(times.iter().flat_map(|time| time.to_be_bytes()));
        let counts = [self.generations, self.open, self.bytes];
        bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(&[row::FORM])?;
        let (words, rest) = bytes.as_chunks::<8>();
        let [inode, times @ .., generations, open, bytes] = words else {
            return None;
        };
        let [one, two, three, four] = <[[u8; 8]; 4]>::try_from(times)
            .ok()?
            .map(i64::from_be_bytes);
        rest.is_empty().then(|| Self {
            stamp: FolderStamp {
                inode: u64::from_be_bytes(*inode),
                modified: (one, two),
                changed: (three, four),
            },
            generations: u64::from_be_bytes(*generations),
            open: u64::from_be_bytes(*open),
            bytes: u64::from_be_bytes(*bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_comes_or_goes_shows() {
        let dir = tempfile::tempdir().unwrap();
        let seen = || FolderStamp::of(dir.path()).unwrap().unwrap();
        let file = dir.path().join("a");
        for change in [
            |file: &Path| std::fs::write(file, "1").unwrap(),
            |file: &Path| std::fs::rename(file, file.with_extension("b")).unwrap(),
            |file: &Path| std::fs::remove_file(file.with_extension("b")).unwrap(),
        ] {
            // The clock of a file system ticks every few milliseconds.
            while !seen().rests(Timestamp::now(), Duration::from_millis(50)) {
                std::thread::yield_now();
            }
            let before = seen();
            change(&file);
            assert_ne!(seen(), before);
        }
        assert_eq!(FolderStamp::of(&dir.path().join("none")).unwrap(), None);
    }

    #[test]
    fn it_is_tried_whether_times_move_and_nothing_of_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        // What a crash has left of an earlier try.
        let left = dir.path().join(PROBE);
        fs::create_dir(&left).unwrap();
        fs::write(left.join("a"), "").unwrap();
        assert!(times_move(dir.path()).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(times_move(&dir.path().join("none")).is_err());
    }

    #[test]
    fn marks_come_back_and_nonsense_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = FolderStamp::of(dir.path()).unwrap().unwrap();
        let mark = FolderMark {
            stamp,
            generations: 3,
            open: 1,
            bytes: u64::MAX,
        };
        let bytes = mark.to_bytes();
        assert_eq!(FolderMark::from_bytes(&bytes), Some(mark));
        assert_eq!(FolderMark::from_bytes(&bytes[1..]), None);
        assert_eq!(FolderMark::from_bytes(&bytes[8..]), None);
        assert_eq!(FolderMark::from_bytes(&[]), None);
        let mut other = bytes;
        other[0] += 1;
        assert_eq!(FolderMark::from_bytes(&other), None, "of rows that come");
    }

    #[test]
    fn a_folder_rests_when_its_last_change_is_long_ago() {
        let stamp = FolderStamp {
            inode: 1,
            modified: (1_000, 0),
            changed: (1_000, 500_000_000),
        };
        let at = |seconds, nanoseconds| Timestamp::new(seconds, nanoseconds).unwrap();
        assert!(!stamp.rests(at(1_002, 0), RESTS));
        assert!(stamp.rests(at(1_002, 500_000_000), RESTS));
        assert!(!stamp.rests(at(900, 0), RESTS), "a clock that was set back");
    }
}
