//! What a person says is to go, goes; and what is not finished stays.

use std::time::Duration;

use super::super::purge::{Purge, Purged, purge, remove};
use super::keeping::*;
use super::*;

fn purged(store: &DiskStore, what: Purge, now: Timestamp) -> Purged {
    purge(store, None, &what, now, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn unfinished(store: &DiskStore) {
    let mut running = video(1, "running");
    running.record.task.as_mut().unwrap().state = TaskState::Running;
    running.record.previous = Some(key(2));
    store.put(&running).unwrap();
    store.put(&video(2, "set aside")).unwrap();
    store.put(&with_blobs(store, 3, (1, &[2]), true)).unwrap();
    store.put(&image(4)).unwrap();
    store.put_intent(&super::intents::intent(4)).unwrap();
}

#[test]
fn what_is_not_finished_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    unfinished(&store);
    store.put(&with_blobs(&store, 5, (1, &[3]), false)).unwrap();
    let before = store.kept_bytes();
    let done = purged(&store, Purge::default(), at(100));
    assert_eq!((done.generations, done.running, done.unknown), (1, 3, 1));
    assert_eq!(done.bytes, before - store.kept_bytes());
    assert!(done.bytes > content(3).len() as u64, "{done:?}");
    assert!(done.bytes < content(1).len() as u64 + content(3).len() as u64);
    for n in 1..=4 {
        assert!(store.get(&key(n)).unwrap().is_some(), "{n}");
    }
    let again = purged(&store, Purge::default(), at(100));
    assert_eq!((again.generations, again.bytes), (0, 0));
}

#[test]
fn only_what_is_meant_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    for n in 0..10 {
        // Made at second n.
        store.put(&image(n)).unwrap();
    }
    store.put(&video(20, "task")).unwrap();
    let old = |seconds| Purge {
        older_than: Some(Duration::from_secs(seconds)),
        ..Purge::default()
    };
    assert_eq!(purged(&store, old(6), at(9)).generations, 4);
    assert!(store.get(&key(3)).unwrap().is_none());
    assert!(store.get(&key(4)).unwrap().is_some());
    let early = purged(&store, Purge::default(), at(5));
    assert_eq!(early.generations, 2, "what was made later is not meant");
    let videos = Purge {
        kind: Some(Kind::Video),
        ..Purge::default()
    };
    assert_eq!(purged(&store, videos, at(99)).generations, 1);
    let mut seen = 0;
    let stopped = purge(&store, None, &Purge::default(), at(99), &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((stopped.unwrap().generations, seen), (1, 1));
    assert_eq!(purged(&store, Purge::default(), at(99)).generations, 3);
}

#[test]
fn one_is_removed_when_it_is_finished_or_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    unfinished(&store);
    store.put(&image(5)).unwrap();
    let damaged = image(6);
    store.put(&damaged).unwrap();
    std::fs::write(gen_path(dir.path(), &key(6)), "torn").unwrap();
    for (n, expected) in [
        (1, Forgotten::Open),
        (2, Forgotten::Open),
        (3, Forgotten::Open),
        (4, Forgotten::Pending),
        (7, Forgotten::Absent),
    ] {
        assert_eq!(remove(&store, &key(n)).unwrap(), expected, "{n}");
    }
    for n in [5, 6] {
        let removed = remove(&store, &key(n)).unwrap();
        assert!(matches!(removed, Forgotten::Gone(1..)), "{n}: {removed:?}");
        assert!(!gen_path(dir.path(), &key(n)).exists());
    }
}
