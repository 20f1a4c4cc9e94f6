//! Data directories as earlier formats of a generation's file wrote them, which must open for ever.

use std::io::Read;

use super::*;

fn golden(format: &str) -> PathBuf {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    all.join(format)
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
    for bytes in [b"clip ".repeat(200), b"cover".to_vec()] {
        store.blobs.keep(&bytes).unwrap();
    }
    store.put(&with_media()).unwrap();
    store.put_intent(&super::intents::intent(0xcc)).unwrap();
    store.put_intent(&unknown()).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("LOCK")).unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_dir(dir.path(), &golden("v2"));
}

/// A job with a medium in each state.
fn with_media() -> Entry {
    let mut entry = video(0x03, "task_media");
    let kept = |bytes: &[u8], content_type: &str, extension: &str| MediumState::Kept {
        hash: BlobHash::from_bytes(*blake3::hash(bytes).as_bytes()),
        len: bytes.len() as u64,
        content_type: content_type.into(),
        extension: extension.into(),
    };
    let medium = |link: &str, state| Medium {
        link: link.into(),
        state,
    };
    entry.record.media = vec![
        medium(
            "https://cdn.test/clip.mp4?sign=a&b=\"\u{e9}",
            kept(&b"clip ".repeat(200), "video/mp4", "mp4"),
        ),
        medium("https://cdn.test/cover", kept(b"cover", "image/png", "png")),
        medium("https://cdn.test/next", MediumState::Wanted),
        medium(
            "https://cdn.test/gone",
            MediumState::Lost { why: "404".into() },
        ),
    ];
    entry
}

#[test]
fn a_directory_of_format_1_opens() {
    drop(check_entries("v1", 3));
}

#[test]
fn a_directory_of_format_2_opens() {
    let (_dir, store) = check_entries("v2", 4);
    let entry = with_media();
    assert_eq!(store.get(&key(3)).unwrap(), Some(entry.clone()));
    for medium in entry.record.media {
        if let MediumState::Kept { hash, len, .. } = medium.state {
            let file = store.open_blob(&hash).unwrap();
            assert_eq!(file.metadata().unwrap().len(), len);
        }
    }
}

fn check_entries(format: &str, count: u64) -> (tempfile::TempDir, DiskStore) {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&golden(format), dir.path());
    let (store, report) = open(dir.path());
    assert_eq!((report.generations, report.intents), (count, 2));
    assert_eq!(report.damaged, Vec::<PathBuf>::new());
    let [plain, job, picture] = entries();
    assert_eq!(store.get(&plain.record.key).unwrap(), Some(plain));
    assert_eq!(store.get(&job.record.key).unwrap(), Some(job));
    assert_eq!(store.find_task("task_golden").unwrap(), Some(key(0x02)));
    let kept = store.get(&picture.record.key).unwrap().unwrap();
    assert_eq!(kept.record, picture.record);
    let Payload::Blob { hash, len, .. } = kept.body else {
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
    (dir, store)
}
