//! Paid calls of unknown outcome.

use super::*;

pub(super) fn intent(n: u8) -> Intent {
    Intent {
        key: key(n),
        kind: Kind::Audio,
        path: "/v1/audio/speech".into(),
        model: Some("tts".into()),
        client: "alice".into(),
        started_at: at(i64::from(n)),
        state: IntentState::Pending,
        reason: None,
        run: None,
        usd: crate::price::Usd::ZERO,
        extent: None,
        beside: Vec::new(),
        passed_by: None,
    }
}

#[test]
fn intents_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut unknown = intent(1);
    unknown.state = IntentState::Unknown;
    unknown.reason = Some("connection cut after sending\n\"quoted\"".into());
    unknown.model = None;
    store.put_intent(&intent(1)).unwrap();
    store.put_intent(&unknown).unwrap();
    store.put_intent(&intent(2)).unwrap();
    store.put_intent(&intent(3)).unwrap();
    assert!(store.remove_intent(&key(3)).unwrap());
    assert!(!store.remove_intent(&key(3)).unwrap());
    drop(store);
    let (store, report) = open(dir.path());
    assert_eq!(report.intents, 2);
    assert_eq!(store.intents().unwrap(), [unknown.clone(), intent(2)]);
    assert_eq!(store.intent(&key(1)).unwrap(), Some(unknown));
    assert_eq!(store.intent(&key(3)).unwrap(), None);
}

#[test]
fn a_damaged_intent_is_an_unknown_outcome() {
    let whole = {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        store.put_intent(&intent(1)).unwrap();
        std::fs::read_to_string(store.intents.path(&key(1))).unwrap()
    };
    let cases = [
        ("empty", String::new(), Kind::Video),
        ("cut", whole[..whole.len() / 2].to_owned(), Kind::Video),
        ("binary", "\u{0}\u{1}".into(), Kind::Video),
        ("another key's", whole.replace("0101", "0202"), Kind::Audio),
        (
            "newer",
            whole.replace("\"format\":1", "\"format\":2"),
            Kind::Audio,
        ),
        (
            "unknown kind",
            whole.replace("\"audio\"", "\"smell\""),
            Kind::Video,
        ),
        (
            "unknown state",
            whole.replace("\"pending\"", "\"maybe\""),
            Kind::Audio,
        ),
        (
            "huge",
            format!("{}{whole}", " ".repeat(2 * 1024 * 1024)),
            Kind::Video,
        ),
    ];
    for (name, text, kind) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        let path = store.intents.path(&key(1));
        std::fs::write(&path, &text).unwrap();
        drop(store);
        let (store, report) = open(dir.path());
        assert_eq!(report.damaged, std::slice::from_ref(&path), "{name}");
        assert_eq!(report.intents, 1, "{name}");
        let found = store.intent(&key(1)).unwrap().expect("never absent");
        assert_eq!(
            (found.key, found.kind, found.state),
            (key(1), kind, IntentState::Unknown),
            "{name}"
        );
        assert_eq!(store.intents().unwrap(), [found], "{name}");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            text,
            "{name}: left as it is"
        );
        assert!(
            store.remove_intent(&key(1)).unwrap(),
            "{name}: it can be resolved"
        );
    }
}

#[test]
fn a_later_field_in_an_intent_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put_intent(&intent(1)).unwrap();
    let path = store.intents.path(&key(1));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen('{', "{\"later\":[1,2],", 1)).unwrap();
    assert_eq!(store.intent(&key(1)).unwrap(), Some(intent(1)));
}
