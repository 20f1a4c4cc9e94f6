//! What goes and what stays, one case at a time.

use std::io::Read;
use std::sync::Arc;

use jiff::SignedDuration;

use super::super::evict::{Evicted, Pass, Tally};
use super::keeping::*;
use super::*;

fn expire(store: &Arc<DiskStore>, ttl: u64, now: Timestamp) -> Evicted {
    let (shelf, tally) = (Shelf::new(store.clone()), Tally::default());
    let pass = Pass {
        store: store.as_ref(),
        shelf: &shelf,
        rules: &rules(u64::MAX, Some(ttl)),
        now,
        tally: &tally,
        is_over: &|| false,
    };
    pass.expired().unwrap();
    tally.read()
}

#[test]
fn each_kind_goes_by_its_own_age() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    for n in 0..20 {
        // Made at second n.
        store.put(&image(n)).unwrap();
    }
    store.put(&video(30, "task")).unwrap();
    let before = store.kept_bytes();
    let gone = expire(&store, 10, at(19));
    assert_eq!((gone.expired, gone.for_room), (10, 0));
    assert_eq!(gone.bytes, before - store.kept_bytes());
    let left: Vec<u8> = (10..20).chain([30]).collect();
    assert_eq!(keys(&store), left, "what is 10 seconds old has expired");
    assert_eq!(expire(&store, 10, at(19)), Evicted::default());
}

#[test]
fn what_is_open_pending_or_set_aside_for_a_running_job_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    let mut running = video(1, "running");
    running.record.task.as_mut().unwrap().state = TaskState::Running;
    running.record.previous = Some(key(2));
    store.put(&running).unwrap();
    store.put(&video(2, "set aside")).unwrap();
    let wanted = with_blobs(&store, 3, (1, &[2]), true);
    store.put(&wanted).unwrap();
    store.put(&image(4)).unwrap();
    store.put_intent(&super::intents::intent(4)).unwrap();
    store.put(&image(5)).unwrap();
    assert!(!make_room(&store, 0), "there is no room even so");
    assert_eq!(keys(&store), [1, 2, 3, 4]);
    assert_eq!(
        forget(store.as_ref(), &key(1), None).unwrap(),
        Forgotten::Open
    );
    assert_eq!(
        forget(store.as_ref(), &key(4), None).unwrap(),
        Forgotten::Pending
    );
    assert_eq!(
        forget(store.as_ref(), &key(5), None).unwrap(),
        Forgotten::Absent
    );
    assert!(matches!(
        forget(store.as_ref(), &key(2), None).unwrap(),
        Forgotten::Gone(1..)
    ));
}

#[test]
fn the_least_recently_used_goes_first_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    for n in 1..=10 {
        store.put(&large(n, 10_000)).unwrap();
    }
    store.used(&key(1), at(100));
    store.used(&key(2), at(50));
    store.used(&key(99), at(50));
    store.write_used();
    drop(store);
    let store = Arc::new(open(dir.path()).0);
    assert_eq!(
        store.glance(&key(1)).unwrap().unwrap().last_used_at,
        at_ms(100)
    );
    assert_eq!(store.glance(&key(3)).unwrap().unwrap().last_used_at, at(3));
    assert!(make_room(&store, store.kept_bytes() - 1));
    assert_eq!(
        keys(&store),
        [1, 2, 4, 5, 6, 7, 8, 9, 10],
        "no more than has to"
    );
    assert!(make_room(&store, store.kept_bytes() / 9 * 3));
    assert_eq!(keys(&store), [1, 2]);
}

/// Times of use are kept to the millisecond.
fn at_ms(seconds: i64) -> Timestamp {
    Timestamp::from_millisecond(at(seconds).as_millisecond()).unwrap()
}

#[test]
fn what_was_asked_for_meanwhile_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    let seen = store.glance(&key(1)).unwrap().unwrap();
    store.used(&key(1), at(50));
    let forgotten = forget(&store, &key(1), Some(&seen)).unwrap();
    assert_eq!(forgotten, Forgotten::Absent);
    let seen = store.glance(&key(1)).unwrap().unwrap();
    assert!(matches!(
        forget(&store, &key(1), Some(&seen)).unwrap(),
        Forgotten::Gone(1..)
    ));
}

#[test]
fn bytes_in_hand_stay_until_they_are_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&large(1, 70_000)).unwrap();
    let sending = store.get(&key(1)).unwrap().unwrap();
    assert!(store.remove(&key(1)).unwrap());
    let Payload::Blob { hash, .. } = &sending.body else {
        panic!("70,000 bytes are a blob")
    };
    let mut bytes = Vec::new();
    let mut file = store.open_blob(hash).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, vec![1; 70_000]);
    assert_eq!(store.free_blobs(Timestamp::MAX).unwrap(), Freed::default());
    // What came out can go in again.
    store.put(&sending).unwrap();
    store.remove(&key(1)).unwrap();
    drop(sending);
    let freed = store.free_blobs(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((freed.blobs, freed.bytes), (1, 70_000));
    assert_eq!(
        (store.kept_bytes(), blobs_on_disk(dir.path()).len()),
        (0, 0)
    );
}

#[test]
fn a_blob_that_is_about_to_be_named_survives_the_end_of_its_twin() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&large(1, 70_000)).unwrap();
    let mut second = image(2);
    let blob = store.blobs.keep(&vec![1; 70_000]).unwrap();
    let (hash, len) = (blob.hash, blob.len);
    drop(blob);
    store.remove(&key(1)).unwrap();
    second.body = Payload::Blob {
        hash,
        len,
        hold: Hold::default(),
    };
    store.put(&second).unwrap();
    assert!(store.get(&key(2)).unwrap().is_some());
    assert_eq!(store.needed_by(&hash), [key(2)]);
}

#[test]
fn a_left_over_goes_by_its_age_unless_a_generation_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&large(1, 70_000)).unwrap();
    store.blobs.keep(b"a left-over").unwrap();
    let foreign = dir.path().join("blobs/ab/notes.txt");
    std::fs::write(&foreign, "not ours").unwrap();
    drop(store);
    let now = Timestamp::now();
    let (store, _) = open(dir.path());
    let young = now - SignedDuration::from_hours(24);
    assert_eq!(store.free_blobs(young).unwrap(), Freed::default());
    let old = now + SignedDuration::from_hours(24);
    std::fs::write(gen_path(dir.path(), &key(9)), "{\"format\":9}\n").unwrap();
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(
        store.free_blobs(old).unwrap(),
        Freed::default(),
        "whose is it?"
    );
    std::fs::remove_file(gen_path(dir.path(), &key(9))).unwrap();
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(store.free_blobs(old).unwrap().blobs, 1);
    assert!(foreign.exists());
    assert!(store.get(&key(1)).unwrap().is_some());
}

/// Readers and writers of the same few contents, while everything is evicted again and again.
#[test]
fn nobody_misses_a_blob_while_others_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    store.put(&large(0, 70_000)).unwrap();
    std::thread::scope(|scope| {
        for thread in 1..4_u8 {
            let store = store.clone();
            scope.spawn(move || {
                for round in 0..60_u8 {
                    // The same bytes as another thread's, under a key of its own.
                    let mut entry = image(thread);
                    entry.body = store.blobs.keep(&vec![round % 3; 70_000]).unwrap().into();
                    store.put(&entry).unwrap();
                    assert!(
                        store.get(&key(thread)).unwrap().is_some(),
                        "{thread}: {round}"
                    );
                    store.remove(&key(thread)).unwrap();
                }
            });
        }
        let replacing = store.clone();
        scope.spawn(move || {
            for round in 0..120 {
                replacing.put(&large_of(0, round % 3)).unwrap();
            }
        });
        let reading = store.clone();
        scope.spawn(move || {
            for round in 0..200 {
                let entry = reading.get(&key(0)).unwrap();
                let entry = entry.unwrap_or_else(|| panic!("{round}: it was never gone"));
                let Payload::Blob { hash, .. } = &entry.body else {
                    panic!("it is a blob")
                };
                reading.open_blob(hash).unwrap();
            }
        });
    });
    store.remove(&key(0)).unwrap();
    store.free_blobs(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(blobs_on_disk(dir.path()), needed(&store));
    assert_eq!((store.kept_bytes(), counted(dir.path())), (0, 0));
}

fn large_of(n: u8, content: u8) -> Entry {
    let mut entry = image(n);
    entry.body = Payload::Bytes(Bytes::from(vec![content; 70_000]));
    entry
}
