//! A data directory as version 1 wrote it, which must open for ever.

use std::io::Read;

use super::*;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn unknown() -> Intent {
    let mut intent = super::intents::intent(0xcd);
    intent.state = IntentState::Unknown;
    intent.reason = Some("the connection was cut after sending".into());
    intent
}

fn entries() -> [Entry; 3] {
    let mut picture = image(0xab);
    picture.body = Payload::Bytes(Bytes::from("picture ".repeat(8_500)));
    [image(0x01), video(0x02, "task_golden"), picture]
}

/// Run by hand, once for each format: `cargo test --lib golden::write -- --ignored`.
#[test]
#[ignore = "writes into the repository"]
fn write() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for entry in entries() {
        store.put(&entry).unwrap();
    }
    store.put_intent(&super::intents::intent(0xcc)).unwrap();
    store.put_intent(&unknown()).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("LOCK")).unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_dir(dir.path(), &golden());
}

#[test]
fn a_directory_of_version_1_opens() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&golden(), dir.path());
    let (store, report) = open(dir.path());
    assert_eq!((report.generations, report.intents), (3, 2));
    assert_eq!(report.damaged, Vec::<PathBuf>::new());
    let [plain, job, picture] = entries();
    assert_eq!(store.get(&plain.record.key).unwrap(), Some(plain));
    assert_eq!(store.get(&job.record.key).unwrap(), Some(job));
    assert_eq!(store.find_task("task_golden").unwrap(), Some(key(0x02)));
    let kept = store.get(&picture.record.key).unwrap().unwrap();
    assert_eq!(kept.record, picture.record);
    let Payload::Blob { hash, len } = kept.body else {
        panic!("it was a blob")
    };
    let mut text = String::new();
    store
        .open_blob(&hash)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!((text.len() as u64, text), (len, "picture ".repeat(8_500)));
    assert_eq!(
        store.intents().unwrap(),
        [super::intents::intent(0xcc), unknown()]
    );
}
