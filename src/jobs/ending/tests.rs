use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};

use super::*;
use crate::generation::Kind;
use crate::store::{DiskStore, Store};

/// Writes down what it is told, and what is kept at that moment.
struct Listener {
    store: Arc<DiskStore>,
    told: Mutex<Vec<(Outcome, &'static str)>>,
    fails: AtomicBool,
}

impl Ends for Listener {
    fn ended(&self, end: &End) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Panicked("of the test".to_owned()));
        }
        let entry = self.store.get(&end.key)?;
        let task = entry.and_then(|entry| entry.record.task);
        let kept = task.map_or("nothing", |task| task.state.as_str());
        self.told.lock().unwrap().push((end.outcome, kept));
        Ok(())
    }
}

struct World {
    listener: Arc<Listener>,
    endings: Endings,
    shelf: Shelf,
}

fn key() -> Fingerprint {
    Fingerprint::from_bytes([7; 32])
}

impl World {
    fn new(dir: &Path) -> Self {
        let clock = Clock::system();
        let (store, _) = DiskStore::open(dir, clock.clone()).unwrap();
        let store = Arc::new(store);
        let shelf = Shelf::new(store.clone());
        let listener = Arc::new(Listener {
            store,
            told: Mutex::default(),
            fails: AtomicBool::new(false),
        });
        let endings = Endings::new(shelf.clone(), clock, vec![listener.clone()]);
        Self {
            listener,
            endings,
            shelf,
        }
    }

    async fn submit(&self, id: &str) {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let record = Record {
            key: key(),
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
                id: id.to_owned(),
                state: TaskState::Running,
                started_at: now,
                ended_at: None,
                total_tokens: None,
                polls: Vec::new(),
            }),
            previous: None,
            media: Vec::new(),
            passed_by: None,
        };
        let entry = Entry {
            record,
            body: Payload::Bytes(Bytes::from_static(b"{}")),
            polls: Vec::new(),
        };
        self.shelf.put(entry).await.unwrap();
    }

    /// Notes that upstream says `status` of the job `id`; whether it is over.
    async fn note(&self, id: &str, status: &str) -> bool {
        self.note_from(key(), id, status).await
    }

    /// The same, of a job that stood under `key` when it was asked for.
    async fn note_from(&self, key: Fingerprint, id: &str, status: &str) -> bool {
        let question = Question {
            key,
            task_id: id.to_owned(),
            target: Uri::try_from(format!("/videos/{id}")).unwrap(),
            headers: HeaderMap::new(),
        };
        let body = format!(r#"{{"task_id":"{id}","status":"{status}"}}"#);
        let answer = PollAnswer::new(StatusCode::OK, HeaderMap::new(), body.into());
        self.endings.note(&question, &Arc::new(answer)).await
    }

    fn told(&self) -> Vec<(Outcome, &'static str)> {
        std::mem::take(&mut *self.listener.told.lock().unwrap())
    }

    async fn kept(&self) -> Option<TaskState> {
        let entry = self.shelf.get(key()).await.unwrap()?;
        entry.record.task.as_ref().map(|task| task.state)
    }
}

#[tokio::test]
async fn a_failure_is_told_before_it_is_forgotten_a_success_when_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    for (status, outcome, kept) in [
        ("failed", Outcome::Failed, "running"),
        ("cancelled", Outcome::Cancelled, "running"),
        ("completed", Outcome::Succeeded, "succeeded"),
    ] {
        world.submit("task_1").await;
        assert!(!world.note("task_1", "queued").await);
        assert_eq!(world.told(), [], "{status}");
        assert!(world.note("task_1", status).await);
        assert_eq!(world.told(), [(outcome, kept)]);
    }
    assert_eq!(world.kept().await, Some(TaskState::Succeeded));
}

#[tokio::test]
async fn what_is_not_our_jobs_end_is_told_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.submit("task_2").await;
    // Of an older run, whose place this one has taken.
    assert!(world.note("task_1", "failed").await);
    assert!(world.note("task_1", "completed").await);
    assert_eq!(world.kept().await, Some(TaskState::Running));
    assert!(world.note("task_2", "completed").await);
    assert_eq!(world.told(), [(Outcome::Succeeded, "succeeded")]);
    // A late word against a success.
    assert!(world.note("task_2", "failed").await);
    assert_eq!(world.told(), []);
    assert_eq!(world.kept().await, Some(TaskState::Succeeded));
}

#[tokio::test]
async fn an_end_that_cannot_be_remembered_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    for status in ["failed", "completed"] {
        world.submit("task_1").await;
        world.listener.fails.store(true, Ordering::SeqCst);
        assert!(!world.note("task_1", status).await);
        assert!(
            world.kept().await.is_some(),
            "{status}: it is not forgotten"
        );
        world.listener.fails.store(false, Ordering::SeqCst);
        assert!(world.note("task_1", status).await);
        assert_eq!(world.told().len(), 1, "{status}");
    }
}

/// A newer run has set the job aside while it was asked for, or has failed so that it came back.
#[tokio::test]
async fn an_end_finds_its_job_where_it_stands_by_then() {
    for (status, outcome, kept) in [
        ("completed", Outcome::Succeeded, "succeeded"),
        ("failed", Outcome::Failed, "running"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        world.submit("task_1").await;
        world.submit("task_2").await;
        assert!(world.note("task_1", status).await);
        assert_eq!(world.told(), [(outcome, kept)], "set aside");
        assert_eq!(world.kept().await, Some(TaskState::Running));
        assert!(world.note("task_2", "failed").await);
        let back = (outcome == Outcome::Succeeded).then_some(TaskState::Succeeded);
        assert_eq!(world.kept().await, back);

        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        world.submit("task_1").await;
        world.submit("task_2").await;
        let aside = world.shelf.find_task("task_1".to_owned()).await.unwrap();
        assert!(world.note("task_2", "failed").await);
        world.told();
        assert!(world.note_from(aside.unwrap(), "task_1", status).await);
        assert_eq!(world.told(), [(outcome, kept)], "come back");
        assert_eq!(world.kept().await, back);
    }
}

#[tokio::test]
async fn who_fails_to_hear_of_a_success_keeps_nobody_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let listener = |fails| {
        Arc::new(Listener {
            store: world.listener.store.clone(),
            told: Mutex::default(),
            fails: AtomicBool::new(fails),
        })
    };
    let (deaf, other) = (listener(true), listener(false));
    let endings = Endings::new(
        world.shelf.clone(),
        Clock::system(),
        vec![deaf, other.clone()],
    );
    world.submit("task_1").await;
    let world = World { endings, ..world };
    assert!(!world.note("task_1", "completed").await);
    assert_eq!(world.kept().await, Some(TaskState::Succeeded));
    let told = other.told.lock().unwrap().clone();
    assert_eq!(told, [(Outcome::Succeeded, "succeeded")]);
}

#[tokio::test]
async fn ends_that_no_poll_shows() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let unseen = |outcome| End {
        key: key(),
        task_id: "task_1".to_owned(),
        outcome,
        poll_path: "/v1/videos/task_1".to_owned(),
        answer: None,
    };
    world.submit("task_1").await;
    world
        .endings
        .forget(unseen(Outcome::GivenUp))
        .await
        .unwrap();
    assert_eq!(world.told(), [(Outcome::GivenUp, "running")]);
    assert_eq!(world.kept().await, None);

    world.submit("task_1").await;
    let other = (key(), "task_2");
    world
        .endings
        .deleted(other, Outcome::Cancelled)
        .await
        .unwrap();
    assert_eq!(world.told(), []);
    world
        .endings
        .deleted((key(), "task_1"), Outcome::Cancelled)
        .await
        .unwrap();
    assert_eq!(world.told(), [(Outcome::Cancelled, "running")]);
    assert_eq!(world.kept().await, None);

    world.submit("task_1").await;
    let succeeded = unseen(Outcome::Succeeded);
    world.endings.succeed_unseen(succeeded).await.unwrap();
    assert_eq!(world.told(), [(Outcome::Succeeded, "succeeded")]);
    // One that has succeeded is deleted as well, and that is no end.
    world
        .endings
        .deleted((key(), "task_1"), Outcome::Cancelled)
        .await
        .unwrap();
    assert_eq!(world.told(), []);
    assert_eq!(world.kept().await, None);
}

/// MONEY: between the look for a job and its end, a newer run may take its place.
#[tokio::test]
async fn an_end_finds_a_job_that_has_moved() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.submit("old").await;
    world.submit("new").await;
    assert!(world.note("old", "completed").await);
    assert_eq!(world.told(), [(Outcome::Succeeded, "succeeded")]);
    assert_eq!(world.kept().await, Some(TaskState::Running));
    let place = world.shelf.find_task("old".to_owned()).await.unwrap();
    let entry = world.shelf.get(place.unwrap()).await.unwrap().unwrap();
    let state = entry.record.task.as_ref().map(|task| task.state);
    assert_eq!(state, Some(TaskState::Succeeded));
    // The newer run fails: the old one, which has succeeded, stands again.
    assert!(world.note("new", "failed").await);
    assert_eq!(world.kept().await, Some(TaskState::Succeeded));

    world.submit("third").await;
    world.submit("fourth").await;
    assert!(world.note("third", "failed").await);
    assert_eq!(
        world.shelf.find_task("third".to_owned()).await.unwrap(),
        None
    );
    assert_eq!(world.kept().await, Some(TaskState::Running));
}
