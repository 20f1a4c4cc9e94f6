//! A call that goes wrong, and when it is made again: with pauses short enough to wait for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reprise::callbacks::{By, Callbacks, Caller, Means, Rules, Schedule, Signer};
use reprise::clock::Clock;
use reprise::config::Network;
use reprise::egress::{Allowed, Egress, Patience};
use reprise::generation::{Fingerprint, Kind};
use reprise::jobs::{End, Ends, Outcome, PollAnswer};
use reprise::store::{
    DiskStore, Entry, Medium, MediumState, Payload, PollRecord, Record, Shelf, Store, Task,
    TaskState,
};
use secrecy::SecretSlice;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::house::{Receiver, Reply, files_below, soon, until};

const BODY: &str = r#"{"code":"success","data":{"task_id":"task_1","status":"SUCCESS"}}"#;

const FAILED: &str = r#"{"task_id":"task_1","status":"failed"}"#;

/// Callbacks with a store of their own.
struct Desk {
    callbacks: Arc<Callbacks>,
    store: Arc<DiskStore>,
    stop: CancellationToken,
    dir: TempDir,
}

fn desk(schedule: Schedule, media_patience: Duration) -> Desk {
    let desk = shut_desk(schedule, media_patience);
    tokio::spawn(desk.callbacks.clone().run(desk.stop.clone()));
    desk
}

/// One that calls nobody yet.
fn shut_desk(schedule: Schedule, media_patience: Duration) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = DiskStore::open(dir.path(), Clock::system()).unwrap();
    let store = Arc::new(store);
    Desk {
        callbacks: callbacks(store.clone(), schedule, media_patience),
        store,
        stop: CancellationToken::new(),
        dir,
    }
}

fn callbacks(
    store: Arc<DiskStore>,
    schedule: Schedule,
    media_patience: Duration,
) -> Arc<Callbacks> {
    let limit = Duration::from_secs(5);
    let patience = Patience {
        connect: limit,
        head: limit,
        idle: limit,
    };
    let allowed = vec![Network::parse("127.0.0.0/8").unwrap()];
    let allowed = Allowed::new(allowed, "callbacks.allow");
    let means = Means {
        shelf: Shelf::new(store),
        media_patience,
        clock: Clock::system(),
    };
    let rules = Rules {
        is_on: true,
        egress: Egress::new(reprise::tls::client(None).unwrap(), allowed, patience),
        signer: Some(Signer::new(&SecretSlice::from(b"secret".to_vec()))),
        schedule,
        links: reprise::config::Links::Local,
    };
    Callbacks::new(means, rules)
}

impl Desk {
    /// Makes the first folder that holds a caller unusable, until it is given back.
    fn break_disk(&self) -> Broken {
        let files = files_below(&self.dir.path().join("callbacks"));
        let folder = files[0].parent().unwrap().to_owned();
        let aside = self.dir.path().join("aside");
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::write(&folder, "no folder").unwrap();
        Broken { folder, aside }
    }
}

struct Broken {
    folder: PathBuf,
    aside: PathBuf,
}

impl Broken {
    /// In one step: while there is no folder, there are no callbacks in it.
    fn mend(self) {
        let link = self.aside.with_extension("link");
        std::os::unix::fs::symlink(&self.aside, &link).unwrap();
        std::fs::rename(link, self.folder).unwrap();
    }
}

fn entry(state: TaskState) -> Arc<Entry> {
    entry_of("task_1", state)
}

fn entry_of(task: &str, state: TaskState) -> Arc<Entry> {
    let now = Timestamp::now();
    let ended = state == TaskState::Succeeded;
    let poll = PollRecord {
        path: format!("/v1/video/generations/{task}"),
        status: 200,
        headers: Vec::new(),
        at: now,
    };
    let task = Task {
        id: task.to_owned(),
        state,
        started_at: now,
        ended_at: ended.then_some(now),
        total_tokens: None,
        polls: ended.then_some(poll).into_iter().collect(),
    };
    let record = Record {
        key: Fingerprint::from_bytes(*blake3::hash(task.id.as_bytes()).as_bytes()),
        kind: Kind::Video,
        path: "/v1/video/generations".to_owned(),
        model: None,
        client: "local".to_owned(),
        status: 200,
        headers: Vec::new(),
        created_at: now,
        elapsed_ms: 1,
        usd: None,
        run: None,
        extent: None,
        task: Some(task),
        previous: None,
        media: Vec::new(),
        passed_by: None,
    };
    let body = || Payload::Bytes(Bytes::from_static(BODY.as_bytes()));
    Arc::new(Entry {
        record,
        body: body(),
        polls: ended.then(body).into_iter().collect(),
    })
}

async fn register(desk: &Desk, state: TaskState, address: String) {
    register_of(desk, &entry(state), (address, "local")).await;
}

async fn register_of(desk: &Desk, entry: &Arc<Entry>, (address, client): (String, &str)) {
    desk.store.put(entry).unwrap();
    let caller = Caller {
        address,
        client: client.to_owned(),
        base: "http://localhost".to_owned(),
    };
    soon(desk.callbacks.register(entry.clone(), caller, By::Us)).await;
}

fn state(desk: &Desk) -> (&'static str, u32) {
    let deliveries = desk.store.deliveries_of("task_1").unwrap();
    let [delivery] = &deliveries[..] else {
        return ("none", 0);
    };
    (delivery.state.as_str(), delivery.attempts)
}

const QUICK: Schedule = Schedule {
    first_pause: Duration::from_millis(100),
    attempts: 4,
    bad_disk_pause: Duration::from_millis(20),
};

#[tokio::test]
async fn pauses_grow_and_the_id_stays() {
    let receiver = Receiver::start().await;
    let fails = |status| Reply::Status(status, String::new());
    receiver.reply("/c", &[fails(500), fails(503), fails(404), fails(200)]);
    let desk = desk(QUICK, Duration::ZERO);
    register(&desk, TaskState::Succeeded, receiver.url("/c")).await;
    receiver.arrived(4).await;
    until(|| state(&desk) == ("delivered", 4)).await;
    let calls = receiver.heard();
    for (nth, pair) in calls.windows(2).enumerate() {
        let pause = pair[1].at.duration_since(pair[0].at);
        let least = QUICK.first_pause.mul_f64(0.8) * 2_u32.pow(u32::try_from(nth).unwrap());
        assert!(pause >= least, "{nth}: {pause:?}");
        assert_eq!(pair[0].headers["webhook-id"], pair[1].headers["webhook-id"]);
        assert_eq!(
            (&pair[0].body, &pair[1].body),
            (&calls[0].body, &calls[0].body)
        );
    }
    assert_eq!(calls[0].body, BODY);
    assert!(calls[0].headers["webhook-signature"].starts_with("v1,"));
    desk.stop.cancel();
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    let receiver = Receiver::start().await;
    receiver.reply("/c", &[Reply::Status(500, String::new())]);
    let schedule = Schedule {
        first_pause: Duration::from_millis(1),
        attempts: 3,
        ..QUICK
    };
    let desk = desk(schedule, Duration::ZERO);
    register(&desk, TaskState::Succeeded, receiver.url("/c")).await;
    until(|| state(&desk) == ("given_up", 3)).await;
    assert_eq!(receiver.heard().len(), 3);
    desk.stop.cancel();
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let receiver = Receiver::start().await;
    let later = Reply::Status(503, "retry-after: 1\r\n".to_owned());
    receiver.reply("/c", &[later, Reply::Status(200, String::new())]);
    let schedule = Schedule {
        first_pause: Duration::from_millis(1),
        attempts: 3,
        ..QUICK
    };
    let desk = desk(schedule, Duration::ZERO);
    register(&desk, TaskState::Succeeded, receiver.url("/c")).await;
    receiver.arrived(2).await;
    let calls = receiver.heard();
    assert!(calls[1].at.duration_since(calls[0].at) >= Duration::from_secs(1));
    desk.stop.cancel();
}

fn end(outcome: Outcome, body: Option<&'static str>) -> End {
    let body = body.map(|body| Bytes::from_static(body.as_bytes()));
    let answer = body.map(|body| Arc::new(PollAnswer::new(StatusCode::OK, HeaderMap::new(), body)));
    End {
        key: Fingerprint::from_bytes(*blake3::hash(b"task_1").as_bytes()),
        task_id: "task_1".to_owned(),
        outcome,
        poll_path: "/v1/video/generations/task_1".to_owned(),
        answer,
    }
}

#[tokio::test]
async fn a_success_waits_for_its_media() {
    let receiver = Receiver::start().await;
    let desk = desk(QUICK, Duration::from_hours(1));
    register(&desk, TaskState::Running, receiver.url("/c")).await;
    assert_eq!(state(&desk), ("waiting", 0));
    let mut wanting = (*entry(TaskState::Succeeded)).clone();
    wanting.record.media.push(Medium {
        link: "https://cdn.example/a.mp4".to_owned(),
        state: MediumState::Wanted,
    });
    desk.store.put(&wanting).unwrap();
    let callbacks = desk.callbacks.clone();
    let told = tokio::task::spawn_blocking(move || {
        callbacks.ended(&end(Outcome::Succeeded, Some(BODY)))?;
        // Told again: the same.
        callbacks.ended(&end(Outcome::Succeeded, Some("{}")))
    });
    told.await.unwrap().unwrap();
    assert_eq!(state(&desk), ("due", 0));
    assert!(receiver.heard().is_empty());
    let callbacks = desk.callbacks.clone();
    let ready = tokio::task::spawn_blocking(move || callbacks.media_ready("task_1"));
    ready.await.unwrap().unwrap();
    receiver.arrived(1).await;
    until(|| state(&desk) == ("delivered", 1)).await;
    assert_eq!(receiver.heard()[0].body, BODY);
    desk.stop.cancel();
}

#[tokio::test]
async fn who_is_noted_behind_a_failure_hears_of_it_and_of_a_job_given_up_nobody_does() {
    let receiver = Receiver::start().await;
    let desk = desk(QUICK, Duration::ZERO);
    let tell = |end: End| {
        let callbacks = desk.callbacks.clone();
        tokio::task::spawn_blocking(move || callbacks.ended(&end).unwrap())
    };
    register(&desk, TaskState::Running, receiver.url("/given-up")).await;
    tell(end(Outcome::GivenUp, None)).await.unwrap();
    assert_eq!(state(&desk), ("none", 0));
    tell(end(Outcome::Failed, Some(FAILED))).await.unwrap();
    register(&desk, TaskState::Running, receiver.url("/late")).await;
    receiver.arrived(1).await;
    until(|| state(&desk) == ("none", 0)).await;
    assert_eq!(receiver.heard_at("/late")[0].body, FAILED);
    assert_eq!(receiver.heard().len(), 1);
    desk.stop.cancel();
}

#[tokio::test]
async fn what_came_of_a_call_is_noted_once_the_disk_takes_it() {
    let receiver = Receiver::start().await;
    let go = Arc::new(Notify::new());
    receiver.reply("/c", &[Reply::Held(go.clone())]);
    let desk = desk(QUICK, Duration::ZERO);
    register(&desk, TaskState::Succeeded, receiver.url("/c")).await;
    receiver.arrived(1).await;
    let broken = desk.break_disk();
    go.notify_one();
    // Any further call would be held, and its verdict never be noted.
    tokio::time::sleep(10 * QUICK.bad_disk_pause).await;
    broken.mend();
    until(|| state(&desk) == ("delivered", 1)).await;
    assert_eq!(receiver.heard().len(), 1);
    desk.stop.cancel();
}

#[tokio::test]
async fn a_success_that_could_not_be_taken_down_is_looked_for_again() {
    let receiver = Receiver::start().await;
    let desk = desk(QUICK, Duration::ZERO);
    register(&desk, TaskState::Running, receiver.url("/c")).await;
    desk.store.put(&entry(TaskState::Succeeded)).unwrap();
    let broken = desk.break_disk();
    let callbacks = desk.callbacks.clone();
    let told =
        tokio::task::spawn_blocking(move || callbacks.ended(&end(Outcome::Succeeded, Some(BODY))));
    assert!(told.await.unwrap().is_err());
    broken.mend();
    receiver.arrived(1).await;
    until(|| state(&desk) == ("delivered", 1)).await;
    desk.stop.cancel();
}

#[tokio::test]
async fn one_that_cannot_be_read_keeps_no_other_from_being_called() {
    let receiver = Receiver::start().await;
    let desk = shut_desk(QUICK, Duration::ZERO);
    for task in ["task_1", "task_2", "task_3"] {
        let entry = entry_of(task, TaskState::Succeeded);
        register_of(&desk, &entry, (receiver.url(&format!("/{task}")), "local")).await;
    }
    let broken = desk.break_disk();
    // As after a start, with nothing in memory.
    let callbacks = callbacks(desk.store.clone(), QUICK, Duration::ZERO);
    tokio::spawn(callbacks.run(desk.stop.clone()));
    receiver.arrived(2).await;
    broken.mend();
    receiver.arrived(3).await;
    for task in ["task_1", "task_2", "task_3"] {
        assert_eq!(receiver.heard_at(&format!("/{task}")).len(), 1, "{task}");
    }
    desk.stop.cancel();
}

#[tokio::test]
async fn a_client_names_so_many_addresses_for_one_job_and_no_more() {
    let desk = shut_desk(QUICK, Duration::ZERO);
    let entry = entry(TaskState::Running);
    let address = |n: usize| format!("http://127.0.0.1:9/{n}");
    for n in (0..70).chain([3]) {
        register_of(&desk, &entry, (address(n), "alice")).await;
    }
    register_of(&desk, &entry, (address(70), "bob")).await;
    let noted = desk.store.deliveries_of("task_1").unwrap();
    let of = |client| noted.iter().filter(move |noted| noted.client == client);
    assert_eq!((of("alice").count(), of("bob").count()), (64, 1));
    assert!(of("alice").all(|noted| noted.address != address(64)));
}
