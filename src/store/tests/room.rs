//! Making room while somebody has bytes in hand, while files cannot be removed, and while jobs come.

use std::sync::Arc;

use super::super::evict::{Evicted, Pass, Tally};
use super::super::rigged::{Call, Rigged, broken};
use super::keeping::*;
use super::*;

/// Rules that leave as much as this, in bytes.
fn leaving(bytes: u64) -> Rules {
    rules(bytes / 95 * 100, None)
}

fn for_room<S: Store>(store: &Arc<S>, rules: &Rules) -> (Result<bool, StoreError>, Evicted) {
    let (shelf, tally) = (Shelf::new(store.clone()), Tally::default());
    let pass = Pass {
        store: store.as_ref(),
        shelf: &shelf,
        rules,
        now: at(10_000),
        tally: &tally,
        is_over: &|| false,
    };
    (pass.for_room(), tally.read())
}

#[test]
fn bytes_in_hand_cost_nothing_else_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    let all: Vec<u8> = (1..=5).chain(11..=30).collect();
    for n in &all {
        store.put(&large(*n, 70_000)).unwrap();
    }
    let in_hand: Vec<Entry> = (1..=5)
        .map(|n| store.get(&key(n)).unwrap().unwrap())
        .collect();
    let one = store.kept_bytes() / 25;
    let rules = leaving(store.kept_bytes() - 2 * one - one / 2);
    let (room, gone) = for_room(&store, &rules);
    assert_eq!((room.unwrap(), gone.for_room), (true, 3));
    assert_eq!(keys(&store), all[3..], "the three oldest");
    let (room, gone) = for_room(&store, &rules);
    assert_eq!((room.unwrap(), gone.for_room), (true, 0), "and no more");
    assert_eq!(
        store.passing_bytes(),
        3 * 70_000,
        "they are read to the end"
    );
    drop(in_hand);
    let before = store.kept_bytes();
    let (room, gone) = for_room(&store, &rules);
    assert_eq!((room.unwrap(), gone.for_room), (true, 0));
    assert_eq!(before - store.kept_bytes(), 3 * 70_000);
    assert_eq!((store.passing_bytes(), keys(&store).len()), (0, 22));
}

#[test]
fn more_in_hand_than_there_is_room_empties_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    store.put(&large(1, 900_000)).unwrap();
    let sending = store.get(&key(1)).unwrap().unwrap();
    for n in 11..=15 {
        store.put(&large(n, 70_000)).unwrap();
    }
    let rules = leaving(500_000);
    assert!(for_room(&store, &rules).0.unwrap());
    assert_eq!(keys(&store), [11, 12, 13, 14, 15]);
    // One that was just taken down, and counts when a generation needs it.
    let taken = store.blobs.keep(&vec![9; 900_000]).unwrap();
    let (room, gone) = for_room(&store, &rules);
    assert_eq!((room.unwrap(), gone), (true, Evicted::default()));
    let mut entry = image(2);
    entry.body = taken.into();
    store.put(&entry).unwrap();
    drop((sending, entry));
    assert!(for_room(&store, &rules).0.unwrap());
    assert_eq!(keys(&store), [11, 12, 13, 14, 15]);
    assert_eq!(store.kept_bytes(), counted(dir.path()));
    // As long as what is settled has room, nothing goes because of what is in hand.
    let _taken = store.blobs.keep(&vec![9; 900_000]).unwrap();
    let just_enough = super::keeping::rules(store.kept_bytes() - 900_000, None);
    assert!(for_room(&store, &just_enough).0.unwrap());
    assert_eq!(keys(&store), [11, 12, 13, 14, 15]);
}

#[test]
fn an_import_takes_no_more_room_than_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (from, _) = open(dir.path());
    for n in 1..=12 {
        from.put(&large(n, 70_000)).unwrap();
    }
    let go = &mut |_| ControlFlow::Continue(());
    let mut file = Vec::new();
    export(&from, &mut file, at(500), go).unwrap().unwrap();
    let other = tempfile::tempdir().unwrap();
    let store = Arc::new(open(other.path()).0);
    store.put(&large(100, 70_000)).unwrap();
    let (mut most, rules) = (0, leaving(250_000));
    let imported = import(store.as_ref(), None, file.as_slice(), &mut |_| {
        assert!(for_room(&store, &rules).0.unwrap());
        most = most.max(store.kept_bytes());
        ControlFlow::Continue(())
    });
    assert_eq!(imported.unwrap().added, 12);
    assert!(most < 250_000 + 80_000, "{most}");
    assert!(
        keys(&store).contains(&100),
        "it was there, and is the newest"
    );
}

/// A store in which these generations cannot be removed, and what it is about.
fn stuck(dir: &Path, which: &'static [u8]) -> Arc<Rigged> {
    let store = open(dir).0;
    for n in 1..=10 {
        store.put(&large(n, 7_000)).unwrap();
    }
    Arc::new(Rigged::new(store, |_, call| match call {
        Call::Remove(key) if which.contains(&key.as_bytes()[0]) => Err(broken()),
        _ => Ok(()),
    }))
}

fn left(store: &dyn Store) -> Vec<u8> {
    let mut left = Vec::new();
    store
        .list_kept(None, &mut |kept| {
            left.push(kept.key.as_bytes()[0]);
            ControlFlow::Continue(())
        })
        .unwrap();
    left
}

#[test]
fn a_file_that_cannot_be_removed_ends_no_pass() {
    let dir = tempfile::tempdir().unwrap();
    let store = stuck(dir.path(), &[1, 2, 5]);
    let one = store.kept_bytes() / 10;
    let (room, gone) = for_room(&store, &leaving(7 * one + one / 2));
    assert_eq!((room.unwrap(), gone.for_room), (true, 3));
    assert_eq!(left(store.as_ref()), [1, 2, 5, 7, 8, 9, 10]);

    let (shelf, tally) = (Shelf::new(store.clone()), Tally::default());
    let pass = Pass {
        store: store.as_ref(),
        shelf: &shelf,
        rules: &rules(u64::MAX, Some(10)),
        now: at(19),
        tally: &tally,
        is_over: &|| false,
    };
    pass.expired().unwrap();
    assert_eq!(left(store.as_ref()), [1, 2, 5, 10]);
    pass.expired().unwrap_err();
    let (room, _) = for_room(&store, &leaving(3 * one + one / 2));
    assert!(room.unwrap());
    assert_eq!(left(store.as_ref()), [1, 2, 5]);
    let (room, _) = for_room(&store, &leaving(one));
    assert!(matches!(room, Err(StoreError::Io { .. })), "nothing went");
}

#[test]
fn a_blob_that_cannot_be_removed_keeps_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let all: Vec<Entry> = (1..=8)
        .map(|n| {
            store.put(&large(n, 70_000)).unwrap();
            store.get(&key(n)).unwrap().unwrap()
        })
        .collect();
    for n in 1..=8 {
        store.remove(&key(n)).unwrap();
    }
    let Payload::Blob { hash, .. } = &all[3].body else {
        panic!("70,000 bytes are a blob")
    };
    let path = store.blobs.path(hash);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    drop(all);
    assert_eq!(store.free_blobs(Timestamp::UNIX_EPOCH).unwrap().blobs, 7);
    store.free_blobs(Timestamp::UNIX_EPOCH).unwrap_err();
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(store.free_blobs(Timestamp::UNIX_EPOCH).unwrap().blobs, 1);
    assert_eq!(store.kept_bytes(), 0);
}

/// In a second round, since the first one freed less than it seemed to.
#[test]
fn a_job_that_is_set_aside_during_a_pass_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    store.put(&with_blobs(&store, 1, (1, &[]), false)).unwrap();
    store.put(&video(2, "the old one")).unwrap();
    store.put(&with_blobs(&store, 8, (1, &[]), false)).unwrap();
    let size = store.kept_bytes();
    let store = Arc::new(Rigged::new(store, |store, call| {
        if call == Call::Remove(key(1)) {
            let mut running = video(3, "the new one");
            running.record.task.as_mut().unwrap().state = TaskState::Running;
            running.record.previous = Some(key(2));
            store.put(&running).unwrap();
        }
        Ok(())
    }));
    let (room, gone) = for_room(&store, &leaving(size / 2));
    assert_eq!((room.unwrap(), gone.for_room), (true, 2));
    assert_eq!(left(store.as_ref()), [2, 3]);
}
