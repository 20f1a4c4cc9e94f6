//! The index is an aid: whatever happens to it, every generation is still there.

use std::io::{Seek, SeekFrom, Write};

use super::*;

const COUNT: u8 = 40;

fn entry(n: u8) -> Entry {
    match n % 4 {
        0 => image(n),
        1 => large(n, 6_000),
        2 => large(n, 12_000),
        _ => video(n, &format!("task_{n}")),
    }
}

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for n in 0..COUNT {
        store.put(&entry(n)).unwrap();
    }
    dir
}

/// The same after many replacements: a log of several segments, with dead rows in it.
fn filled_with_history() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for round in 0..4 {
        for n in 0..COUNT {
            store
                .put(&if round < 3 { large(n, 7_000) } else { entry(n) })
                .unwrap();
        }
    }
    dir
}

fn assert_complete(store: &DiskStore, name: &str) {
    assert!(store.index.is_open(), "{name}");
    for n in 0..COUNT {
        let key = key(n);
        assert_eq!(store.get(&key).unwrap(), Some(entry(n)), "{name}: {n}");
        assert!(store.index.get(&key).is_some(), "{name}: {n} has no row");
        if n % 4 == 3 {
            assert_eq!(
                store.find_task(&format!("task_{n}")).unwrap(),
                Some(key),
                "{name}"
            );
        }
    }
    assert_eq!(store.find_task("task_0").unwrap(), None);
    assert!(store.index.is_open(), "{name}: it still answers");
}

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("snap.")
    };
    snapshot(&dir.join("index"))
        .into_iter()
        .map(|(path, _)| path)
        .filter(named)
        .collect()
}

/// A small generator of its own: a damage must be the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

/// Something that happens to the folder of the index.
type Damage = fn(&Path);

fn delete(index: &Path) {
    std::fs::remove_dir_all(index).unwrap();
}

fn overwrite(index: &Path, log: &str) {
    std::fs::write(index.join("db"), log).unwrap();
}

#[test]
fn an_index_that_is_gone_or_emptied_is_rebuilt() {
    let dir = filled();
    let cases: [(&str, Damage); 7] = [
        ("a file in its place", |index| {
            delete(index);
            std::fs::write(index, "not a folder").unwrap();
        }),
        ("settings spoilt", |index| {
            std::fs::write(index.join("conf"), "spoilt settings").unwrap();
        }),
        ("deleted", delete),
        ("folder emptied", |index| {
            delete(index);
            std::fs::create_dir(index).unwrap();
        }),
        ("log emptied", |index| overwrite(index, "")),
        ("log deleted", |index| {
            std::fs::remove_file(index.join("db")).unwrap();
        }),
        ("log is something else", |index| {
            overwrite(index, &"x".repeat(9_999));
        }),
    ];
    for (name, damage) in cases {
        damage(&dir.path().join("index"));
        let (store, report) = open(dir.path());
        assert!(report.rebuilt.is_some(), "{name}");
        assert_eq!(report.generations, u64::from(COUNT), "{name}");
        assert_complete(&store, name);
        drop(store);
        let (_store, report) = open(dir.path());
        assert_eq!(report.rebuilt, None, "{name}: once is enough");
    }
}

#[test]
fn an_index_of_another_directory_is_rebuilt_row_by_row() {
    let dir = filled();
    let other = tempfile::tempdir().unwrap();
    let (store, _) = open(other.path());
    store.put(&image(0)).unwrap();
    store.put(&video(200, "stranger")).unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_dir(&other.path().join("index"), &dir.path().join("index"));
    let (store, report) = open(dir.path());
    assert_eq!(report.generations, u64::from(COUNT));
    assert_complete(&store, "foreign");
    assert_eq!(store.get(&key(200)).unwrap(), None);
    assert_eq!(store.find_task("stranger").unwrap(), None);
}

#[test]
fn a_spoilt_snapshot_costs_nothing() {
    let dir = filled();
    // sled writes a snapshot when it is opened the second time.
    drop(open(dir.path()));
    let found = snapshots(dir.path());
    assert!(!found.is_empty());
    for path in found {
        std::fs::write(path, "x").unwrap();
    }
    std::fs::write(
        dir.path().join("index/snap.0000000000000001.generating"),
        "",
    )
    .unwrap();
    let (store, report) = open(dir.path());
    assert_eq!(report.generations, u64::from(COUNT));
    assert_complete(&store, "snapshot");
}

/// Puts the index `whole` into `dir`, and damages it.
pub(super) fn spoil(dir: &Path, whole: &Path, seed: u64) {
    std::fs::remove_dir_all(dir.join("index")).unwrap();
    copy_dir(whole, &dir.join("index"));
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    if seed.is_multiple_of(2) {
        for path in snapshots(dir) {
            std::fs::remove_file(path).unwrap();
        }
    }
    // Behind its last byte the log is only room for more.
    let written = std::fs::read(log_path(dir)).unwrap();
    let written = written.iter().rposition(|byte| *byte != 0).unwrap();
    let len = written as u64;
    let mut log = std::fs::OpenOptions::new()
        .write(true)
        .open(log_path(dir))
        .unwrap();
    if seed.is_multiple_of(5) {
        log.set_len(dice.roll(len)).unwrap();
    } else {
        for _ in 0..10 {
            let size = 1 + dice.roll(8_192);
            let noise: Vec<u8> = (0..size).map(|_| dice.roll(256).to_le_bytes()[0]).collect();
            log.seek(SeekFrom::Start(dice.roll(len))).unwrap();
            log.write_all(&noise).unwrap();
        }
    }
    drop(log);
}

#[test]
fn any_damage_to_the_log_costs_nothing() {
    let dir = filled_with_history();
    let whole = tempfile::tempdir().unwrap();
    // Opened once more, so that there is a snapshot.
    drop(open(dir.path()));
    copy_dir(&dir.path().join("index"), whole.path());
    let (mut rebuilt, mut repaired) = (0, 0);
    for seed in 1..=20_u64 {
        spoil(dir.path(), whole.path(), seed);
        let (store, report) = open(dir.path());
        assert_eq!(report.generations, u64::from(COUNT), "seed {seed}");
        rebuilt += u64::from(report.rebuilt.is_some());
        repaired += u64::from(report.rebuilt.is_none() && report.reindexed > 0);
        for n in 0..COUNT {
            assert_eq!(
                store.get(&key(n)).unwrap(),
                Some(entry(n)),
                "seed {seed}: {n}"
            );
        }
        for n in (3..COUNT).step_by(4) {
            let found = store.find_task(&format!("task_{n}")).unwrap();
            assert_eq!(found, Some(key(n)), "seed {seed}: {n}");
        }
    }
    // Else the test has lost its teeth.
    assert!(
        rebuilt >= 2 && rebuilt + repaired >= 12,
        "{rebuilt} rebuilt, {repaired} repaired"
    );
}

/// After a power cut sled may come back with rows that are older than their files.
#[test]
fn a_row_older_than_its_file_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&video(1, "old")).unwrap();
    store.put(&image(2)).unwrap();
    drop(store);
    let old = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("index"), old.path());
    let (store, _) = open(dir.path());
    store.put(&video(1, "new")).unwrap();
    store.remove(&key(2)).unwrap();
    store.put(&image(3)).unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_dir(old.path(), &dir.path().join("index"));

    let (store, report) = open(dir.path());
    assert_eq!((report.generations, report.rebuilt), (2, None));
    assert_eq!(store.get(&key(1)).unwrap(), Some(video(1, "new")));
    assert_eq!(store.find_task("old").unwrap(), None);
    assert_eq!(store.find_task("new").unwrap(), Some(key(1)));
    assert_eq!(store.get(&key(2)).unwrap(), None);
    assert_eq!(store.get(&key(3)).unwrap(), Some(image(3)));
}

#[test]
fn a_failing_index_is_closed_and_opened_anew() {
    let dir = filled();
    let (store, _) = open(dir.path());
    store.index.doubt();
    assert!(!store.index.is_open());
    // The files answer alone, and what changes meanwhile is noticed later.
    assert_eq!(store.get(&key(3)).unwrap(), Some(entry(3)));
    assert_eq!(store.find_task("task_3").unwrap(), Some(key(3)));
    store.put(&video(3, "task_new")).unwrap();
    assert_eq!(store.find_task("task_new").unwrap(), Some(key(3)));
    assert_eq!(store.find_task("task_3").unwrap(), None);
    assert!(store.remove(&key(7)).unwrap());
    assert!(!store.index.is_open(), "not before its pause is over");
    store.index.end_pause();
    assert_eq!(store.find_task("task_new").unwrap(), Some(key(3)));
    assert_eq!(store.get(&key(3)).unwrap(), Some(video(3, "task_new")));
    assert!(store.index.is_open());
    assert!(store.index.get(&key(3)).is_some());
    assert!(store.index.get(&key(7)).is_none());
    assert_eq!(store.find_task("task_7").unwrap(), None);
}

/// Rows that someone spoilt while it runs: what is handed out is read from its file.
#[test]
fn a_row_that_lies_is_not_served() {
    let dir = filled();
    let (store, _) = open(dir.path());
    let other = store.index.get(&key(4)).unwrap();
    store.index.put(&key(0), &other);
    assert_eq!(store.get(&key(0)).unwrap(), Some(entry(0)));
}
