//! Many threads at once.

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
