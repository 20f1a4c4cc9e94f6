//! Whose directory it is, and what a start tidies.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn refusal(dir: &Path) -> StoreError {
    DiskStore::open(dir, Clock::system()).expect_err("it must not open")
}

#[test]
fn a_second_one_is_refused_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let error = refusal(dir.path());
    assert!(matches!(error, StoreError::Locked { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&format!("pid {}", std::process::id())),
        "{text}"
    );
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_newer_version_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    drop(store);
    std::fs::write(dir.path().join("VERSION"), "2\n").unwrap();
    std::fs::remove_file(dir.path().join("LOCK")).unwrap();
    let before = snapshot(dir.path());
    assert!(matches!(
        refusal(dir.path()),
        StoreError::NewerVersion { found: 2, .. }
    ));
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn a_foreign_directory_is_refused_untouched() {
    let cases: [(&str, &[(&str, &str)]); 4] = [
        ("a document", &[("thesis.txt", "years of work")]),
        ("an index alone", &[("index/db", "")]),
        ("a hidden file", &[(".bashrc", "")]),
        (
            "a VERSION of something else",
            &[("VERSION", "v1.2.3-beta"), ("generations/x", "")],
        ),
    ];
    for (name, files) in cases {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let before = snapshot(dir.path());
        let error = refusal(dir.path());
        assert!(
            matches!(
                error,
                StoreError::Foreign { .. } | StoreError::UnreadableVersion { .. }
            ),
            "{name}: {error}"
        );
        assert_eq!(snapshot(dir.path()), before, "{name}");
    }
}

#[test]
fn a_fresh_file_system_or_a_start_cut_short_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lost+found")).unwrap();
    std::fs::write(dir.path().join("LOCK"), "").unwrap();
    let (_store, report) = open(dir.path());
    assert_eq!(report.generations, 0);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("VERSION")).unwrap(),
        "1\n"
    );
}

#[test]
fn a_lost_version_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("VERSION")).unwrap();
    let (store, report) = open(dir.path());
    assert_eq!(report.generations, 1);
    assert_eq!(store.get(&key(1)).unwrap(), Some(image(1)));
    assert_eq!(
        std::fs::read_to_string(dir.path().join("VERSION")).unwrap(),
        "1\n"
    );
}

#[test]
fn only_our_own_temporaries_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let ours = ".reprise-0192f0c1-2b3c-7d4e-8f50-617283940a1b.tmp";
    let theirs = [
        ".reprise-notes.tmp",
        "x.tmp",
        ".reprise-0192f0c1-2b3c-4d4e-8f50-617283940a1b.tmp",
    ];
    let folders = ["", "generations", "generations/ab", "pending", "blobs"];
    for folder in folders {
        for name in theirs.iter().chain([&ours]) {
            std::fs::write(dir.path().join(folder).join(name), "x").unwrap();
        }
    }
    let elsewhere = dir.path().join("ledger");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join(ours), "x").unwrap();
    let (_store, report) = open(dir.path());
    assert_eq!(report.removed_temporaries, folders.len() as u64);
    for folder in folders {
        assert!(!dir.path().join(folder).join(ours).exists(), "{folder}");
        for name in theirs {
            assert!(
                dir.path().join(folder).join(name).exists(),
                "{folder}/{name}"
            );
        }
    }
    assert!(elsewhere.join(ours).exists(), "not a folder of the store");
}

#[test]
fn nobody_else_can_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new/data");
    let (store, _) = open(&dir);
    store.put(&large(1, 70_000)).unwrap();
    store.put_intent(&super::intents::intent(1)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let mut files = 0;
    for (path, _) in snapshot(&dir) {
        if path.starts_with(dir.join("index/")) && path != dir.join("index") {
            // sled makes its own; their folder keeps others out.
            continue;
        }
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            files += 1;
        }
    }
    assert_eq!(files, 5, "VERSION, LOCK, a generation, a blob, an intent");
    drop(store);
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(&dir);
    assert_eq!(mode(&dir), 0o700);
}

#[test]
fn a_file_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    std::fs::write(&path, "a file").unwrap();
    let text = refusal(&path).to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}
