//! A start that serves before everything was looked at: what it knows at once, what it learns later,
//! and what nobody does before.

use std::time::Duration;

use super::*;

const COUNT: u8 = 12;

pub(super) fn running(n: u8) -> Entry {
    let mut entry = video(n, &format!("task_{n}"));
    if let Some(task) = &mut entry.record.task {
        task.state = TaskState::Running;
    }
    entry
}

/// A directory whose folders are all marked: generations 0 to 11, of which 3 is a running job.
pub(super) fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for n in 0..COUNT {
        let entry = if n == 3 { running(n) } else { large(n, 70_000) };
        store.put(&entry).unwrap();
    }
    mark(&store);
    dir
}

/// As if nothing had come into any folder for a while.
pub(super) fn mark(store: &DiskStore) {
    store.mark_folders(Duration::ZERO);
}

pub(super) fn open_at_once(dir: &Path) -> (DiskStore, OpenReport) {
    DiskStore::open_leaving(0, dir, Clock::system(), &|_| ()).unwrap()
}

pub(super) fn survey(store: &DiskStore) -> Surveyed {
    assert!(store.survey(&|| false).unwrap());
    store.surveyed()
}

pub(super) fn listed(store: &DiskStore) -> Vec<u8> {
    let mut keys = Vec::new();
    let listed = store.list_kept(None, &mut |kept| {
        keys.push(kept.key.as_bytes()[0]);
        ControlFlow::Continue(())
    });
    listed.unwrap();
    keys
}

pub(super) fn open_work(store: &DiskStore) -> Vec<u8> {
    let mut keys = Vec::new();
    let shown = store.open_work(&mut |record| {
        keys.push(record.key.as_bytes()[0]);
        ControlFlow::Continue(())
    });
    shown.unwrap();
    keys
}

pub(super) fn blobs(dir: &Path) -> usize {
    let all = snapshot(&dir.join("blobs"));
    all.iter().filter(|(path, _)| path.is_file()).count()
}

#[test]
fn folders_that_did_not_change_are_believed_and_looked_at_later() {
    let dir = filled();
    let kept = open(dir.path()).0.kept_bytes();
    let (store, report) = open_at_once(dir.path());
    assert_eq!((report.generations, report.reindexed), (12, 0));
    assert_eq!((report.bytes, store.kept_bytes()), (kept, kept));
    assert_eq!(store.survey.believed(), 12, "no file was looked at");
    assert_eq!(listed(&store), (0..COUNT).collect::<Vec<_>>());
    assert_eq!(open_work(&store), [3]);
    assert_eq!(store.find_task("task_3").unwrap(), Some(key(3)));
    let found = survey(&store);
    assert_eq!((found.generations, found.reindexed), (12, 0));
    assert!(!found.found_open);
    assert_eq!(store.kept_bytes(), kept);
    assert_eq!(survey(&store).generations, 0, "once is enough");
}

/// As after a crash that took the index's last rows: the folder has changed, and its mark tells.
#[test]
fn a_running_job_whose_row_was_lost_is_known_before_anybody_is_served() {
    let dir = filled();
    let index = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("index"), index.path());
    let (store, _) = open(dir.path());
    store.put(&running(200)).unwrap();
    store.remove(&key(5)).unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_dir(index.path(), &dir.path().join("index"));
    let (store, report) = open_at_once(dir.path());
    assert_eq!((report.generations, report.reindexed), (12, 1));
    assert_eq!(store.survey.believed(), 11);
    assert_eq!(open_work(&store), [3, 200]);
    assert_eq!(store.find_task("task_200").unwrap(), Some(key(200)));
    assert!(!listed(&store).contains(&5), "its file is gone");
}

/// Damage that no folder shows: rows that are missing in an index that opens.
#[test]
fn a_generation_without_a_row_is_a_hit_before_it_is_found() {
    let dir = filled();
    let (store, _) = open(dir.path());
    mark(&store);
    for n in [3, 7] {
        store.index.remove(&key(n));
    }
    drop(store);
    let (store, report) = open_at_once(dir.path());
    assert_eq!(report.reindexed, 1, "a running job is missed at once");
    assert_eq!(open_work(&store), [3]);
    assert!(store.index.get(&key(7)).is_none(), "nobody has looked");
    let hit = store.get(&key(7)).unwrap().unwrap();
    assert_eq!(hit.record, large(7, 70_000).record);
    assert_eq!(store.get(&key(3)).unwrap(), Some(running(3)));
    assert!(!listed(&store).contains(&7));
    let found = survey(&store);
    assert_eq!((found.generations, found.reindexed), (11, 1));
    assert!(listed(&store).contains(&7));
}

#[tokio::test]
async fn a_job_that_is_found_late_is_told_of() {
    let dir = filled();
    let file = super::super::codec::encode(&running(7)).unwrap();
    // In its place, so that its folder shows nothing.
    std::fs::write(gen_path(dir.path(), &key(7)), file).unwrap();
    let (store, _) = open_at_once(dir.path());
    assert_eq!(open_work(&store), [3]);
    assert_eq!(
        store.get(&key(7)).unwrap(),
        Some(running(7)),
        "it is joined"
    );
    let shelf = Shelf::new(std::sync::Arc::new(store));
    let mut imports = shelf.imports();
    let rules = super::keeping::rules(u64::MAX, None);
    let keeper = std::sync::Arc::new(Keeper::new(shelf.clone(), Clock::system(), rules));
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(keeper.run(stop.clone()));
    let heard = tokio::time::timeout(Duration::from_mins(1), imports.changed()).await;
    heard.expect("whoever follows jobs hears of it").unwrap();
    stop.cancel();
    running.await.unwrap();
    let mut found = Vec::new();
    let shown = shelf.store().open_work(&mut |record| {
        found.push(record.key);
        ControlFlow::Continue(())
    });
    shown.unwrap();
    assert_eq!(found, [key(3), key(7)]);
}

/// MONEY: what a running job holds must be known before anybody is served, whatever sled has lost.
#[test]
fn no_damage_to_the_index_hides_a_running_job() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for n in 0..60 {
        store
            .put(&if n % 4 == 0 { running(n) } else { image(n) })
            .unwrap();
    }
    mark(&store);
    drop(store);
    let (whole, mut believed) = (tempfile::tempdir().unwrap(), 0);
    copy_dir(&dir.path().join("index"), whole.path());
    for seed in 1..=20 {
        super::index::spoil(dir.path(), whole.path(), seed);
        let (store, _) = open_at_once(dir.path());
        believed += store.survey.believed();
        let jobs: Vec<u8> = (0..60).step_by(4).collect();
        assert_eq!(open_work(&store), jobs, "seed {seed}");
        for n in jobs {
            let found = store.find_task(&format!("task_{n}")).unwrap();
            assert_eq!(found, Some(key(n)), "seed {seed}");
        }
        assert_eq!(survey(&store).damaged, Vec::<PathBuf>::new());
        assert_eq!(listed(&store).len(), 60, "seed {seed}");
    }
    assert!(believed > 0, "else nothing was left for later");
}

#[test]
fn a_row_without_a_file_is_not_served() {
    let dir = filled();
    let (store, _) = open(dir.path());
    let row = store.index.get(&key(7)).unwrap();
    store.index.put(&key(77), &row);
    drop(store);
    let (store, _) = open_at_once(dir.path());
    assert_eq!(store.survey.believed(), 12);
    assert!(store.index.get(&key(77)).is_some(), "nobody has looked");
    assert_eq!(store.get(&key(77)).unwrap(), None);
    assert!(!store.remove(&key(77)).unwrap());
    assert_eq!(survey(&store).generations, 12);
    assert!(!listed(&store).contains(&77));
}

#[test]
fn a_file_changed_by_other_hands_is_found_later_and_told_at_each_start() {
    let dir = filled();
    let path = gen_path(dir.path(), &key(3));
    std::fs::write(&path, "not what was written").unwrap();
    for _ in 0..2 {
        let (store, report) = open_at_once(dir.path());
        assert_eq!(store.get(&key(3)).unwrap(), None, "never served");
        let mut damaged = report.damaged;
        damaged.extend(survey(&store).damaged);
        assert_eq!(damaged, std::slice::from_ref(&path));
        mark(&store);
    }
}

/// MONEY: the blob that one generation lets go may be needed by another that nobody has looked at.
#[test]
fn no_blob_goes_before_everything_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut same = large(2, 70_000);
    same.body = large(1, 70_000).body;
    for entry in [&large(1, 70_000), &same, &large(9, 80_000)] {
        store.put(entry).unwrap();
    }
    mark(&store);
    drop(store);
    assert_eq!(blobs(dir.path()), 2);
    let (store, _) = open_at_once(dir.path());
    assert!(store.remove(&key(1)).unwrap());
    assert!(store.remove(&key(9)).unwrap());
    store.free_blobs(Timestamp::MAX).unwrap();
    assert_eq!(blobs(dir.path()), 2);
    survey(&store);
    assert!(store.get(&key(2)).unwrap().is_some());
    store.free_blobs(Timestamp::MAX).unwrap();
    assert_eq!(blobs(dir.path()), 1, "nobody needs the other one");
    assert!(store.get(&key(2)).unwrap().is_some());
}

#[test]
fn what_is_written_meanwhile_is_counted_once() {
    let dir = filled();
    let (store, _) = open_at_once(dir.path());
    assert!(!store.survey(&|| true).unwrap(), "it was cut off");
    for n in [1, 30] {
        store.put(&large(n, 90_000)).unwrap();
    }
    store.remove(&key(2)).unwrap();
    survey(&store);
    store.free_blobs(Timestamp::MAX).unwrap();
    let kept = store.kept_bytes();
    drop(store);
    let (store, report) = open(dir.path());
    assert_eq!((store.kept_bytes(), report.generations), (kept, 12));
}

/// A store that is written to and one that is looked at may be the same.
#[test]
fn writers_and_the_survey_do_not_wait_for_each_other_for_ever() {
    let dir = filled();
    let (store, _) = open_at_once(dir.path());
    std::thread::scope(|scope| {
        for n in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..8 {
                    store.put(&large(n * 8 + round, 66_000)).unwrap();
                    store.get(&key(round)).unwrap().unwrap();
                }
            });
        }
        scope.spawn(|| survey(&store));
        scope.spawn(|| (0..4).for_each(|_| mark(&store)));
    });
    mark(&store);
    let all = listed(&store);
    drop(store);
    let (store, report) = open_at_once(dir.path());
    assert_eq!(report.reindexed, 0);
    assert_eq!((listed(&store), report.generations), (all, 32));
}

#[test]
fn a_folder_that_changed_just_now_is_not_marked() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    store.flush().unwrap();
    drop(store);
    let (store, report) = open_at_once(dir.path());
    assert_eq!((report.generations, store.survey.believed()), (1, 0));
}

#[test]
fn whoever_waits_for_an_index_hears_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    for n in 0..2_500_u64 {
        let mut entry = image(1);
        entry.record.key = Fingerprint::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes());
        let file = super::super::codec::encode(&entry).unwrap();
        std::fs::write(gen_path(dir.path(), &entry.record.key), file).unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |indexing: Indexing| told.lock().unwrap().push(indexing.files);
    let (_store, report) = DiskStore::open_at_once(dir.path(), Clock::system(), &tell).unwrap();
    assert_eq!((report.generations, report.reindexed), (2_500, 2_500));
    assert!(report.rebuilt.is_some());
    let mut told = told.into_inner().unwrap();
    told.sort_unstable();
    assert_eq!(told, [1_000, 2_000]);
}
