//! What goes in comes out, also after a restart.

use std::io::Read;

use super::*;

fn text_of(store: &DiskStore, payload: &Payload) -> Vec<u8> {
    match payload {
        Payload::Bytes(bytes) => bytes.to_vec(),
        Payload::Blob { hash, len, .. } => {
            let mut bytes = Vec::new();
            store
                .open_blob(hash)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            assert_eq!(bytes.len() as u64, *len);
            bytes
        }
    }
}

#[test]
fn entries_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [image(1), video(2, "task_2"), large(3, 20_000), large(4, 0)];
    let (store, report) = open(dir.path());
    assert_eq!(report, OpenReport::default());
    for entry in &entries {
        assert_eq!(store.get(&entry.record.key).unwrap(), None);
        store.put(entry).unwrap();
        assert_eq!(store.get(&entry.record.key).unwrap().as_ref(), Some(entry));
    }
    drop(store);
    let (store, report) = open(dir.path());
    assert_eq!((report.generations, report.rebuilt), (4, None));
    assert!(report.bytes > 20_000);
    for entry in &entries {
        assert_eq!(store.get(&entry.record.key).unwrap().as_ref(), Some(entry));
    }
    assert_eq!(store.find_task("task_2").unwrap(), Some(key(2)));
    assert_eq!(store.find_task("task_1").unwrap(), None);
}

#[test]
fn large_bodies_become_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut entry = video(1, "task");
    entry.body = Payload::Bytes(Bytes::from(vec![1; 64 * 1024]));
    entry.polls[0] = Payload::Bytes(Bytes::from(vec![2; 64 * 1024 + 1]));
    store.put(&entry).unwrap();
    let kept = store.get(&key(1)).unwrap().unwrap();
    assert_eq!(kept.record, entry.record);
    assert_eq!(kept.body, entry.body, "64 KiB stay in the file");
    let hash = BlobHash::from_bytes(*blake3::hash(&vec![2; 64 * 1024 + 1]).as_bytes());
    assert_eq!(
        kept.polls[0],
        Payload::Blob {
            hash,
            len: 64 * 1024 + 1,
            hold: Hold::default(),
        }
    );
    assert_eq!(text_of(&store, &kept.polls[0]), vec![2; 64 * 1024 + 1]);
    // What came out goes in again.
    store.put(&kept).unwrap();
    assert_eq!(store.get(&key(1)).unwrap(), Some(kept));
}

#[test]
fn many_bodies_of_a_job_do_not_make_the_file_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut entry = video(1, "task");
    let poll = entry.record.task.as_ref().unwrap().polls[0].clone();
    entry.record.task.as_mut().unwrap().polls = vec![poll; 40];
    entry.polls = (0..40)
        .map(|n| Payload::Bytes(Bytes::from(vec![n; 60_000])))
        .collect();
    store.put(&entry).unwrap();
    let kept = store.get(&key(1)).unwrap().unwrap();
    for (kept, put) in kept.polls.iter().zip(&entry.polls) {
        assert_eq!(text_of(&store, kept), text_of(&store, put));
    }
    assert!(matches!(kept.polls[39], Payload::Blob { .. }));
}

#[test]
fn a_blob_that_is_not_there_is_no_body() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut entry = image(1);
    entry.body = Payload::Blob {
        hash: BlobHash::from_bytes([1; 32]),
        len: 5,
        hold: Hold::default(),
    };
    assert!(matches!(
        store.put(&entry),
        Err(StoreError::MissingBlob { .. })
    ));
    assert_eq!(store.get(&key(1)).unwrap(), None);

    store.put(&large(2, 70_000)).unwrap();
    let Payload::Blob { hash, .. } = store.get(&key(2)).unwrap().unwrap().body else {
        panic!("70,000 bytes are a blob");
    };
    std::fs::write(store.blobs.path(&hash), vec![3; 70_000]).unwrap();
    assert_eq!(
        store.get(&key(2)).unwrap(),
        None,
        "a damaged body is no hit"
    );
    store.put(&large(2, 70_000)).unwrap();
    assert!(
        store.get(&key(2)).unwrap().is_some(),
        "a later put repairs it"
    );
}

#[test]
fn a_put_replaces_and_a_remove_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&video(1, "first")).unwrap();
    store.put(&video(1, "second")).unwrap();
    assert_eq!(
        store.find_task("first").unwrap(),
        None,
        "the first run is no longer kept"
    );
    assert_eq!(store.find_task("second").unwrap(), Some(key(1)));
    assert!(store.remove(&key(1)).unwrap());
    assert!(!store.remove(&key(1)).unwrap());
    assert_eq!(store.get(&key(1)).unwrap(), None);
    assert_eq!(store.find_task("second").unwrap(), None);
    drop(store);
    let (store, report) = open(dir.path());
    assert_eq!(report.generations, 0);
    assert_eq!(store.get(&key(1)).unwrap(), None);
}

#[test]
fn a_listing_shows_all_until_it_is_broken_off() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut entries = vec![
        image(9),
        video(1, "task"),
        large(200, 20_000),
        large(7, 70_000),
    ];
    for entry in &entries {
        store.put(entry).unwrap();
    }
    std::fs::write(gen_path(dir.path(), &key(60)), "damaged").unwrap();
    let mut seen = Vec::new();
    store
        .list(&mut |record| {
            seen.push(record.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
    seen.sort_by_key(|record| record.key);
    entries.sort_by_key(|entry| entry.record.key);
    assert_eq!(
        seen,
        entries
            .into_iter()
            .map(|entry| entry.record)
            .collect::<Vec<_>>()
    );
    let mut count = 0;
    store
        .list(&mut |_| {
            count += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(count, 1);
}

#[test]
fn a_damaged_generation_costs_only_itself_and_stays_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    store.put(&large(2, 20_000)).unwrap();
    drop(store);
    let path = gen_path(dir.path(), &key(2));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    // Another key's file under this name is damage too.
    let other = gen_path(dir.path(), &key(3));
    std::fs::copy(gen_path(dir.path(), &key(1)), &other).unwrap();
    let misplaced = dir
        .path()
        .join("generations/00")
        .join(format!("{}.gen", key(1)));
    std::fs::copy(gen_path(dir.path(), &key(1)), &misplaced).unwrap();

    let (store, report) = open(dir.path());
    assert_eq!(report.generations, 1);
    assert_eq!(report.damaged, [misplaced, path.clone(), other]);
    assert_eq!(store.get(&key(1)).unwrap(), Some(image(1)));
    assert_eq!(store.get(&key(2)).unwrap(), None);
    assert_eq!(store.get(&key(3)).unwrap(), None);
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "left as it is");
    store.put(&image(2)).unwrap();
    assert_eq!(store.get(&key(2)).unwrap(), Some(image(2)));
}

#[test]
fn a_generation_of_a_newer_version_is_neither_run_again_nor_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let path = gen_path(dir.path(), &key(5));
    let newer = b"{\"format\":7,\"something\":\"else\"}\nbytes";
    std::fs::write(&path, newer).unwrap();
    assert!(matches!(
        store.get(&key(5)),
        Err(StoreError::NewerFormat { format: 7, .. })
    ));
    assert!(matches!(
        store.remove(&key(5)),
        Err(StoreError::NewerFormat { .. })
    ));
    assert!(store.list(&mut |_| ControlFlow::Continue(())).is_ok());
    store.put(&image(5)).unwrap();
    assert_eq!(store.get(&key(5)).unwrap(), Some(image(5)));
    let folder = snapshot(path.parent().unwrap());
    assert!(
        folder.iter().any(|(_, bytes)| bytes == newer),
        "kept beside the new one"
    );
}

#[test]
fn free_bytes_are_those_of_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    assert!(store.free_bytes().unwrap() > 1024 * 1024);
    store.flush().unwrap();
}
