//! What is at hand is what is kept.

use std::sync::Arc;

use super::super::warm::Warm;
use super::*;

fn chat(n: u8, body: &[u8]) -> Entry {
    Entry {
        body: Payload::Bytes(Bytes::copy_from_slice(body)),
        ..image(n)
    }
}

fn body(entry: Option<Arc<Entry>>) -> Option<Payload> {
    entry.map(|entry| entry.body.clone())
}

#[test]
fn what_has_changed_is_not_at_hand_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    store.put(&chat(1, b"first")).unwrap();
    assert!(store.at_hand(&key(1)).is_none(), "nobody has asked for it");
    let first = body(store.take_up(&key(1)).unwrap());
    assert_eq!(first, Some(Payload::Bytes("first".into())));
    assert_eq!(body(store.at_hand(&key(1))), first);

    store.put(&chat(1, b"second")).unwrap();
    assert!(store.at_hand(&key(1)).is_none());
    let second = body(store.take_up(&key(1)).unwrap());
    assert_eq!(second, Some(Payload::Bytes("second".into())));

    assert!(store.remove(&key(1)).unwrap());
    assert!(store.at_hand(&key(1)).is_none());
    assert!(store.take_up(&key(1)).unwrap().is_none());
}

/// MONEY: who read before a change and comes back after it must not bring the old answer along.
#[test]
fn a_slow_reader_keeps_nothing_old() {
    let warm = Warm::new();
    let old = Arc::new(chat(1, b"old"));
    let before = warm.before(&key(1));
    let changing = warm.change(&key(1));
    let meanwhile = warm.before(&key(1));
    for before in [before, meanwhile] {
        warm.keep(before, &old);
        assert!(warm.get(&key(1)).is_none(), "it changes");
    }
    let other = Arc::new(chat(65, b"another of its group"));
    warm.keep(warm.before(&key(65)), &other);
    assert!(warm.get(&key(65)).is_some(), "others do not");
    drop(changing);
    for before in [before, meanwhile] {
        warm.keep(before, &old);
        assert!(warm.get(&key(1)).is_none(), "it has changed");
    }
    warm.keep(warm.before(&key(1)), &old);
    assert!(warm.get(&key(1)).is_some());
}

/// Polls read what is kept, submits what is at hand: who has seen the newer answer in one way does not
/// see the older one in the other.
#[test]
fn what_was_seen_anew_is_not_seen_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    let version = |entry: &Entry| match &entry.body {
        Payload::Bytes(body) => std::str::from_utf8(body).unwrap().parse::<u32>().unwrap(),
        Payload::Blob { .. } => panic!("it is small"),
    };
    let put = |n: u32| store.put(&chat(1, n.to_string().as_bytes())).unwrap();
    put(0);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (1..=200).for_each(put));
        while !writing.is_finished() {
            let kept = version(&store.get(&key(1)).unwrap().unwrap());
            let at_hand = store.at_hand(&key(1));
            let shown = at_hand.or_else(|| store.take_up(&key(1)).unwrap());
            let shown = version(&shown.unwrap());
            assert!(shown >= kept, "{shown} after {kept}");
        }
    });
}

#[test]
fn a_body_in_a_file_is_at_hand_when_it_is_small_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).0;
    let large = vec![7; 200_000];
    let largest = vec![8; 1024 * 1024 + 1];
    store.put(&chat(1, &large)).unwrap();
    store.put(&chat(2, &largest)).unwrap();
    assert!(matches!(
        body(store.get(&key(1)).unwrap().map(Arc::new)),
        Some(Payload::Blob { .. })
    ));
    let taken = body(store.take_up(&key(1)).unwrap());
    assert_eq!(taken, Some(Payload::Bytes(large.into())));
    assert_eq!(body(store.at_hand(&key(1))), taken);
    assert!(matches!(
        body(store.take_up(&key(2)).unwrap()),
        Some(Payload::Blob { .. })
    ));
    assert!(store.at_hand(&key(2)).is_none());
}

#[test]
fn there_is_an_end_to_what_is_at_hand() {
    let warm = Warm::new();
    let body = vec![1; 1_000_000];
    for n in 0..100 {
        let entry = Arc::new(chat(n, &body));
        warm.keep(warm.before(&entry.record.key), &entry);
    }
    let held = (0..100).filter(|n| warm.get(&key(*n)).is_some()).count();
    assert!((10..34).contains(&held), "{held} MB of 24 MiB");
}
