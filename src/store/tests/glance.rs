//! A look from outside.

use super::*;

fn seen(dir: &Path) -> Option<(Vec<Fingerprint>, Vec<Intent>)> {
    let glance = Glance::at(dir).unwrap()?;
    let mut keys = Vec::new();
    glance
        .list(&mut |record| {
            keys.push(record.key);
            ControlFlow::Continue(())
        })
        .unwrap();
    Some((keys, glance.intents().unwrap()))
}

#[test]
fn a_look_sees_what_is_kept_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    assert_eq!(seen(&missing), None);
    assert!(!missing.exists());
    assert_eq!(seen(dir.path()), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    store.put(&video(2, "task_2")).unwrap();
    store.put(&image(3)).unwrap();
    store.put_intent(&super::intents::intent(4)).unwrap();
    let damaged = gen_path(dir.path(), &key(3));
    std::fs::write(&damaged, b"nonsense").unwrap();
    let expected = (vec![key(1), key(2)], vec![super::intents::intent(4)]);
    assert_eq!(seen(dir.path()), Some(expected.clone()), "while it is open");

    drop(store);
    let temporary = ".reprise-0192f0c1-2b3c-7d4e-8f50-617283940a1b.tmp";
    std::fs::write(dir.path().join(temporary), "x").unwrap();
    let before = snapshot(dir.path());
    assert_eq!(seen(dir.path()), Some(expected), "while it is closed");
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn a_look_stops_when_it_has_seen_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(&image(1)).unwrap();
    store.put(&image(2)).unwrap();
    let glance = Glance::at(dir.path()).unwrap().unwrap();
    let mut visits = 0;
    glance
        .list(&mut |_| {
            visits += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(visits, 1);
}
