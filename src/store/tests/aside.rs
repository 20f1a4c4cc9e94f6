//! A job that is set aside for the one that takes its place, and comes back.

use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use super::super::rigged::{Call, Rigged};
use super::*;

fn running(task_id: &str) -> Entry {
    let mut entry = video(1, task_id);
    entry.record.task.as_mut().unwrap().state = TaskState::Running;
    entry
}

/// A job whose first poll is a blob, and the file of that.
fn with_large_poll(task_id: &str) -> (Entry, BlobHash) {
    let mut entry = video(1, task_id);
    let bytes = Bytes::from(vec![7; 70_000]);
    let hash = BlobHash::from_bytes(*blake3::hash(&bytes).as_bytes());
    entry.polls[0] = Payload::Bytes(bytes);
    (entry, hash)
}

fn task_of(entry: Option<&Entry>) -> Option<&str> {
    let task = entry?.record.task.as_ref()?;
    Some(&task.id)
}

#[tokio::test]
async fn a_damaged_old_job_does_not_keep_the_new_one_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    let shelf = Shelf::new(store.clone());
    let (old, poll) = with_large_poll("old");
    shelf.put(old).await.unwrap();
    std::fs::remove_file(store.blobs.path(&poll)).unwrap();
    let new = shelf.put(running("new")).await.unwrap();
    assert_eq!(new.record.previous, None);
    let kept = shelf.get(key(1)).await.unwrap();
    assert_eq!(task_of(kept.as_deref()), Some("new"));
    let after = shelf.change(key(1), |_| Change::Remove).await.unwrap();
    assert_eq!(after, None);
    assert_eq!(shelf.get(key(1)).await.unwrap(), None);
}

#[tokio::test]
async fn a_job_of_a_newer_version_does_not_keep_the_new_one_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    let shelf = Shelf::new(store);
    let path = gen_path(dir.path(), &key(1));
    std::fs::write(&path, "{\"format\":9}\n").unwrap();
    shelf.put(running("new")).await.unwrap();
    let kept = shelf.get(key(1)).await.unwrap();
    assert_eq!(task_of(kept.as_deref()), Some("new"));
    let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 2, "the newer one lies beside it");
}

#[tokio::test]
async fn a_job_whose_predecessor_was_damaged_meanwhile_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).0);
    let shelf = Shelf::new(store.clone());
    let (old, poll) = with_large_poll("old");
    shelf.put(old).await.unwrap();
    let new = shelf.put(running("new")).await.unwrap();
    let place = new.record.previous.unwrap();
    std::fs::remove_file(store.blobs.path(&poll)).unwrap();
    let after = shelf.change(key(1), |_| Change::Remove).await.unwrap();
    assert_eq!(after, None);
    assert_eq!(shelf.get(key(1)).await.unwrap(), None);
    // It waits for a restore where it is.
    let old = shelf.get(place).await.unwrap();
    assert_eq!(task_of(old.as_deref()), Some("old"));
}

/// Notes that what is kept under `place` has succeeded, if it is there; says whether it was.
fn succeed(runtime: &tokio::runtime::Handle, shelf: &Shelf, place: Fingerprint) -> bool {
    let change = shelf.change(place, |entry| {
        let mut entry = entry.clone();
        entry.record.task.as_mut().unwrap().state = TaskState::Succeeded;
        Change::Put(Box::new(entry))
    });
    runtime.block_on(change).unwrap().is_some()
}

/// MONEY: the old job succeeds in the very moment in which it comes back.
#[tokio::test]
async fn a_success_of_the_old_job_is_not_lost_while_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let shelf: Arc<OnceLock<(Shelf, Fingerprint)>> = Arc::default();
    let (noted, was_noted) = mpsc::channel();
    let (known, runtime) = (shelf.clone(), tokio::runtime::Handle::current());
    let store = Rigged::new(open(dir.path()).0, move |_, call| {
        let Some((shelf, place)) = known.get().cloned() else {
            return Ok(());
        };
        if call == Call::Put(key(1)) {
            let (noted, runtime) = (noted.clone(), runtime.clone());
            let (done, is_done) = mpsc::channel();
            std::thread::spawn(move || {
                noted.send(succeed(&runtime, &shelf, place)).unwrap();
                let _ = done.send(());
            });
            // It has to wait for its turn, so this waits in vain.
            let _ = is_done.recv_timeout(Duration::from_millis(300));
        }
        Ok(())
    });
    let used = Shelf::new(Arc::new(store));
    used.put(running("old")).await.unwrap();
    let new = used.put(running("new")).await.unwrap();
    let place = new.record.previous.unwrap();
    shelf.set((used.clone(), place)).ok().unwrap();
    used.change(key(1), |_| Change::Remove).await.unwrap();
    let was_noted = tokio::task::spawn_blocking(move || was_noted.recv().unwrap());
    let was_noted = was_noted.await.unwrap();
    let kept = used.get(key(1)).await.unwrap().unwrap();
    assert_eq!(task_of(Some(&kept)), Some("old"));
    let state = kept.record.task.as_ref().unwrap().state;
    assert_eq!(was_noted, state == TaskState::Succeeded);
    assert_eq!(used.get(place).await.unwrap(), None);
}
