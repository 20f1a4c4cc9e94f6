//! Many threads at once.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// After any race of puts and removes of one key, the index must say what the file says.
#[test]
fn the_row_of_a_key_follows_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..10 {
                    let mut entry = video(1, &format!("task_{thread}_{round}"));
                    entry.record.elapsed_ms = thread * 100 + round;
                    store.put(&entry).unwrap();
                    assert!(store.get(&key(1)).unwrap().is_some());
                    if round == 5 {
                        store
                            .put(&image(u8::try_from(thread).unwrap() + 10))
                            .unwrap();
                    }
                }
            });
        }
    });
    let served = store.get(&key(1)).unwrap().unwrap();
    let file = store.files.read(&key(1)).unwrap().unwrap().entry;
    assert_eq!(served, file);
    let task = served.record.task.unwrap().id;
    assert_eq!(store.find_task(&task).unwrap(), Some(key(1)));
    for thread in 10..14 {
        assert_eq!(store.get(&key(thread)).unwrap(), Some(image(thread)));
    }
}

/// Puts that fall into the time in which the index is opened anew must reach it all the same.
#[test]
fn what_changes_while_the_index_opens_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let enough = AtomicBool::new(false);
    let openings = std::thread::scope(|scope| {
        for thread in 0..3_u8 {
            let (store, enough) = (&store, &enough);
            scope.spawn(move || {
                for round in 0_u64.. {
                    let n = thread * 20 + u8::try_from(round % 20).unwrap();
                    store.put(&video(n, &format!("task_{n}_{round}"))).unwrap();
                    if round % 7 == 0 {
                        store.remove(&key(n)).unwrap();
                    }
                    if enough.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let mut openings = 0;
        for _ in 0..10 {
            store.index.doubt();
            // Whoever comes first opens it, and the others go on meanwhile.
            let opened = (0..100_000).any(|_| {
                store.index.end_pause();
                store.flush().unwrap();
                std::thread::yield_now();
                store.index.is_open()
            });
            openings += u32::from(opened);
        }
        enough.store(true, Ordering::Relaxed);
        openings
    });
    assert_eq!(openings, 10, "it was opened under load");
    store.index.end_pause();
    store.flush().unwrap();
    assert!(store.index.is_open());
    for n in 0..60 {
        let file = store.files.read(&key(n)).unwrap();
        let row = store.index.get(&key(n));
        assert_eq!(
            row.map(|row| row.stamp),
            file.as_ref().map(|file| file.stamp),
            "{n}"
        );
        assert_eq!(
            store.get(&key(n)).unwrap(),
            file.map(|file| file.entry),
            "{n}"
        );
    }
}
