use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::config::{Ttl, UnknownOutcome};
use crate::once::{Failure, Flight, Found, Freshness, Lead, Query, Reason};
use crate::store::{DiskStore, IntentState, Shelf, TaskState};

fn key(n: u8) -> Fingerprint {
    Fingerprint::from_bytes([n; 32])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_790_000_000 + seconds, 0).unwrap()
}

fn intent(n: u8, kind: Kind) -> Intent {
    Intent {
        key: key(n),
        kind,
        path: "/v1/videos".into(),
        model: Some("sora-2".into()),
        client: "alice".into(),
        started_at: at(0),
        state: IntentState::Unknown,
        reason: Some("cut".into()),
        run: None,
        usd: crate::price::Usd::ZERO,
        extent: None,
        beside: Vec::new(),
        passed_by: None,
    }
}

fn store(dir: &Path) -> DiskStore {
    DiskStore::open(dir, Clock::system()).unwrap().0
}

fn task(id: &str) -> Resolution {
    Resolution::Task(id.parse().unwrap())
}

fn records(store: &DiskStore) -> usize {
    let mut records = 0;
    let counted = store.list(&mut |_| {
        records += 1;
        ControlFlow::Continue(())
    });
    counted.map(|()| records).unwrap()
}

#[test]
fn ids_that_can_stand_in_a_path() {
    for (text, sound) in [
        ("task_Xy12", true),
        ("cgt-20260101000000-abcde", true),
        ("0", true),
        ("a.b:c=@", true),
        ("", false),
        (".", false),
        ("..", false),
        ("a/b", false),
        ("a%2fb", false),
        ("a?b", false),
        ("a b", false),
        ("ä", false),
        (&"x".repeat(256), true),
        (&"x".repeat(257), false),
    ] {
        assert_eq!(text.parse::<TaskId>().is_ok(), sound, "{text}");
    }
}

#[test]
fn a_note_that_is_given_up_leaves_nothing() {
    for resolution in [Resolution::Rerun, Resolution::Forget] {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.put_intent(&intent(1, Kind::Images)).unwrap();
        store.put_intent(&intent(2, Kind::Images)).unwrap();
        let resolved = resolve(&store, key(1), &resolution, at(9)).unwrap();
        assert_eq!(resolved, intent(1, Kind::Images));
        assert_eq!(store.intents().unwrap(), [intent(2, Kind::Images)]);
        assert_eq!(records(&store), 0);
        let again = resolve(&store, key(1), &resolution, at(9));
        assert!(matches!(again, Err(Unresolved::NotUnknown(_))));
    }
}

#[test]
fn a_job_that_was_found_is_kept_as_running() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let damaged = Intent {
        path: String::new(),
        model: None,
        ..intent(2, Kind::Video)
    };
    store.put_intent(&intent(1, Kind::Video)).unwrap();
    store.put_intent(&damaged).unwrap();
    resolve(&store, key(1), &task("task_1"), at(9)).unwrap();
    resolve(&store, key(2), &task("task_2"), at(9)).unwrap();
    assert_eq!(store.intents().unwrap(), []);
    assert_eq!(store.find_task("task_1").unwrap(), Some(key(1)));

    let entry = store.get(&key(1)).unwrap().unwrap();
    assert_eq!(entry.record.client, "alice");
    assert_eq!(entry.record.path, "/v1/videos");
    let job = entry.record.task.unwrap();
    assert_eq!((job.state, job.started_at), (TaskState::Running, at(9)));
    let body = |n| match store.get(&key(n)).unwrap().unwrap().body {
        Payload::Bytes(bytes) => serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(),
        Payload::Blob { .. } => panic!("it is small"),
    };
    assert_eq!(
        body(1),
        json!({"id": "task_1", "task_id": "task_1", "object": "video", "status": "queued",
               "model": "sora-2"})
    );
    assert_eq!(
        body(2),
        json!({"id": "task_2", "task_id": "task_2", "object": "video", "status": "queued"})
    );
    let path = store.get(&key(2)).unwrap().unwrap().record.path;
    assert_eq!(path, "/v1/video/generations");
}

#[test]
fn a_job_that_does_not_fit_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.put_intent(&intent(1, Kind::Video)).unwrap();
    resolve(&store, key(1), &task("task_1"), at(9)).unwrap();
    store.put_intent(&intent(1, Kind::Video)).unwrap();
    store.put_intent(&intent(2, Kind::Images)).unwrap();
    store.put_intent(&intent(3, Kind::Video)).unwrap();

    let kept = resolve(&store, key(1), &task("task_9"), at(9));
    assert!(matches!(kept, Err(Unresolved::Kept(_))), "{kept:?}");
    let image = resolve(&store, key(2), &task("task_9"), at(9));
    let expected = Kind::Images;
    assert!(
        matches!(image, Err(Unresolved::NotAJob { kind, .. }) if kind == expected),
        "{image:?}"
    );
    let taken = resolve(&store, key(3), &task("task_1"), at(9));
    assert!(
        matches!(taken, Err(Unresolved::Taken { key: owner, .. }) if owner == key(1)),
        "{taken:?}"
    );
    assert_eq!(store.intents().unwrap().len(), 3);
    assert_eq!(records(&store), 1);
}

/// A kept job that is older than the run in doubt is replaced, as by any `no-cache` run.
#[test]
fn a_job_replaces_what_an_earlier_run_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.put_intent(&intent(1, Kind::Video)).unwrap();
    resolve(&store, key(1), &task("task_1"), at(9)).unwrap();
    let later = Intent {
        started_at: at(20),
        ..intent(1, Kind::Video)
    };
    store.put_intent(&later).unwrap();
    resolve(&store, key(1), &task("task_2"), at(30)).unwrap();
    assert_eq!(store.find_task("task_2").unwrap(), Some(key(1)));
    assert_eq!(store.find_task("task_1").unwrap(), None);
}

fn query(no_cache: bool) -> Query {
    Query {
        key: key(1),
        freshness: Freshness {
            no_cache,
            ..Freshness::default()
        },
        ttl: Ttl::Forever,
        unknown_outcome: UnknownOutcome::Ask,
    }
}

fn once(dir: &Path) -> (Arc<Once>, Shelf) {
    let shelf = Shelf::new(Arc::new(store(dir)));
    let once = Arc::new(Once::new(shelf.clone(), Clock::system()));
    (once, shelf)
}

async fn lead(once: &Once, no_cache: bool) -> Option<Lead> {
    match once.look_up(&query(no_cache)).await.unwrap() {
        Found::Lead(lead, _) => Some(lead),
        Found::Hit(..) | Found::Joined(_) | Found::Follow(_) | Found::Absent => None,
    }
}

#[tokio::test]
async fn a_call_that_is_under_way_is_not_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let (once, shelf) = once(dir.path());
    let running = lead(&once, false).await.unwrap();
    let pledge = once.pledge(intent(1, Kind::Images)).await.unwrap();
    let refused = once.resolve(key(1), Resolution::Rerun).await;
    assert!(
        matches!(refused, Err(Unresolved::UnderWay(_))),
        "{refused:?}"
    );
    assert!(shelf.intent(key(1)).await.unwrap().is_some());

    pledge.doubt("cut".into()).await;
    drop(running);
    once.resolve(key(1), Resolution::Rerun).await.unwrap();
    assert_eq!(shelf.intent(key(1)).await.unwrap(), None);
    assert_eq!(once.under_way(), 0);
    assert!(lead(&once, false).await.is_some(), "the next one may run");
}

/// One who only looks and is refused holds nobody up.
#[tokio::test]
async fn a_look_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (once, shelf) = once(dir.path());
    note(&shelf, intent(1, Kind::Images)).await;
    let looking = {
        let flight = Flight::new();
        lock(&once.flights).insert(key(1), vec![flight.clone()]);
        Lead::new(key(1), flight, once.flights.clone())
    };
    let resolving = tokio::spawn({
        let once = once.clone();
        async move { once.resolve(key(1), Resolution::Forget).await }
    });
    tokio::task::yield_now().await;
    looking.end(crate::once::Ending::Failed(Failure::Unknown(Box::new(
        intent(1, Kind::Images),
    ))));
    resolving.await.unwrap().unwrap();
}

/// MONEY: the note of a run that began beside the decision must not go with the old one.
#[tokio::test]
async fn a_run_that_a_client_insists_on_keeps_its_note() {
    let dir = tempfile::tempdir().unwrap();
    let (once, shelf) = once(dir.path());
    note(&shelf, intent(1, Kind::Images)).await;
    let pledge = once.pledge(intent(1, Kind::Images)).await.unwrap();
    let refused = once.resolve(key(1), Resolution::Rerun).await;
    assert!(
        matches!(refused, Err(Unresolved::UnderWay(_))),
        "{refused:?}"
    );
    assert!(shelf.intent(key(1)).await.unwrap().is_some());
    assert_eq!(once.under_way(), 0, "the decision's permit is given back");
    pledge.doubt("cut".into()).await;
    once.resolve(key(1), Resolution::Rerun).await.unwrap();
    assert_eq!(shelf.intent(key(1)).await.unwrap(), None);
}

/// Those who ask while a decision is carried out wait, and then act by it.
#[tokio::test]
async fn who_waits_for_a_decision_looks_again() {
    let dir = tempfile::tempdir().unwrap();
    let (once, shelf) = once(dir.path());
    note(&shelf, intent(1, Kind::Images)).await;
    let deciding = once.board_alone(key(1)).await.unwrap();
    let Found::Follow(flight) = once.look_up(&query(false)).await.unwrap() else {
        panic!("it was to wait");
    };
    shelf
        .writing(|store| store.remove_intent(&key(1)))
        .await
        .unwrap();
    drop(deciding);
    assert!(matches!(
        flight.answer().await,
        Stage::Ended(crate::once::Ending::Released)
    ));
    let Found::Lead(_, reason) = once.look_up(&query(false)).await.unwrap() else {
        panic!("it was to run");
    };
    assert_eq!(reason, Reason::Miss);
    assert_eq!(once.callers(&key(1)), 2);
}

/// A note as an earlier process left it.
async fn note(shelf: &Shelf, intent: Intent) {
    let written = shelf.writing(move |store| store.put_intent(&intent)).await;
    written.unwrap();
}
