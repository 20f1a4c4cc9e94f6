//! What a start that serves at once finds late, cannot look at yet, or must not believe.

use std::time::Duration;

use super::surveying::{blobs, filled, listed, mark, open_at_once, open_work, running, survey};
use super::*;

const EIO: i32 = 5;
const EMFILE: i32 = 24;

/// Puts a file in its place, so that its folder shows nothing.
fn overwrite(dir: &Path, n: u8, entry: &Entry) {
    let file = super::super::codec::encode(entry).unwrap();
    std::fs::write(gen_path(dir, &key(n)), file).unwrap();
}

/// Puts a file where there was none, as somebody who copies things into the directory.
fn smuggle(dir: &Path, entry: &Entry) {
    let path = gen_path(dir, &entry.record.key);
    let file = super::super::codec::encode(entry).unwrap();
    let aside = path.with_extension("copy");
    std::fs::write(&aside, file).unwrap();
    std::fs::rename(aside, path).unwrap();
}

fn fail(store: &DiskStore, how: Option<(u8, i32)>) {
    let how = how.map(|(n, code)| (key(n), code));
    *store.files.failing.lock().unwrap() = how;
}

fn blob_of(n: u8) -> BlobHash {
    BlobHash::from_bytes(*blake3::hash(&vec![n; 70_000]).as_bytes())
}

/// MONEY: else what makes room are answers that were paid for, and not what nobody needs.
#[test]
fn what_is_let_go_before_the_survey_goes_right_after_it() {
    let dir = filled();
    let (store, _) = open_at_once(dir.path());
    // One in hand meanwhile, one that somebody else comes to need, one whose file is gone.
    let hold = store.hold(&blob_of(5));
    for n in [4, 5, 6, 8] {
        assert!(store.remove(&key(n)).unwrap());
    }
    drop(hold);
    let mut same = large(60, 1);
    same.body = large(6, 70_000).body;
    store.put(&same).unwrap();
    std::fs::remove_file(store.blobs.path(&blob_of(8))).unwrap();
    let before = blobs(dir.path());
    survey(&store);
    assert_eq!(store.passing_bytes(), 2 * 70_000);
    let kept = store.kept_bytes();
    let freed = store.free_blobs(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((freed.blobs, freed.bytes), (2, 140_000));
    assert_eq!(blobs(dir.path()), before - 2);
    assert_eq!(store.kept_bytes(), kept - 140_000);
    assert_eq!(store.passing_bytes(), 0);
    assert!(store.get(&key(60)).unwrap().is_some());
}

#[test]
fn what_somebody_else_comes_to_first_is_told_all_the_same() {
    let dir = filled();
    overwrite(dir.path(), 7, &running(7));
    let damaged = gen_path(dir.path(), &key(8));
    std::fs::write(&damaged, "not what was written").unwrap();
    let (store, _) = open_at_once(dir.path());
    let mut other = image(7);
    other.record.key = Fingerprint::from_bytes({
        let mut bytes = [7; 32];
        bytes[31] = 1;
        bytes
    });
    store.put(&other).unwrap();
    store.put(&image(8)).unwrap();
    assert_eq!(open_work(&store), [3, 7], "its folder was looked at");
    let found = survey(&store);
    assert!(found.found_open);
    assert_eq!(found.damaged, [damaged]);
    assert_eq!(found.generations, 11);
    assert_eq!(store.surveyed(), Surveyed::default(), "told once");
}

#[test]
fn what_was_found_before_an_error_is_told_all_the_same() {
    let dir = filled();
    overwrite(dir.path(), 7, &running(7));
    let (store, _) = open_at_once(dir.path());
    fail(&store, Some((9, EMFILE)));
    overwrite(dir.path(), 9, &image(9));
    assert!(store.survey(&|| false).is_err());
    assert!(store.surveyed().found_open);
    fail(&store, None);
    assert!(!survey(&store).found_open);
}

#[test]
fn what_an_index_that_is_opened_anew_brings_is_told() {
    let dir = filled();
    let (store, _) = open(dir.path());
    store.surveyed();
    store.index.doubt();
    smuggle(dir.path(), &running(30));
    let damaged = gen_path(dir.path(), &key(31));
    std::fs::write(&damaged, "not what was written").unwrap();
    store.index.end_pause();
    assert_eq!(store.find_task("task_30").unwrap(), Some(key(30)));
    let found = store.surveyed();
    assert!(found.found_open);
    assert_eq!((found.damaged, found.generations), (vec![damaged], 0));
}

#[test]
fn without_an_index_everything_that_is_open_is_told() {
    let dir = filled();
    let (store, _) = open_at_once(dir.path());
    store.index.doubt();
    let found = survey(&store);
    assert!(found.found_open && found.generations == 12);
}

/// What other hands do to the directory of a running process is found at the next start.
#[test]
fn a_folder_that_other_hands_have_changed_is_not_marked() {
    let dir = filled();
    let (store, _) = open(dir.path());
    for n in [4, 5, 6] {
        store.put(&large(n, 66_000)).unwrap();
    }
    smuggle(dir.path(), &running(200));
    std::fs::remove_file(gen_path(dir.path(), &key(4))).unwrap();
    smuggle(dir.path(), &running(5));
    mark(&store);
    drop(store);
    let (store, report) = open_at_once(dir.path());
    // The folders of 4, 5 and 200 are looked at.
    assert_eq!((store.survey.believed(), report.reindexed), (10, 2));
    assert_eq!(open_work(&store), [3, 5, 200]);
    assert!(!listed(&store).contains(&4));
}

#[test]
fn an_index_that_was_made_anew_is_marked_anew() {
    let dir = filled();
    let (store, _) = open(dir.path());
    mark(&store);
    store.index.doubt();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    store.index.end_pause();
    assert_eq!(open_work(&store), [3]);
    assert!(store.index.is_open());
    mark(&store);
    drop(store);
    let (store, _) = open_at_once(dir.path());
    assert_eq!(store.survey.believed(), 12);
}

/// An error of an earlier write is told only to those who have the log open.
#[test]
fn the_log_is_synced_by_who_had_it_open_before_it_was_written() {
    let dir = filled();
    let (store, _) = open(dir.path());
    store.put(&image(40)).unwrap();
    let stamp = store.files.folder_stamp(40).unwrap();
    std::fs::remove_file(log_path(dir.path())).unwrap();
    mark(&store);
    assert!(store.index.is_open());
    let marked = store.index.folder_mark(40).unwrap();
    assert_eq!(Some(marked.stamp), stamp);
}

#[test]
fn nothing_is_marked_where_folders_do_not_tell_of_their_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    store.survey.times_move.set(false).unwrap();
    mark(&store);
    drop(store);
    let (store, _) = open_at_once(dir.path());
    assert_eq!(store.survey.believed(), 0);
    assert!(survey(&store).generations < 1, "the start has looked");
}

#[test]
fn an_export_and_a_purge_go_by_what_was_looked_at() {
    let dir = filled();
    overwrite(dir.path(), 7, &running(7));
    let lose = |dir: &Path| {
        let (store, _) = open(dir);
        mark(&store);
        store.index.remove(&key(8));
        drop(store);
    };
    lose(dir.path());
    overwrite(dir.path(), 7, &large(7, 70_000));
    let (store, _) = open_at_once(dir.path());
    let done = export(
        &store,
        Vec::new(),
        at(0),
        &mut |_| ControlFlow::Continue(()),
    );
    assert_eq!(done.unwrap().unwrap().generations, 12);
    assert!(store.surveyed().generations > 0, "still to be told");
    drop(store);
    lose(dir.path());
    overwrite(dir.path(), 9, &running(9));
    let (store, _) = open_at_once(dir.path());
    let purged = purge(&store, None, &Purge::default(), at(1_000_000), &mut |_| {
        ControlFlow::Continue(())
    });
    let purged = purged.unwrap();
    assert_eq!((purged.generations, purged.running), (10, 2));
    assert!(purged.bytes > 9 * 70_000, "{purged:?}");
    assert_eq!(listed(&store), [3, 9]);
    assert!(store.surveyed().found_open, "whoever follows jobs is told");
}

/// MONEY: what goes is decided by a look at what it is.
#[test]
fn a_glance_looks_first() {
    let dir = filled();
    overwrite(dir.path(), 7, &running(7));
    let (store, _) = open_at_once(dir.path());
    assert!(!listed_open(&store, 7), "nobody has looked");
    let gone = super::super::forget(&store, &key(7), None).unwrap();
    assert_eq!(gone, Forgotten::Open);
    fail(&store, Some((9, EMFILE)));
    overwrite(dir.path(), 9, &running(9));
    assert!(super::super::forget(&store, &key(9), None).is_err());
}

fn listed_open(store: &DiskStore, n: u8) -> bool {
    let mut open = false;
    let listed = store.list_kept(None, &mut |kept| {
        open |= kept.open && kept.key == key(n);
        ControlFlow::Continue(())
    });
    listed.unwrap();
    open
}

/// MONEY: a blob that it shares with one that is let go is part of what was paid for.
#[test]
fn what_cannot_be_read_now_keeps_its_blobs_and_is_looked_at_again() {
    for code in [EIO, EMFILE] {
        let dir = filled();
        let (store, _) = open(dir.path());
        let mut same = large(60, 1);
        same.body = large(6, 70_000).body;
        store.put(&same).unwrap();
        mark(&store);
        drop(store);
        let (store, _) = open_at_once(dir.path());
        let kept = store.kept_bytes();
        // Another version, as far as its row knows.
        overwrite(dir.path(), 60, &store.get(&key(60)).unwrap().unwrap());
        fail(&store, Some((60, code)));
        for _ in 0..2 {
            assert!(store.survey(&|| false).is_err(), "{code}");
        }
        assert!(store.index.get(&key(60)).is_some(), "{code}: its row stays");
        assert_eq!(
            listed_open(&store, 60),
            code == EIO,
            "not taken for finished"
        );
        assert!(store.remove(&key(6)).unwrap());
        store.free_blobs(Timestamp::MAX).unwrap();
        assert_eq!(store.surveyed().damaged, Vec::<PathBuf>::new());
        fail(&store, None);
        survey(&store);
        store.free_blobs(Timestamp::MAX).unwrap();
        assert!(store.get(&key(60)).unwrap().is_some(), "{code}");
        assert!(!listed_open(&store, 60), "{code}");
        assert!(store.kept_bytes() < kept, "{code}");
    }
}

/// What is written into a folder that cannot be looked at is counted once.
#[test]
fn a_folder_that_is_looked_at_late_is_counted_once() {
    let dir = filled();
    let (store, _) = open_at_once(dir.path());
    overwrite(dir.path(), 7, &large(7, 70_000));
    // A file beside it, so that its folder fails while it is written itself.
    let mut beside = image(7);
    beside.record.key = Fingerprint::from_bytes({
        let mut bytes = [7; 32];
        bytes[30] = 1;
        bytes
    });
    store.put(&beside).unwrap();
    drop(store);
    let (store, _) = open(dir.path());
    mark(&store);
    let before = store.kept_bytes();
    drop(store);
    overwrite(dir.path(), 7, &large(7, 70_000));
    let (store, _) = open_at_once(dir.path());
    for code in [EIO, EMFILE] {
        fail(&store, Some((7, code)));
        let mut other = image(7);
        other.record.key = beside.record.key;
        other.body = Payload::Bytes(Bytes::from(vec![1; 9_000]));
        store.put(&other).unwrap();
        assert!(store.survey(&|| false).is_err());
    }
    fail(&store, None);
    survey(&store);
    let kept = store.kept_bytes();
    assert!(kept > before);
    drop(store);
    assert_eq!(open(dir.path()).0.kept_bytes(), kept);
}

/// A file that a newer version has kept: nobody here knows what it needs.
#[test]
fn nothing_goes_that_a_file_of_a_newer_version_may_need() {
    for aside in [false, true] {
        let dir = filled();
        let path = gen_path(dir.path(), &key(60));
        std::fs::write(&path, "{\"format\":9}\n").unwrap();
        if aside {
            let (store, _) = open(dir.path());
            store.put(&image(60)).unwrap();
        }
        let (store, _) = open(dir.path());
        assert!(store.blobs_stay(), "{aside}");
        assert!(store.remove(&key(6)).unwrap());
        store.free_blobs(Timestamp::MAX).unwrap();
        assert_eq!(blobs(dir.path()), 11, "{aside}");
        // Nothing would make room, so nothing goes.
        let before = listed(&store);
        let store = std::sync::Arc::new(store);
        assert!(!super::keeping::make_room(&store, 100_000));
        assert_eq!(listed(&store), before, "{aside}");
        drop(store);
        let other = dir.path().join("elsewhere");
        std::fs::create_dir(&other).unwrap();
        let folder = path.parent().unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            std::fs::rename(entry.path(), other.join(entry.file_name())).unwrap();
        }
        let (store, _) = open(dir.path());
        store.free_blobs(Timestamp::MAX).unwrap();
        assert_eq!(blobs(dir.path()), 10, "{aside}: it has gone elsewhere");
    }
}

#[tokio::test(start_paused = true)]
async fn a_keeper_says_that_it_still_looks() {
    let dir = filled();
    let (store, _) = open_at_once(dir.path());
    overwrite(dir.path(), 7, &running(7));
    fail(&store, Some((7, EIO)));
    let failing = store.files.failing.clone();
    let shelf = Shelf::new(std::sync::Arc::new(store));
    let mut imports = shelf.imports();
    let rules = super::keeping::rules(u64::MAX, None);
    let keeper = std::sync::Arc::new(Keeper::new(shelf, Clock::system(), rules));
    assert!(keeper.is_looking());
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert!(keeper.is_looking());
    *failing.lock().unwrap() = None;
    let heard = tokio::time::timeout(Duration::from_mins(10), imports.changed());
    heard.await.expect("it tries again").unwrap();
    let looked = async {
        while keeper.is_looking() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_mins(10), looked).await;
    looked.expect("it has come to its end");
    stop.cancel();
    running.await.unwrap();
}
