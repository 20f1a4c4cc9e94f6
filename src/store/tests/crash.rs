//! kill -9 while it writes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "REPRISE_TEST_CRASH_DIR";

/// The process that is killed: puts and says so, without end.
#[test]
#[ignore = "started by the test below"]
fn victim() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let (store, _) = open(Path::new(&dir));
    let mut out = std::io::stdout();
    for round in 0..100_000_u64 {
        let n = u8::try_from(round % 40).unwrap();
        let mut entry = video(n, &format!("task_{round}"));
        entry.record.elapsed_ms = round;
        store.put(&entry).unwrap();
        let intent = super::intents::intent(n);
        store.put_intent(&intent).unwrap();
        writeln!(out, "acknowledged {round}").unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    // The second victim begins with what the first one left.
    for limit in [25, 70] {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::crash::victim",
                "--ignored",
                "--nocapture",
            ])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let acknowledged = |line: String| line.strip_prefix("acknowledged ")?.parse::<u64>().ok();
        let mut last = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(acknowledged)
            .find(|round| *round >= limit)
            .expect("the victim runs until it is killed");
        victim.kill().unwrap();
        victim.wait().unwrap();
        // What it still said before it died counts too.
        last = lines
            .map_while(Result::ok)
            .filter_map(acknowledged)
            .fold(last, u64::max);

        let (store, report) = open(dir.path());
        assert_eq!(report.damaged, Vec::<PathBuf>::new());
        for n in 0..=u8::try_from(last.min(39)).unwrap() {
            let entry = store.get(&key(n)).unwrap().expect("it was acknowledged");
            let newest = last - (last + 40 - u64::from(n)) % 40;
            assert!(
                entry.record.elapsed_ms >= newest,
                "{n}: an older version came back"
            );
            let task = entry.record.task.unwrap().id;
            assert_eq!(store.find_task(&task).unwrap(), Some(key(n)));
            assert!(store.intent(&key(n)).unwrap().is_some());
        }
    }
}

/// Run by hand on a file system of a few megabytes:
/// `mount -t tmpfs -o size=12m none /mnt/small`, then with its path in the variable
/// `cargo test --lib a_full_disk -- --ignored`.
#[test]
#[ignore = "needs a small file system"]
fn a_full_disk_costs_nothing_that_was_kept() {
    let dir = std::env::var_os("REPRISE_TEST_SMALL_DISK")
        .expect("REPRISE_TEST_SMALL_DISK names a folder on a small file system");
    let dir = Path::new(&dir).join("data");
    let (store, _) = open(&dir);
    store.put(&video(0, "task_first")).unwrap();
    let free = usize::try_from(store.free_bytes().unwrap()).unwrap();
    let ballast = dir.parent().unwrap().join("ballast");
    std::fs::write(&ballast, vec![0; free.saturating_sub(1_500_000)]).unwrap();
    let mut kept = 0;
    let error = loop {
        let mut entry = large(kept % 200 + 1, 7_000 + usize::from(kept));
        entry.record.usd = Some(f64::from(kept));
        match store.put(&entry) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 250, "the disk must be full by now");
    };
    assert!(error.is_out_of_space(), "{error}");
    let check = |store: &DiskStore| {
        for n in 0..kept {
            let entry = store.get(&key(n % 200 + 1)).unwrap().expect("it was kept");
            assert!(entry.record.usd >= Some(f64::from(n)));
        }
        assert_eq!(store.find_task("task_first").unwrap(), Some(key(0)));
    };
    check(&store);
    store.flush().unwrap();
    assert!(!store.index.is_open(), "sled has met the full disk");
    let mut blob = store.new_blob().unwrap();
    let full = std::iter::repeat_with(|| blob.write(&[1; 4_096]))
        .take(1_000)
        .find_map(Result::err);
    assert!(full.expect("no room").is_out_of_space());
    assert!(blob.finish().is_err(), "half a blob is none");
    drop(store);
    let (store, report) = open(&dir);
    assert_eq!(report.damaged, Vec::<PathBuf>::new());
    check(&store);
    std::fs::remove_file(&ballast).unwrap();
    store.index.end_pause();
    store.put(&image(250)).unwrap();
    store.index.end_pause();
    check(&store);
    assert!(store.index.is_open());
    assert_eq!(store.get(&key(250)).unwrap(), Some(image(250)));
}
