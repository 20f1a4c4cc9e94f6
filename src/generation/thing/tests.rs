use super::*;

fn named(path: &str) -> Vec<String> {
    things(path).into_iter().map(|thing| thing.id).collect()
}

#[test]
fn jobs_however_they_are_spelt() {
    for path in [
        "/v1/videos/task_1",
        "/v1/videos/task_1/content",
        "/v1/videos/task%5F1",
        "/v1/videos/task%255F1",
        "/v1//videos/task_1/",
        "/v1/x/../videos/task_1",
        "/v1/videos/./task_1/content",
        "/v1/videos%2ftask_1",
        "/v1/video/generations/task_1",
        "/v1/videos/task_1/remix",
        "/V1/Videos/task_1",
        "/v1/contents/generations/tasks/task_1",
    ] {
        assert_eq!(named(path), ["task_1"], "{path}");
        assert!(things(path).iter().all(Thing::is_job), "{path}");
    }
    assert_eq!(named("/v1/videos/a%2fb"), ["a/b", "a"], "two readings");
    assert_eq!(named("/v1/videos/a;x=1"), ["a;x=1", "a"], "two readings");
    for path in [
        "/v1/videos",
        "/v1/models/task_1",
        "/v1/chat/completions",
        "/v1/",
        "",
    ] {
        assert!(named(path).is_empty(), "{path}");
    }
}

#[test]
fn one_id_is_one_key() {
    let job = |id| ThingKey::job(id);
    assert_eq!(job("task_Ab"), job("TASK_aB"));
    assert_eq!(job("task_Ab"), job(" task_Ab "));
    assert_ne!(job("task_Ab"), job("task_Ac"));
    let collections = [
        "/v1/videos/x",
        "/v1/files/x",
        "/v1/videos/characters/x",
        "/v1/responses/x",
    ];
    let keys: Vec<_> = collections
        .iter()
        .map(|path| things(path).swap_remove(0))
        .map(|thing| ThingKey::of(thing.collection, "one_id"))
        .collect();
    let mut others = keys.clone();
    others.dedup();
    assert_eq!((keys.len(), others.len()), (4, 4));
    assert!(
        keys.iter()
            .all(|key| ThingKey::everywhere("ONE_ID").any(|one| one == *key))
    );
    for (id, odd) in [
        ("task_1", false),
        ("t\u{e1}sk_1", true),
        ("task 1", true),
        ("\u{fffd}", true),
    ] {
        let collection = Collection(JOBS);
        let id = id.to_owned();
        assert_eq!(Thing { collection, id }.is_odd(), odd);
    }
}

#[test]
fn what_lists() {
    for (path, list) in [
        ("/v1/videos", true),
        ("/v1/videos/", true),
        ("/v1//Files", true),
        ("/v1/video%2fgenerations", true),
        ("/v1/chat/completions", true),
        ("/v1/videos/characters", true),
        ("/v1/videos/task_1", false),
        ("/v1/files/f/content", false),
        ("/v1/models", false),
        ("/v1/video", false),
    ] {
        assert_eq!(is_list(path), list, "{path}");
    }
}

#[test]
fn what_was_made() {
    let of = |path: &str, id: &str| ThingKey::of(collection(path).unwrap(), id);
    let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"x\":[";
    for (path, answer, expected) in [
        (
            "/v1/videos",
            r#"{"id":"v_1","task_id":"t_1"}"#,
            vec![of("/v1/videos", "v_1"), of("/v1/videos", "t_1")],
        ),
        (
            "/v1/videos/x/remix",
            r#"{"data":{"id":7,"task_id":"t_1"}}"#,
            vec![of("/v1/videos", "t_1")],
        ),
        (
            "/v1/responses",
            r#"{"output":[{"id":"msg_1"}],"id":"resp_1"}"#,
            vec![of("/v1/responses", "resp_1")],
        ),
        ("/v1/responses", stream, vec![of("/v1/responses", "resp_1")]),
        (
            "/v1/uploads/u/complete",
            r#"{"id":"upload_1","file":{"id":"file_1"}}"#,
            vec![of("/v1/uploads", "upload_1"), of("/v1/files", "file_1")],
        ),
        ("/v1/files", r#"{"error":{"message":"id"}}"#, vec![]),
        ("/v1/files", r#"{"id":" "}"#, vec![]),
        ("/v1/files", "<html>", vec![]),
    ] {
        let found = made(collection(path).unwrap(), answer.as_bytes());
        assert_eq!(found, expected, "{answer}");
    }
}

#[test]
fn what_a_body_mentions() {
    let told = |body: &str, is_form| {
        let mut told = Vec::new();
        mentions(body.as_bytes(), is_form, |word| {
            told.push(word.to_owned());
            true
        });
        told
    };
    let json = r#"{"video":{"id":"task\u005f123"},"n":"1","u":"https://h.example/v1/videos/task%5F456/content?x=1"}"#;
    let expected = [
        "task_123",
        "https:",
        "h.example",
        "videos",
        "task_456",
        "content",
    ];
    assert_eq!(told(json, false), expected);
    let form =
        "--x\r\nContent-Disposition: form-data; name=\"video\"\r\n\r\n{\"id\":\"task_9\"}\r\n--x--";
    assert!(told(form, true).contains(&"task_9".to_owned()));
    let form = "--x\r\n\r\ntask_123\r\n--x--";
    assert!(told(form, true).contains(&"task_123".to_owned()));
    let long = format!("[\"{}\"]", "x".repeat(5_000));
    assert!(told(&long, false).is_empty());
}
