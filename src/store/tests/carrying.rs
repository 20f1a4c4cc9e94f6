//! Verifying, exporting and importing.

use super::keeping::*;
use super::*;

fn go(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn exported(store: &DiskStore) -> Vec<u8> {
    let mut file = Vec::new();
    export(store, &mut file, at(500), &mut go).unwrap().unwrap();
    file
}

fn take_over(store: &DiskStore, file: &[u8]) -> Imported {
    import(store, None, file, &mut go).unwrap()
}

fn filled() -> (tempfile::TempDir, DiskStore) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    store.put(&video(2, "task_2")).unwrap();
    store.put(&with_blobs(&store, 3, (1, &[2]), false)).unwrap();
    store
        .put(&with_blobs(&store, 4, (1, &[2, 3]), true))
        .unwrap();
    (dir, store)
}

#[test]
fn an_export_gives_everything_back() {
    let (_dir, store) = filled();
    let file = exported(&store);
    let names: Vec<String> = tar::Archive::new(file.as_slice())
        .entries()
        .unwrap()
        .map(|member| member.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names.first().map(String::as_str),
        Some("reprise-export.json")
    );
    assert_eq!(names.last().map(String::as_str), Some("end.json"));
    assert_eq!(names.len(), 2 + 4 + 3, "each blob once: {names:?}");

    let end = Exported::at_end(&file).unwrap();
    assert_eq!((end.generations, end.blobs, end.left_out), (4, 3, 0));
    let tail = file.len() - Exported::TAIL;
    assert_eq!(Exported::at_end(&file[tail..]), Some(end));
    for part in [
        &file[tail + 1..],
        &file[..file.len() - 1],
        &file[..tail],
        &[],
    ] {
        assert_eq!(Exported::at_end(part), None, "{} bytes", part.len());
    }

    let other = tempfile::tempdir().unwrap();
    let (copy, _) = open(other.path());
    let done = take_over(&copy, &file);
    assert_eq!(
        (done.added, done.blobs, done.refused, done.cut_off),
        (4, 3, 0, None)
    );
    for n in 1..=4 {
        assert_eq!(
            copy.get(&key(n)).unwrap(),
            store.get(&key(n)).unwrap(),
            "{n}"
        );
    }
    assert_eq!(copy.find_task("task_2").unwrap(), Some(key(2)));
    assert_eq!(copy.kept_bytes(), store.kept_bytes());
    assert_eq!(blobs_on_disk(other.path()), needed(&copy));
    let again = take_over(&copy, &file);
    assert_eq!((again.added, again.already_here, again.blobs), (0, 4, 0));
}

#[test]
fn the_newer_stays_and_so_does_what_runs() {
    let (_dir, store) = filled();
    let file = exported(&store);
    let other = tempfile::tempdir().unwrap();
    let (copy, _) = open(other.path());
    let mut older = image(1);
    older.record.created_at = at(-10);
    let mut newer = image(2);
    newer.record.created_at = at(100);
    let mut running = with_blobs(&copy, 3, (5, &[]), true);
    running.record.created_at = at(-10);
    for entry in [&older, &newer, &running] {
        copy.put(entry).unwrap();
    }
    let done = take_over(&copy, &file);
    assert_eq!((done.added, done.replaced, done.already_here), (1, 1, 2));
    assert_eq!(copy.get(&key(1)).unwrap(), Some(image(1)));
    assert_eq!(copy.get(&key(2)).unwrap(), Some(newer));
    assert_eq!(copy.get(&key(3)).unwrap(), Some(running));
}

#[test]
fn a_cut_export_gives_what_is_whole_in_it() {
    let (_dir, store) = filled();
    let file = exported(&store);
    let mut most = 0;
    // The end: 512 bytes of header, 512 of text, 1,024 of zeros.
    for len in (0..file.len())
        .step_by(40_961)
        .chain([700, file.len() - 1_600])
    {
        let other = tempfile::tempdir().unwrap();
        let (copy, _) = open(other.path());
        let Some(cut) = file.get(..len) else { continue };
        match import(&copy, None, cut, &mut go) {
            Ok(done) => {
                assert!(done.cut_off.is_some(), "{len}");
                assert_eq!(done.refused, 0, "{len}");
                assert_eq!(keys(&copy).len() as u64, done.added, "{len}");
                for n in keys(&copy) {
                    assert_eq!(copy.get(&key(n)).unwrap(), store.get(&key(n)).unwrap());
                }
                assert!(done.added >= most || len == 700, "{len}");
                most = most.max(done.added);
            }
            Err(StoreError::NotAnExport(_) | StoreError::Io { .. }) => {
                assert!(len < 1_024, "{len}");
            }
            Err(error) => panic!("{len}: {error}"),
        }
    }
    assert_eq!(most, 4, "only the end was missing");
}

#[test]
fn damage_in_an_export_costs_what_it_hits() {
    let (_dir, store) = filled();
    let mut file = exported(&store);
    let body = content(1);
    let start = file
        .windows(1_000)
        .position(|bytes| bytes == &body[..1_000])
        .unwrap();
    file[start + 5_000] ^= 1;
    let other = tempfile::tempdir().unwrap();
    let (copy, _) = open(other.path());
    let done = take_over(&copy, &file);
    // The blob itself, and the two generations whose body it is.
    assert_eq!(
        (done.added, done.refused, done.cut_off),
        (2, 3, None),
        "{:?}",
        done.refusals
    );
    assert_eq!(keys(&copy), [1, 2]);
    assert!(
        done.refusals[0].name.starts_with("blobs/"),
        "{:?}",
        done.refusals
    );
}

#[test]
fn what_is_no_export_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut foreign = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    foreign
        .append_data(&mut header, "../../etc/x", &b"text"[..])
        .unwrap_err();
    foreign
        .append_data(&mut header, "a/file", &b"text"[..])
        .unwrap();
    let foreign = foreign.into_inner().unwrap();
    for (name, file) in [
        ("nothing", Vec::new()),
        ("text", vec![b'x'; 4_096]),
        ("zeros", vec![0; 4_096]),
        ("another tar", foreign),
    ] {
        let refused = import(&store, None, file.as_slice(), &mut go);
        assert!(
            matches!(refused, Err(StoreError::NotAnExport(_))),
            "{name}: {refused:?}"
        );
    }
    assert_eq!(keys(&store), [0_u8; 0]);
}

#[test]
fn a_damaged_generation_is_left_out_of_an_export() {
    let (_dir, store) = filled();
    let Payload::Blob { hash, .. } = store.get(&key(3)).unwrap().unwrap().body else {
        panic!("it is a blob")
    };
    std::fs::remove_file(store.blobs.path(&hash)).unwrap();
    let mut file = Vec::new();
    let done = export(&store, &mut file, at(0), &mut go).unwrap().unwrap();
    assert_eq!((done.generations, done.left_out), (2, 2));
    assert_eq!(
        export(&store, &mut file, at(0), &mut |_| ControlFlow::Break(())).unwrap(),
        None
    );
}

#[test]
fn verify_finds_every_sort_of_damage_and_changes_nothing() {
    let (dir, store) = filled();
    let fine = store.verify(&mut go).unwrap();
    assert_eq!((fine.generations, fine.blobs, fine.faults), (4, 3, 0));
    assert_eq!((fine.bytes, fine.unneeded), (store.kept_bytes(), 0));

    let blob = |n: u8| {
        let hash = BlobHash::from_bytes(*blake3::hash(&content(n)).as_bytes());
        store.blobs.path(&hash)
    };
    // In place: the index still believes the blob, and so would a reader.
    std::fs::write(blob(1), vec![9; content(1).len()]).unwrap();
    std::fs::remove_file(blob(3)).unwrap();
    let path = gen_path(dir.path(), &key(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let misplaced = dir
        .path()
        .join("generations/aa")
        .join(path.file_name().unwrap());
    std::fs::copy(&path, &misplaced).unwrap();
    store.blobs.keep(b"left over").unwrap();

    let before = snapshot(&dir.path().join("blobs"));
    let report = store.verify(&mut go).unwrap();
    assert_eq!(before, snapshot(&dir.path().join("blobs")));
    let mut paths: Vec<&PathBuf> = report.damages.iter().map(|damage| &damage.path).collect();
    let (one, three) = (blob(1), blob(3));
    let mut expected = [&one, &three, &path, &misplaced];
    paths.sort_unstable();
    expected.sort_unstable();
    assert_eq!(paths, expected);
    assert_eq!(
        (report.generations, report.blobs, report.unneeded),
        (3, 2, 1)
    );
    let broken = store.verify(&mut |_| ControlFlow::Break(())).unwrap();
    assert!(broken.broken_off);
}

#[test]
fn a_listing_shows_what_is_kept_in_order_and_from_anywhere() {
    let (dir, store) = filled();
    store.used(&key(2), at(77));
    let mut all = Vec::new();
    let mut list = |after: Option<u8>| {
        let after = after.map(key);
        all.clear();
        store
            .list_kept(after.as_ref(), &mut |kept| {
                all.push(kept);
                ControlFlow::Continue(())
            })
            .unwrap();
        all.clone()
    };
    let whole = list(None);
    assert_eq!(list(Some(2)), whole[2..]);
    assert_eq!(whole.len(), 4);
    let size = |n: u8| {
        std::fs::metadata(gen_path(dir.path(), &key(n)))
            .unwrap()
            .len()
    };
    let expected = Kept {
        key: key(2),
        kind: Kind::Video,
        path: "/v1/video/generations".into(),
        model: Some("gpt-image-2".into()),
        status: 200,
        bytes: size(2),
        created_at: at(2),
        // To the millisecond, before it is written and after.
        last_used_at: Timestamp::from_millisecond(at(77).as_millisecond()).unwrap(),
        open: false,
        passed_by: false,
    };
    assert_eq!(whole[1], expected);
    let blobs = [1, 2, 3].map(|n| content(n).len() as u64);
    assert_eq!(
        (whole[3].bytes, whole[3].open),
        (size(4) + blobs.iter().sum::<u64>(), true)
    );
    store.index.doubt();
    assert_eq!(list(None), whole, "also without an index");
}

#[test]
fn a_key_is_found_by_its_first_digits() {
    let (_dir, store) = filled();
    assert_eq!(store.find_key("0202020202020202").unwrap(), [key(2)]);
    assert_eq!(store.find_key("02020202").unwrap(), [key(2)]);
    assert_eq!(store.find_key(&key(2).to_string()).unwrap(), [key(2)]);
    let mut twin = [2; 32];
    twin[31] = 9;
    let mut entry = image(2);
    entry.record.key = Fingerprint::from_bytes(twin);
    store.put(&entry).unwrap();
    assert_eq!(store.find_key("02020202").unwrap().len(), 2);
    for none in [
        "0202020",
        "",
        "0202020202020203",
        "zzzzzzzzzz",
        "é2020202",
        "+2020202",
    ] {
        assert_eq!(store.find_key(none).unwrap(), [], "{none}");
    }
}

#[tokio::test]
async fn a_job_that_runs_comes_along_and_is_told_of() {
    let (_dir, store) = filled();
    let mut running = video(5, "task_5");
    running.record.task.as_mut().unwrap().state = TaskState::Running;
    store.put(&running).unwrap();
    let file = exported(&store);
    let other = tempfile::tempdir().unwrap();
    let (copy, _) = open(other.path());
    let done = take_over(&copy, &file);
    assert_eq!((done.added, done.running), (5, 1));
    assert_eq!(copy.get(&key(5)).unwrap(), Some(running));
    let shelf = Shelf::new(std::sync::Arc::new(copy));
    let mut imports = shelf.imports();
    let again = shelf.import(std::io::Cursor::new(file), go).await.unwrap();
    assert_eq!((again.already_here, again.running), (5, 0));
    assert!(imports.has_changed().unwrap());
    imports.mark_unchanged();
    shelf.import(&b"no export"[..], go).await.unwrap_err();
    assert!(
        imports.has_changed().unwrap(),
        "something of it may be here"
    );
}
