//! kill -9 at every step of a put that replaces, a removal and an eviction.

use std::process::{Command, Stdio};
use std::sync::Arc;

use super::keeping::*;
use super::*;

const DIR: &str = "REPRISE_TEST_DYING_DIR";

/// Every point that these pass.
const POINTS: [&str; 10] = [
    "blob-begun",
    "blob-finished",
    "file-written",
    "before-rename",
    "after-rename",
    "folder-synced",
    "before-row",
    "after-row",
    "before-unlink",
    "after-unlink",
];

/// The process that dies somewhere in it, if the environment says so.
#[test]
#[ignore = "started by the test below"]
fn victim() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let store = Arc::new(open(Path::new(&dir)).0);
    for n in 0..4 {
        // Everything shares with its neighbour; some replace what an earlier process has left.
        store
            .put(&with_blobs(&store, n, (n, &[n + 1]), false))
            .unwrap();
    }
    store.remove(&key(1)).unwrap();
    store.put(&with_blobs(&store, 2, (7, &[3]), true)).unwrap();
    make_room(&store, 150_000);
}

fn run(dir: &Path, fault: &str) -> bool {
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim
        .args(["--exact", "store::tests::dying::victim", "--ignored"])
        .env(DIR, dir)
        .env(crate::fault::VARIABLE, fault)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    victim.status().unwrap().success()
}

#[test]
fn a_death_at_any_step_loses_nothing_else() {
    let mut deaths = 0;
    for point in POINTS {
        let dir = tempfile::tempdir().unwrap();
        // The second begins with what the first one has left.
        for passage in [1, 4] {
            let name = format!("{point}=kill#{passage}");
            deaths += u32::from(!run(dir.path(), &name));
            let (store, report) = open(dir.path());
            assert_eq!(report.damaged, Vec::<PathBuf>::new(), "{name}");
            assert_eq!(store.kept_bytes(), counted(dir.path()), "{name}");
            let found = store.verify(&mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(found.damages, [], "{name}");
            for n in keys(&store) {
                assert!(store.get(&key(n)).unwrap().is_some(), "{name}: {n}");
            }
            let needed_ones = needed(&store);
            assert!(
                blobs_on_disk(dir.path()).is_superset(&needed_ones),
                "{name}"
            );
            // As a day later.
            store.free_blobs(Timestamp::MAX).unwrap();
            assert_eq!(blobs_on_disk(dir.path()), needed_ones, "{name}");
            assert_eq!(store.kept_bytes(), counted(dir.path()), "{name}");
        }
    }
    assert!(
        deaths >= 17,
        "only {deaths} of 20 died: the points are not passed"
    );
}
