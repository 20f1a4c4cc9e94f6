//! What is needed stays, what nobody needs goes, and the sum is right: over any order of puts,
//! removals, evictions and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::evict::{Pass, Tally};
use super::super::row::blobs_of;
use super::*;
use crate::config::{Cache, KindPolicy, Mode, Scope, Ttl, UnknownOutcome};

/// A body or file of a sort: the same number is the same bytes.
pub(super) fn content(n: u8) -> Vec<u8> {
    vec![n; 66_000 + usize::from(n) * 1_000]
}

/// A generation whose body is one blob and whose media are others.
pub(super) fn with_blobs(
    store: &DiskStore,
    n: u8,
    (body, media): (u8, &[u8]),
    open: bool,
) -> Entry {
    let mut entry = image(n);
    let blob = store.blobs.keep(&content(body)).unwrap();
    entry.body = blob.into();
    for m in media {
        let Blob { hash, len, .. } = store.blobs.keep(&content(*m)).unwrap();
        entry.record.media.push(Medium {
            link: format!("https://cdn.test/{m}"),
            state: MediumState::Kept {
                hash,
                len,
                content_type: "video/mp4".into(),
                extension: "mp4".into(),
            },
        });
    }
    if open {
        entry.record.media.push(Medium {
            link: "https://cdn.test/wanted".into(),
            state: MediumState::Wanted,
        });
    }
    entry
}

pub(super) fn blobs_on_disk(dir: &Path) -> BTreeSet<String> {
    let files = snapshot(&dir.join("blobs")).into_iter();
    let named = files.filter(|(path, _)| path.is_file());
    named
        .map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

pub(super) fn needed(store: &DiskStore) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    store
        .list_kept(None, &mut |kept| {
            let file = store.files.read(&kept.key).unwrap().unwrap();
            let blobs = blobs_of(&file.entry).into_iter();
            all.extend(blobs.map(|(hash, _)| hash.to_string()));
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

/// The size of all kept files, counted anew.
pub(super) fn counted(dir: &Path) -> u64 {
    let folders = ["generations", "blobs"].map(|folder| snapshot(&dir.join(folder)));
    let files = folders.iter().flatten();
    files.map(|(_, bytes)| bytes.len() as u64).sum()
}

pub(super) fn keys(store: &DiskStore) -> Vec<u8> {
    let mut found = Vec::new();
    store
        .list_kept(None, &mut |kept| {
            found.push(kept.key.as_bytes()[0]);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// Rules under which only images may expire.
pub(super) fn rules(max_size: u64, ttl: Option<u64>) -> Rules {
    let kept = KindPolicy {
        mode: Mode::On,
        ttl: Ttl::Forever,
        unknown_outcome: UnknownOutcome::Ask,
    };
    let ttl = ttl.map_or(Ttl::Forever, |seconds| {
        Ttl::For(Duration::from_secs(seconds))
    });
    Rules::of(&Cache {
        scope: Scope::Shared,
        max_request_body: 0,
        max_size,
        min_free: 0,
        video: kept,
        images: KindPolicy { ttl, ..kept },
        audio: kept,
        embeddings: kept,
        chat: kept,
    })
}

/// Makes a pass for room; says whether there is.
pub(super) fn make_room(store: &Arc<DiskStore>, max_size: u64) -> bool {
    let shelf = Shelf::new(store.clone());
    let pass = Pass {
        store: store.as_ref(),
        shelf: &shelf,
        rules: &rules(max_size, None),
        now: at(0),
        tally: &Tally::default(),
        is_over: &|| false,
    };
    pass.for_room().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        n: u8,
        body: u8,
        media: Vec<u8>,
        open: bool,
    },
    Remove(u8),
    Use(u8, i64),
    MakeRoom(u64),
    Restart,
    LoseIndex,
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..8_u8;
    prop_oneof![
        6 => (n.clone(), 0..6_u8, proptest::collection::vec(0..6_u8, 0..3), proptest::bool::weighted(0.2))
            .prop_map(|(n, body, media, open)| Step::Put { n, body, media, open }),
        2 => n.clone().prop_map(Step::Remove),
        3 => (n, 0..1_000_i64).prop_map(|(n, at)| Step::Use(n, at)),
        2 => (0..500_000_u64).prop_map(Step::MakeRoom),
        1 => Just(Step::Restart),
        1 => Just(Step::LoseIndex),
    ]
}

fn check(dir: &Path, store: &DiskStore, model: &BTreeMap<u8, Entry>) {
    assert_eq!(keys(store), model.keys().copied().collect::<Vec<_>>());
    for (n, entry) in model {
        let kept = store.get(&key(*n)).unwrap();
        assert_eq!(kept.as_ref(), Some(entry), "{n}");
    }
    assert_eq!(blobs_on_disk(dir), needed(store));
    assert_eq!(store.kept_bytes(), counted(dir));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn what_is_needed_stays_and_nothing_else(steps in proptest::collection::vec(step(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Arc::new(open(dir.path()).0);
        let mut model: BTreeMap<u8, Entry> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put { n, body, media, open } => {
                    let entry = with_blobs(&store, n, (body, &media), open);
                    store.put(&entry).unwrap();
                    model.insert(n, entry);
                }
                Step::Remove(n) => {
                    let there = model.remove(&n).is_some();
                    assert_eq!(store.remove(&key(n)).unwrap(), there);
                }
                Step::Use(n, seconds) => store.used(&key(n), at(seconds)),
                Step::MakeRoom(max_size) => {
                    let all: BTreeMap<u8, Kept> = model
                        .keys()
                        .map(|n| (*n, store.glance(&key(*n)).unwrap().unwrap()))
                        .collect();
                    let full = store.kept_bytes() > max_size / 100 * 95;
                    let room = make_room(&store, max_size);
                    assert_eq!(room, store.kept_bytes() <= max_size);
                    let left = keys(&store);
                    let (stay, go): (Vec<_>, Vec<_>) =
                        all.into_iter().partition(|(n, _)| left.contains(n));
                    assert!(full || go.is_empty(), "there was room");
                    let newest = go.iter().map(|(_, kept)| kept.last_used_at).max();
                    for (n, kept) in &stay {
                        assert!(kept.open || Some(kept.last_used_at) >= newest, "{n} was older");
                        assert!(room || kept.open, "{n} could have gone");
                    }
                    assert!(go.iter().all(|(_, kept)| !kept.open));
                    model.retain(|n, _| left.contains(n));
                }
                Step::Restart | Step::LoseIndex => {
                    store.flush().unwrap();
                    // What the entries of the model hold, they hold in the old store.
                    drop(store);
                    if matches!(step, Step::LoseIndex) {
                        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
                    }
                    store = Arc::new(open(dir.path()).0);
                }
            }
            // Let go of what the test has in hand, as a reply does.
            for entry in model.values_mut() {
                if let Payload::Blob { hold, .. } = &mut entry.body {
                    *hold = Hold::default();
                }
            }
            store.free_blobs(Timestamp::UNIX_EPOCH).unwrap();
            check(dir.path(), &store, &model);
        }
    }
}
