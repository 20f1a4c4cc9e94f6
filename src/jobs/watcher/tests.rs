use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::Clock;
use crate::config::{self, Sources};
use crate::generation::Kind;
use crate::jobs::Endings;
use crate::store::rigged::{Call, Rigged, broken};
use crate::store::{DiskStore, Entry, Payload, Store, Task};
use crate::upstream::Upstream;

fn running_job_of(task_id: &str) -> Entry {
    let now = jiff::Timestamp::UNIX_EPOCH;
    Entry {
        record: Record {
            key: Fingerprint::from_bytes([7; 32]),
            kind: Kind::Video,
            path: "/v1/videos".to_owned(),
            model: None,
            client: "local".to_owned(),
            status: 200,
            headers: Vec::new(),
            created_at: now,
            elapsed_ms: 1,
            usd: None,
            run: None,
            extent: None,
            task: Some(Task {
                id: task_id.to_owned(),
                state: TaskState::Running,
                started_at: now,
                ended_at: None,
                total_tokens: None,
                polls: Vec::new(),
            }),
            previous: None,
            media: Vec::new(),
            passed_by: None,
        },
        body: Payload::Bytes(Bytes::from_static(b"{}")),
        polls: Vec::new(),
    }
}

fn disk(dir: &Path) -> DiskStore {
    DiskStore::open(dir, Clock::system()).unwrap().0
}

/// A watcher of jobs upstream that nobody can reach.
fn watcher(dir: &Path, store: impl Store) -> Watcher {
    let sources = Sources {
        upstream: Some("http://127.0.0.1:9/v1".to_owned()),
        data_dir: Some(dir.to_owned()),
        cwd: dir.to_owned(),
        ..Sources::default()
    };
    let config = config::load(&sources).unwrap().config;
    let key = SecretString::from("sk-of-a-test");
    let upstream = Arc::new(Upstream::new(&config.upstream, &key).unwrap());
    let shelf = Shelf::new(Arc::new(store));
    let endings = Endings::new(shelf.clone(), Clock::system(), Vec::new());
    let polls = Polls::new(upstream, endings, config.jobs, TaskTracker::new());
    Watcher::new(polls, shelf)
}

async fn followed(watcher: &Watcher, task_id: &str) {
    let looking = async {
        while watcher.polls.prospect(task_id).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let hour = Duration::from_hours(1);
    tokio::time::timeout(hour, looking)
        .await
        .expect("it is followed");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_read_everything_looks_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk(dir.path());
    store.put(&running_job_of("task_1")).unwrap();
    let looks = Arc::new(AtomicU32::new(0));
    let counted = looks.clone();
    let store = Rigged::new(store, move |_, call| {
        if call == Call::OpenWork && counted.fetch_add(1, Ordering::SeqCst) < 3 {
            return Err(broken());
        }
        Ok(())
    });
    let (watcher, stop) = (watcher(dir.path(), store), CancellationToken::new());
    let began = tokio::time::Instant::now();
    let taking_up = tokio::spawn(watcher.clone().take_up(stop.clone()));
    followed(&watcher, "task_1").await;
    let took = began.elapsed();
    assert!(
        took >= 3 * AGAIN && took < 4 * AGAIN,
        "each minute: {took:?}"
    );
    tokio::time::sleep(10 * AGAIN).await;
    assert_eq!(looks.load(Ordering::SeqCst), 4, "and then no more");
    stop.cancel();
    taking_up.await.unwrap();
}

/// MONEY: identical requests join it, and nobody else would see its end.
#[tokio::test]
async fn a_job_that_comes_by_an_import_is_followed() {
    let from = tempfile::tempdir().unwrap();
    let other = disk(from.path());
    other.put(&running_job_of("task_2")).unwrap();
    let mut file = Vec::new();
    let go = |_: u64| ControlFlow::Continue(());
    crate::store::export(&other, &mut file, jiff::Timestamp::UNIX_EPOCH, &mut { go }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (watcher, stop) = (
        watcher(dir.path(), disk(dir.path())),
        CancellationToken::new(),
    );
    let taking_up = tokio::spawn(watcher.clone().take_up(stop.clone()));
    let imported = watcher.shelf.import(std::io::Cursor::new(file), go);
    assert_eq!(imported.await.unwrap().running, 1);
    followed(&watcher, "task_2").await;
    stop.cancel();
    taking_up.await.unwrap();
}
