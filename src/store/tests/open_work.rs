//! What is still to be done is found without going through everything.

use super::*;

fn wanted(n: u8) -> Entry {
    let mut entry = image(n);
    entry.record.media = vec![Medium {
        link: format!("https://cdn.test/{n}"),
        state: MediumState::Wanted,
    }];
    entry
}

fn running(n: u8) -> Entry {
    let mut entry = video(n, &format!("task_{n}"));
    if let Some(task) = &mut entry.record.task {
        task.state = TaskState::Running;
    }
    entry
}

fn open_work(store: &DiskStore) -> Vec<u8> {
    let mut found = Vec::new();
    store
        .open_work(&mut |record| {
            found.push(record.key.as_bytes()[0]);
            ControlFlow::Continue(())
        })
        .unwrap();
    found.sort_unstable();
    found
}

#[test]
fn a_record_is_open_while_its_job_runs_or_a_file_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for entry in [image(1), video(2, "ended"), running(3), wanted(4)] {
        store.put(&entry).unwrap();
    }
    assert_eq!(open_work(&store), [3, 4]);
    store.put(&video(3, "task_3")).unwrap();
    assert_eq!(open_work(&store), [4]);
    store.put(&wanted(1)).unwrap();
    store.remove(&key(4)).unwrap();
    assert_eq!(open_work(&store), [1]);
    let mut first = None;
    store.put(&running(9)).unwrap();
    store
        .open_work(&mut |record| {
            assert_eq!(first.replace(record.key), None, "it was told to stop");
            ControlFlow::Break(())
        })
        .unwrap();
}

#[test]
fn open_work_is_found_without_an_index_and_in_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for entry in [image(1), running(2), wanted(3)] {
        store.put(&entry).unwrap();
    }
    store.index.doubt();
    assert_eq!(open_work(&store), [2, 3]);
    store.put(&running(1)).unwrap();
    store.put(&image(3)).unwrap();
    store.index.end_pause();
    assert_eq!(open_work(&store), [1, 2]);
    assert!(store.index.is_open());
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(open_work(&open(dir.path()).0), [1, 2]);
}

#[test]
fn a_medium_names_a_blob_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut entry = wanted(1);
    entry.record.media[0].state = MediumState::Kept {
        hash: BlobHash::from_bytes([7; 32]),
        len: 7,
        content_type: "video/mp4".into(),
        extension: "mp4".into(),
    };
    let put = store.put(&entry);
    assert!(
        matches!(put, Err(StoreError::MissingBlob { .. })),
        "{put:?}"
    );
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for n in 1..=5 {
        let mut entry = running(n);
        // Too large to stand in the index.
        entry.body = Payload::Bytes(Bytes::from(vec![n; 20_000]));
        store.put(&entry).unwrap();
    }
    let path = gen_path(dir.path(), &key(2));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let mut found = Vec::new();
    let looked = store.open_work(&mut |record| {
        found.push(record.key.as_bytes()[0]);
        ControlFlow::Continue(())
    });
    assert!(matches!(looked, Err(StoreError::Io { .. })), "{looked:?}");
    found.sort_unstable();
    assert_eq!(found, [1, 3, 4, 5]);
}

#[tokio::test]
async fn a_job_that_was_passed_by_is_open_and_found_by_its_id_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = running(1).record;
    let polls = record
        .task
        .as_mut()
        .map(|task| std::mem::take(&mut task.polls));
    assert!(polls.is_some());
    let note = Entry::passed_by(record).unwrap();
    let place = place_of_job("task_1");
    let (store, _) = open(dir.path());
    let store = std::sync::Arc::new(store);
    let shelf = Shelf::new(store.clone());
    assert!(shelf.note_job(note.clone()).await.unwrap());
    assert!(
        !shelf.note_job(note.clone()).await.unwrap(),
        "known already"
    );
    assert_eq!(store.get(&key(1)).unwrap(), None, "nobody hits it");
    drop((shelf, store));
    for index in ["index", "no index"] {
        let (store, _) = open(dir.path());
        let found = find_job(&store, "task_1").unwrap();
        assert_eq!(found.as_ref(), Some(&note), "{index}");
        assert_eq!(note.record.generation(), key(1));
        assert_eq!(open_work(&store), [place.as_bytes()[0]], "{index}");
        let kept = store.glance(&place).unwrap().unwrap();
        assert!(kept.passed_by && kept.open, "{index}");
        let exported = export(
            &store,
            Vec::new(),
            at(0),
            &mut |_| ControlFlow::Continue(()),
        );
        assert_eq!(exported.unwrap().unwrap().generations, 0, "{index}");
        drop(store);
        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    }
}
