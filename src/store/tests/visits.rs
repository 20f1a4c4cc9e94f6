//! Several steps in one visit to a thread that may block: each counts as if it were alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::rigged::{Call, Rigged, broken};
use super::*;

fn shelf(before: impl Fn(Call) + Send + Sync + 'static) -> (tempfile::TempDir, Shelf) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    let rigged = Rigged::new(store, move |_, call| {
        before(call);
        Ok(())
    });
    (dir, Shelf::new(Arc::new(rigged)))
}

/// MONEY: what was paid for is still handed to its caller, and what comes next goes on.
#[test]
fn a_panic_ends_its_own_step_alone() {
    let panics = AtomicBool::new(true);
    let (_dir, shelf) = shelf(move |call| {
        let is_put = matches!(call, Call::Put(_));
        assert!(!is_put || !panics.swap(false, Ordering::SeqCst), "a test");
    });
    let error = shelf.put_blocking(image(1)).unwrap_err();
    assert!(
        matches!(&error, StoreError::Panicked(said) if said == "a test"),
        "{error}"
    );
    assert_eq!(shelf.failures(), 0, "it says nothing about the disk");
    let kept = shelf.put_blocking(image(1)).unwrap();
    assert_eq!(kept.record.key, key(1));
}

#[tokio::test]
async fn a_step_that_fails_asks_for_a_probe() {
    let (_dir, shelf) = shelf(|_| {});
    let failed = shelf.writing_here(|_| Err::<(), _>(broken()));
    assert!(failed.is_err());
    assert_eq!(shelf.failures(), 1);
    shelf.check_writable().await.unwrap();
    let refused = shelf.writing_here(|_| Err::<(), _>(StoreError::Refused("a test")));
    assert!(refused.is_err());
    assert_eq!(shelf.failures(), 1, "the disk did not fail");
}

/// The keeper wakes for a write only where there may be no room for it.
#[tokio::test]
async fn whoever_keeps_the_bounds_hears_of_what_is_beyond_them() {
    let (_dir, shelf) = shelf(|_| {});
    let woken = async |shelf: &Shelf| {
        let told = tokio::time::timeout(Duration::from_millis(20), shelf.kept_something());
        told.await.is_ok()
    };
    shelf.put_blocking(image(1)).unwrap();
    assert!(!woken(&shelf).await, "there are no bounds yet");
    shelf.set_room(shelf.kept_bytes());
    shelf.put_blocking(image(1)).unwrap();
    assert!(!woken(&shelf).await, "there is room");
    shelf.put_blocking(image(2)).unwrap();
    assert!(woken(&shelf).await);
    shelf.put(image(2)).await.unwrap();
    assert!(woken(&shelf).await, "as long as there is too much");
}
