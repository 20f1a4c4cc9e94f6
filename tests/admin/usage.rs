//! What is no use of `reprise jobs`, and keys that mean none or several.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn bad_usage_ends_with_2() {
    let world = World::new().await;
    for args in [
        &["jobs"][..],
        &["jobs", "lst"],
        &["jobs", "show"],
        &["jobs", "resolve"],
        &["jobs", "resolve", "--rerun"],
        &["jobs", "resolve", "abcd"],
        &["jobs", "resolve", "abcd", "--rerun", "--forget"],
        &["jobs", "resolve", "abcd", "--rerun", "--task", "task_1"],
        &["jobs", "resolve", "abcd", "--task"],
        &["jobs", "resolve", "abcd", "--task", "a/b"],
        &["jobs", "resolve", "abc", "--rerun"],
        &["jobs", "resolve", "task_1", "--rerun"],
        &["jobs", "list", "--config", "missing.toml"],
    ] {
        let ended = world.run(args).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert_eq!(ended.out, "", "{args:?}");
        assert!(!ended.err.is_empty(), "{args:?}");
    }
    assert!(!world.data().exists());
}

#[tokio::test]
async fn a_key_means_one_job_or_none_is_touched() {
    let world = World::new().await;
    world.serve().await.stop().await;
    let keys = ["abcd1", "abcd2", "12345"].map(|digits| format!("{digits:0<64}"));
    for key in &keys {
        let intent = json!({
            "format": 1, "key": key, "kind": "video", "path": "/v1/videos", "client": "local",
            "started_at": "2026-09-21T14:16:45Z", "state": "unknown",
        });
        let path = world.data().join("pending").join(format!("{key}.json"));
        std::fs::write(path, format!("{intent}\n")).unwrap();
    }
    let mut said = Vec::new();
    for online in [false, true] {
        let proxy = if online {
            Some(world.serve().await)
        } else {
            None
        };
        for args in [
            &["jobs", "show", "abcd"][..],
            &["jobs", "resolve", "ABCD", "--forget"],
            &["jobs", "show", "ffff"],
            &["jobs", "show", "../x y"],
            &["jobs", "resolve", "ffff", "--forget"],
        ] {
            let ended = world.run(args).await;
            assert_eq!(ended.code, Some(1), "{args:?}: {ended:?}");
            let several = args.iter().any(|arg| arg.eq_ignore_ascii_case("abcd"));
            for key in &keys[..2] {
                assert_eq!(ended.err.contains(key), several, "{args:?}: {ended:?}");
            }
            assert!(several || ended.err.contains("jobs list"), "{ended:?}");
            said.push(ended.err);
        }
        drop(proxy);
    }
    let (stopped, running) = said.split_at(said.len() / 2);
    assert_eq!(stopped, running, "the same words in both ways");
    assert_eq!(world.states(false).await, ["unknown"; 3]);

    world.json(&["jobs", "resolve", "abcd2", "--forget"]).await;
    let left = world.json(&["jobs", "show", "ABCD"]).await;
    assert_eq!(left["key"], keys[0].as_str());
}
