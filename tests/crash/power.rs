//! What a power cut leaves of a directory: the worst that POSIX allows.
//!
//! Bytes are safe once their file was synced after they were written. A name (a creation, a rename, a
//! removal) is safe once its folder was synced after it. Everything else may be there or not, each by
//! itself, and bytes may be there in part.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// How the power goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Whatever was not synced is lost.
    LosesAll,
    /// All names are there, and no bytes that were not synced: files are empty, or as they were.
    LosesBytes,
    /// All bytes are there, and no name that was not synced.
    LosesNames,
    /// Each by itself, by chance.
    Chance,
}

pub(crate) const CUTS: [Cut; 4] = [Cut::LosesAll, Cut::LosesBytes, Cut::LosesNames, Cut::Chance];

/// A file's number in the model; the disk's own come back after a removal.
type File = usize;

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
}

/// What lies under a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    File(File),
    Folder,
}

type Names = BTreeMap<PathBuf, Thing>;

/// A directory as its program sees it, and as far as it is safe.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<Content>,
    /// By the disk's own number: the file that has it now.
    inodes: BTreeMap<u64, File>,
    now: Names,
    safe: Names,
}

impl Disk {
    /// All that lies in `root`, which is safe.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.take_in(root);
        disk.safe = disk.now.clone();
        disk
    }

    fn take_in(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                self.now.insert(path.clone(), Thing::Folder);
                self.take_in(&path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let file = self.new_file(entry.metadata().unwrap().ino(), bytes);
            self.now.insert(path, Thing::File(file));
        }
    }

    fn new_file(&mut self, inode: u64, safe: Vec<u8>) -> File {
        let now = safe.clone();
        self.files.push(Content { now, safe });
        let file = self.files.len() - 1;
        self.inodes.insert(inode, file);
        file
    }

    /// Does what the shim's log says was done; half a line at its end was not.
    pub(crate) fn replay(&mut self, mut log: &[u8]) {
        while let Some(end) = log.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(log[..end].to_vec()).unwrap();
            log = &log[end + 1..];
            let (what, rest) = line.split_once(' ').unwrap();
            let path = || PathBuf::from(rest);
            match what {
                "C" => {
                    let (inode, path) = rest.split_once(' ').unwrap();
                    let file = self.new_file(inode.parse().unwrap(), Vec::new());
                    self.now.insert(path.into(), Thing::File(file));
                }
                "W" => {
                    let [inode, at, length] = numbers(rest);
                    // The last one may be half written down.
                    let length = usize::try_from(length).unwrap().min(log.len());
                    self.write(inode, usize::try_from(at).unwrap(), &log[..length]);
                    log = &log[length..];
                }
                "T" => {
                    let [inode, length] = numbers(rest);
                    let length = usize::try_from(length).unwrap();
                    self.content(inode).now.resize(length, 0);
                }
                "S" => {
                    let [inode] = numbers(rest);
                    let content = self.content(inode);
                    content.safe = content.now.clone();
                }
                "R" => {
                    let (from, to) = rest.split_once('\t').unwrap();
                    self.rename(Path::new(from), Path::new(to));
                }
                "U" => {
                    self.now.remove(&path());
                }
                "M" => {
                    self.now.insert(path(), Thing::Folder);
                }
                "D" => self.sync_names(&path()),
                other => panic!("{other}: {line}"),
            }
        }
    }

    fn content(&mut self, inode: u64) -> &mut Content {
        let file = self.inodes[&inode];
        &mut self.files[file]
    }

    fn write(&mut self, inode: u64, at: usize, bytes: &[u8]) {
        let now = &mut self.content(inode).now;
        let end = at + bytes.len();
        if now.len() < end {
            now.resize(end, 0);
        }
        now[at..end].copy_from_slice(bytes);
    }

    /// Moves a file, or a folder with all that lies in it.
    fn rename(&mut self, from: &Path, to: &Path) {
        let moved: Vec<PathBuf> = self
            .now
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for path in moved {
            let thing = self.now.remove(&path).unwrap();
            let target = match path.strip_prefix(from).unwrap() {
                rest if rest.as_os_str().is_empty() => to.to_owned(),
                rest => to.join(rest),
            };
            // What is in a folder is as safe as it was.
            if path != from
                && let Some(safe) = self.safe.remove(&path)
            {
                self.safe.insert(target.clone(), safe);
            }
            self.now.insert(target, thing);
        }
    }

    fn sync_names(&mut self, folder: &Path) {
        let inside = |path: &Path| path.parent() == Some(folder);
        self.safe.retain(|path, _| !inside(path));
        for (path, thing) in &self.now {
            if inside(path) {
                self.safe.insert(path.clone(), *thing);
            }
        }
    }

    /// Writes what is left after the cut into `root`, in place of what is there.
    pub(crate) fn cut(&self, root: &Path, how: Cut, dice: &mut Dice) {
        fs::remove_dir_all(root).unwrap();
        fs::create_dir(root).unwrap();
        let mut left = Names::new();
        let mut paths: Vec<&PathBuf> = self.now.keys().chain(self.safe.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let (now, safe) = (self.now.get(path), self.safe.get(path));
            let lost = match how {
                Cut::LosesAll | Cut::LosesNames => true,
                Cut::LosesBytes => false,
                Cut::Chance => dice.below(2) == 0,
            };
            let Some(thing) = (if lost { safe } else { now }) else {
                continue;
            };
            // Nothing lies in a folder that is not there.
            let parent = path.parent().unwrap();
            if parent == root || left.get(parent) == Some(&Thing::Folder) {
                left.insert(path.clone(), *thing);
            }
        }
        let bytes: Vec<Vec<u8>> = self
            .files
            .iter()
            .map(|content| content.left(how, dice))
            .collect();
        for (path, thing) in left {
            match thing {
                Thing::Folder => fs::create_dir(&path).unwrap(),
                Thing::File(file) => fs::write(&path, &bytes[file]).unwrap(),
            }
        }
    }
}

impl Content {
    fn left(&self, how: Cut, dice: &mut Dice) -> Vec<u8> {
        match how {
            Cut::LosesAll | Cut::LosesBytes => self.safe.clone(),
            Cut::LosesNames => self.now.clone(),
            Cut::Chance => self.torn(dice),
        }
    }

    /// Old and new bytes by pages of 4 KiB, and any length between the two.
    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        if self.now == self.safe {
            return self.safe.clone();
        }
        let (short, long) = (
            self.now.len().min(self.safe.len()),
            self.now.len().max(self.safe.len()),
        );
        let between = short + dice.below(long - short + 1);
        let length = dice.one(&[self.now.len(), self.safe.len(), between]);
        let mut bytes = vec![0; length];
        for (at, page) in bytes.chunks_mut(4096).enumerate() {
            let source = dice.one(&[&self.now, &self.safe]);
            let start = (at * 4096).min(source.len());
            let end = (start + page.len()).min(source.len());
            page[..end - start].copy_from_slice(&source[start..end]);
        }
        bytes
    }
}

fn numbers<const N: usize>(text: &str) -> [u64; N] {
    let numbers: Vec<u64> = text
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    numbers.try_into().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of `f` after each cut, of a file that was written like this.
    fn left(log: &str) -> [Option<String>; 3] {
        [Cut::LosesAll, Cut::LosesBytes, Cut::LosesNames].map(|how| {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().display().to_string();
            let mut disk = Disk::of(root.path());
            disk.replay(log.replace("ROOT", &path).as_bytes());
            disk.cut(root.path(), how, &mut Dice::new(1));
            fs::read_to_string(root.path().join("f")).ok()
        })
    }

    #[test]
    fn only_what_was_synced_is_safe() {
        let empty = || Some(String::new());
        let whole = || Some("abc".to_owned());
        let write = "C 7 ROOT/t\nW 7 0 3\nabc";
        for (log, expected) in [
            (format!("{write}R ROOT/t\tROOT/f\n"), [None, empty(), None]),
            (
                format!("{write}R ROOT/t\tROOT/f\nD ROOT\n"),
                [empty(), empty(), whole()],
            ),
            (
                format!("{write}S 7\nR ROOT/t\tROOT/f\n"),
                [None, whole(), None],
            ),
            (
                format!("{write}S 7\nR ROOT/t\tROOT/f\nD ROOT\n"),
                [whole(), whole(), whole()],
            ),
            (
                format!("{write}S 7\nR ROOT/t\tROOT/f\nD ROOT\nU ROOT/f\n"),
                [whole(), None, whole()],
            ),
            (
                "M ROOT/d\nC 7 ROOT/d/f\nW 7 0 1\nxS 7\nD ROOT/d\nR ROOT/d/f\tROOT/f\nD ROOT\n"
                    .to_owned(),
                [
                    Some("x".to_owned()),
                    Some("x".to_owned()),
                    Some("x".to_owned()),
                ],
            ),
        ] {
            assert_eq!(left(&log), expected, "{log}");
        }
    }
}
