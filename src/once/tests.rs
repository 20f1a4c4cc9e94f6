//! Who may run, while others end.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::generation::Kind;
use crate::price::Usd;
use crate::store::rigged::{Call, Rigged};
use crate::store::{DiskStore, IntentState, Payload, Record, Store};

const KEY: [u8; 32] = [7; 32];

fn key() -> Fingerprint {
    Fingerprint::from_bytes(KEY)
}

/// A note of a run that nobody knows the end of.
fn doubt(clock: &Clock) -> Intent {
    Intent {
        key: key(),
        kind: Kind::Images,
        path: "/v1/images/generations".to_owned(),
        model: None,
        client: "local".to_owned(),
        started_at: clock.now(),
        state: IntentState::Unknown,
        reason: Some("cut".to_owned()),
        run: None,
        usd: Usd::ZERO,
        extent: None,
        beside: Vec::new(),
        passed_by: None,
    }
}

/// What a run that ended well keeps.
fn answer(clock: &Clock) -> Entry {
    Entry {
        record: Record {
            key: key(),
            kind: Kind::Images,
            path: "/v1/images/generations".to_owned(),
            model: None,
            client: "local".to_owned(),
            status: 200,
            headers: Vec::new(),
            created_at: clock.now(),
            elapsed_ms: 1,
            usd: None,
            run: None,
            extent: None,
            task: None,
            previous: None,
            passed_by: None,
            media: Vec::new(),
        },
        body: Payload::Bytes(Bytes::from_static(b"{}")),
        polls: Vec::new(),
    }
}

fn query() -> Query {
    Query {
        key: key(),
        freshness: Freshness::default(),
        ttl: Ttl::Forever,
        unknown_outcome: UnknownOutcome::Ask,
    }
}

/// On a disk where something is done just before the note is read for the first time.
fn once(clock: &Clock, meanwhile: impl Fn(&DiskStore) + Send + Sync + 'static) -> (TempDir, Once) {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskStore::open(dir.path(), clock.clone()).unwrap().0;
    store.put_intent(&doubt(clock)).unwrap();
    let done = AtomicBool::new(false);
    let rigged = Rigged::new(store, move |store, call| {
        if call == Call::Intent(key()) && !done.swap(true, Ordering::Relaxed) {
            meanwhile(store);
        }
        Ok(())
    });
    (dir, Once::new(Shelf::new(Arc::new(rigged)), clock.clone()))
}

/// MONEY: the answer that takes a doubt away is found by whoever no longer finds the doubt.
#[tokio::test]
async fn a_rerun_that_ends_meanwhile_is_a_hit_and_not_run_again() {
    let clock = Clock::system();
    let (_dir, ended) = once(&clock, {
        let clock = clock.clone();
        move |store| {
            store.put(&answer(&clock)).unwrap();
            store.remove_intent(&key()).unwrap();
        }
    });
    assert!(matches!(ended.look_up(&query()).await, Ok(Found::Hit(..))));
    assert_eq!(ended.under_way(), 0);

    // A doubt that nobody takes away is asked about, and one that is resolved is not.
    let (_dir, stays) = once(&clock, |_| {});
    assert!(matches!(
        stays.look_up(&query()).await,
        Ok(Found::Follow(_))
    ));
    let (_dir, gone) = once(&clock, |store| {
        store.remove_intent(&key()).unwrap();
    });
    let Ok(Found::Lead(lead, _)) = gone.look_up(&query()).await else {
        panic!("nothing stands in its way")
    };
    assert!(lead.free_bytes().unwrap() > 0, "it has looked for room too");
}
