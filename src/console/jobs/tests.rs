use std::path::Path;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::console::{NotOne, note_of, pick};
use crate::once::Unresolved;
use crate::store::{DiskStore, Entry, Payload};

fn key(n: u8) -> Fingerprint {
    Fingerprint::from_bytes([n; 32])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_790_000_000 + seconds, 0).unwrap()
}

fn intent(n: u8, state: IntentState) -> Intent {
    Intent {
        key: key(n),
        kind: Kind::Images,
        path: "/v1/images/generations".into(),
        model: None,
        client: "alice".into(),
        started_at: at(10),
        state,
        reason: (state == IntentState::Unknown).then(|| "cut".to_owned()),
        run: None,
        usd: crate::price::Usd::ZERO,
        extent: None,
        beside: Vec::new(),
        passed_by: None,
    }
}

fn entry(n: u8, task: Option<TaskState>) -> Entry {
    let task = task.map(|state| Task {
        id: format!("task_{n}"),
        state,
        started_at: at(5),
        ended_at: (state == TaskState::Succeeded).then(|| at(6)),
        total_tokens: None,
        polls: Vec::new(),
    });
    Entry {
        record: Record {
            key: key(n),
            kind: Kind::Video,
            path: "/v1/videos".into(),
            model: Some("sora-2".into()),
            client: "bob".into(),
            status: 200,
            headers: Vec::new(),
            created_at: at(5),
            elapsed_ms: 1,
            usd: None,
            run: None,
            extent: None,
            previous: None,
            media: Vec::new(),
            passed_by: None,
            task,
        },
        body: Payload::Bytes(Bytes::new()),
        polls: Vec::new(),
    }
}

/// A pending call, one in doubt, a running and a finished job, and an answer that is no job.
fn fill(dir: &Path) -> DiskStore {
    let (store, _) = DiskStore::open(dir, Clock::system()).unwrap();
    store.put_intent(&intent(1, IntentState::Pending)).unwrap();
    store.put_intent(&intent(2, IntentState::Unknown)).unwrap();
    store.put(&entry(3, Some(TaskState::Running))).unwrap();
    store.put(&entry(4, Some(TaskState::Succeeded))).unwrap();
    store.put(&entry(5, None)).unwrap();
    store
}

fn states(jobs: &[JobDetail]) -> Vec<(u8, &str, u64)> {
    jobs.iter()
        .map(|JobDetail { job, .. }| (job.key.as_bytes()[0], job.state.as_str(), job.callers))
        .collect()
}

#[test]
fn a_job_is_pending_only_while_somebody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path());
    let census = Census::of_store(&store).unwrap();
    let running = census.jobs(|asked| Seen {
        under_way: *asked == key(1),
        callers: u64::from(asked.as_bytes()[0]),
    });
    let expected = [
        (3, "running", 3),
        (4, "succeeded", 4),
        (1, "pending", 1),
        (2, "unknown", 2),
    ];
    assert_eq!(states(&running), expected);

    let glance = Glance::at(dir.path()).unwrap().unwrap();
    let stopped = Census::of_glance(&glance)
        .unwrap()
        .jobs(|_| Seen::BY_NOBODY);
    let expected = [
        (3, "running", 1),
        (4, "succeeded", 1),
        (1, "unknown", 1),
        (2, "unknown", 1),
    ];
    assert_eq!(states(&stopped), expected);
    let reasons: Vec<_> = stopped.iter().map(|job| job.reason.as_deref()).collect();
    let ended = Some("the proxy ended while it was under way");
    assert_eq!(reasons, [None, None, ended, Some("cut")]);
}

#[test]
fn a_note_whose_answer_is_kept_is_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path());
    for n in [4, 5] {
        let mut note = intent(n, IntentState::Pending);
        note.started_at = at(1);
        store.put_intent(&note).unwrap();
    }
    // This one is of a run that began after the kept one ended.
    store.put_intent(&intent(3, IntentState::Unknown)).unwrap();
    let jobs = Census::of_store(&store).unwrap().jobs(|_| Seen::BY_NOBODY);
    let expected = [
        (3, "running", 1),
        (4, "succeeded", 1),
        (1, "unknown", 1),
        (2, "unknown", 1),
        (3, "unknown", 1),
    ];
    assert_eq!(states(&jobs), expected);
    let digits = &key(3).to_string()[..8];
    assert_eq!(pick(&jobs, digits).unwrap().job.state, JobState::Unknown);
    assert_eq!(pick(&jobs, "task_3").unwrap().job.state, JobState::Running);
}

#[test]
fn the_forms_are_those_that_are_promised() {
    let dir = tempfile::tempdir().unwrap();
    let census = Census::of_store(&fill(dir.path())).unwrap();
    let jobs = census.jobs(|_| Seen::BY_NOBODY);
    let running = pick(&jobs, "task_3").unwrap();
    assert_eq!(
        serde_json::to_string(&running.job).unwrap(),
        format!(
            r#"{{"key":"{}","task_id":"task_3","kind":"video","model":"sora-2","client":"bob","state":"running","started_at":"2026-09-21T14:13:25Z","callers":1}}"#,
            key(3)
        )
    );
    let unknown = pick(&jobs, &key(2).to_string()).unwrap();
    let expected = json!({
        "key": key(2), "task_id": null, "kind": "images", "model": null, "client": "alice",
        "state": "unknown", "started_at": "2026-09-21T14:13:30Z", "callers": 1,
        "path": "/v1/images/generations", "ended_at": null, "reason": "cut",
        "age_seconds": 0, "progress": null, "next_poll_at": null, "callbacks": [],
        "media": [],
    });
    assert_eq!(serde_json::to_value(unknown).unwrap(), expected);
    let back: JobDetail = serde_json::from_value(expected).unwrap();
    assert_eq!(&back, unknown);
}

#[test]
fn what_is_seen_of_a_job_goes_by_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let census = Census::of_store(&fill(dir.path())).unwrap();
    let jobs = census.jobs(|_| Seen::BY_NOBODY);
    let running = pick(&jobs, "task_3").unwrap().clone();
    let now = running.job.started_at + jiff::SignedDuration::from_secs(90);
    let prospect = Prospect {
        progress: Some(40),
        next_poll: std::time::Duration::from_secs(7),
    };
    let seen = running.clone().seen_at(now, Some(prospect));
    assert_eq!((seen.age_seconds, seen.progress), (90, Some(40)));
    let next = now + jiff::SignedDuration::from_secs(7);
    assert_eq!(seen.next_poll_at, Some(next));
    let alone = running.seen_at(now, None);
    assert_eq!((alone.age_seconds, alone.next_poll_at), (90, None));
    let ended = pick(&jobs, "task_4").unwrap().clone();
    let whole = ended.ended_at.unwrap().duration_since(ended.job.started_at);
    let seen = ended.seen_at(now, None);
    assert_eq!(i64::try_from(seen.age_seconds).unwrap(), whole.as_secs());
}

#[test]
fn a_decision_is_about_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let store = fill(dir.path());
    let mut settled = intent(4, IntentState::Pending);
    settled.started_at = at(1);
    store.put_intent(&settled).unwrap();
    let census = Census::of_store(&store).unwrap();
    let of = |n: u8| note_of(&census, &key(n).to_string()[..6]);
    for noted in [1, 2, 4] {
        assert_eq!(of(noted).unwrap().unwrap(), key(noted));
    }
    let running = of(3).unwrap();
    assert!(
        matches!(running, Err(Unresolved::NotUnknown(found)) if found == key(3)),
        "{running:?}"
    );
    for other in [5, 6] {
        assert!(matches!(of(other), Err(NotOne::None(_))), "{other}");
    }
}
