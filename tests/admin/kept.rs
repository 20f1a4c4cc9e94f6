//! `reprise cache list`, `show` and `remove`: the same at a running proxy and without one.

use serde_json::{Value, json};

use crate::world::{CHAT, EMBEDDINGS, Proxy, World, chat, video};

/// An answer that is too large for a generation's own file.
pub(crate) const LARGE: usize = 300_000;

/// Three generations: two of chat, and a large one between them.
pub(crate) async fn filled() -> (World, Proxy) {
    let world = World::new().await;
    let proxy = world.serve().await;
    let large = json!({"object": "list", "data": [], "padding": "x".repeat(LARGE)}).to_string();
    let answers = world.sandbox.on("POST /v1/embeddings");
    answers
        .answer_billed(200, "application/json", large)
        .always();
    for (path, body) in [
        (CHAT, chat("the first")),
        (EMBEDDINGS, embedding()),
        (CHAT, chat("the last")),
    ] {
        assert_eq!(proxy.ask(path, &body).await.status, 200);
    }
    (world, proxy)
}

pub(crate) fn embedding() -> Value {
    json!({"model": "text-embedding-3-small", "input": "a secret of mine"})
}

/// The keys of a listing.
pub(crate) fn keys(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one["key"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_listing_is_the_same_in_every_way() {
    let (world, proxy) = filled().await;
    let running = world.json(&["cache", "list"]).await;
    let api = proxy.admin("GET", "/api/cache", &world.token(), "").await;
    assert_eq!((api.status, api.json()), (200, running.clone()));
    assert_eq!(api.header("content-type"), "application/json");
    assert_eq!(api.header("cache-control"), "no-store");
    let order = r#"{"key":"#;
    let text = String::from_utf8(api.body.to_vec()).unwrap();
    assert!(text.starts_with(&format!("[{order}")), "{text}");
    proxy.stop().await;
    let stopped = world.run(&["cache", "list", "--json"]).await;
    assert_eq!(stopped.out, text, "the same bytes");

    let all = running.as_array().unwrap();
    let kinds: Vec<&str> = all
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["chat", "embeddings", "chat"], "the newest first");
    let one = &all[1];
    let fields: Vec<&String> = one.as_object().unwrap().keys().collect();
    let promised = [
        "bytes",
        "created_at",
        "key",
        "kind",
        "last_used_at",
        "model",
        "path",
        "status",
    ];
    assert_eq!(fields, promised);
    assert_eq!(one["key"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&one["path"], &one["status"]),
        (&json!(EMBEDDINGS), &json!(200))
    );
    assert_eq!(one["model"], "text-embedding-3-small");
    assert!(one["bytes"].as_u64().unwrap() > LARGE as u64, "{one}");
    for time in ["created_at", "last_used_at"] {
        let text = one[time].as_str().unwrap();
        assert!(text.ends_with('Z'), "{text}");
        text.parse::<jiff::Timestamp>().unwrap();
    }

    let keys = keys(&running);
    let _proxy = world.serve().await;
    for (args, expected) in [
        (&["--limit", "2"][..], &keys[..2]),
        (&["--kind", "embeddings"], &keys[1..2]),
        (&["--model", "text-embedding-3-small"], &keys[1..2]),
        (&["--kind", "chat", "--limit", "1"], &keys[..1]),
        (&["--model", "none"], &[]),
    ] {
        let args: Vec<&str> = ["cache", "list"].iter().chain(args).copied().collect();
        assert_eq!(self::keys(&world.json(&args).await), expected, "{args:?}");
    }
    let rows = world.run(&["cache", "list"]).await.out;
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1][..3], [&keys[1][..16], "embeddings", "200"]);
    assert_eq!(rows[1][3], one["bytes"].to_string());
}

#[tokio::test]
async fn a_hit_is_seen_in_the_listing() {
    let (world, proxy) = filled().await;
    let before = world.json(&["cache", "list", "--limit", "1"]).await;
    assert_eq!(before[0]["created_at"], before[0]["last_used_at"]);
    proxy.ask(CHAT, &chat("the last")).await;
    let after = world.json(&["cache", "list", "--limit", "1"]).await;
    assert_eq!(after[0]["created_at"], before[0]["created_at"]);
    let time = |list: &Value| -> jiff::Timestamp {
        list[0]["last_used_at"].as_str().unwrap().parse().unwrap()
    };
    assert!(time(&after) > time(&before), "{after}");
    proxy.stop().await;
    let stopped = world.json(&["cache", "list", "--limit", "1"]).await;
    assert_eq!(stopped, after, "it is written down at the end");
}

#[tokio::test]
async fn one_is_shown_with_everything_but_its_request() {
    let (world, proxy) = filled().await;
    let keys = keys(&world.json(&["cache", "list"]).await);
    let key = &keys[1];
    let shown = world.json(&["cache", "show", key]).await;
    assert_eq!(shown["body"]["bytes"], json!(LARGE + 40), "{shown}");
    let file = shown["body"]["file"].as_str().unwrap().to_owned();
    assert!(world.data().join(&file).is_file(), "{file}");
    let own = shown["file"].as_str().unwrap();
    assert!(world.data().join(own).is_file(), "{own}");
    assert_eq!(shown["client"], "local");
    assert!(
        shown["task"].is_null() && shown["media"] == json!([]),
        "{shown}"
    );
    assert!(!shown.to_string().contains("secret of mine"), "{shown}");
    let headers = shown["headers"].as_array().unwrap();
    assert!(
        headers.contains(&json!(["content-type", "application/json"])),
        "{shown}"
    );

    let short = world
        .json(&["cache", "show", &key[..8].to_uppercase()])
        .await;
    assert_eq!(short, shown);
    let body = world.run(&["cache", "show", &key[..16], "--body"]).await;
    assert_eq!(body.out.len(), LARGE + 40, "{}", body.err);
    let text = world.run(&["cache", "show", key]).await.out;
    assert!(text.contains(key) && text.contains(&file), "{text}");
    let raw = format!("/api/cache/{key}/body");
    let raw = proxy.admin("GET", &raw, &world.token(), "").await;
    assert_eq!(raw.body, body.out.as_bytes());
    assert_eq!(raw.header("content-type"), "application/octet-stream");
    assert_eq!(raw.header("x-content-type-options"), "nosniff");

    proxy.stop().await;
    assert_eq!(world.json(&["cache", "show", key]).await, shown);
    let stopped = world.run(&["cache", "show", key, "--body"]).await;
    assert_eq!(stopped.out, body.out);
    assert_eq!(world.run(&["cache", "show", key]).await.out, text);
}

#[tokio::test]
async fn what_is_removed_runs_again_and_the_rest_hits() {
    let (world, proxy) = filled().await;
    let keys = keys(&world.json(&["cache", "list"]).await);
    let gone = world.json(&["cache", "remove", &keys[1][..16]]).await;
    assert_eq!(gone[0]["key"], keys[1].as_str());
    assert!(gone[0]["bytes"].as_u64().unwrap() > LARGE as u64, "{gone}");
    assert_eq!(proxy.ask(EMBEDDINGS, &embedding()).await.status, 200);
    assert_eq!(world.sandbox.bill().embeddings, 2);
    proxy.stop().await;

    // One that is unknown does not keep the others.
    let ended = world
        .run(&["cache", "remove", &keys[0], "ffffffffffff", &keys[1]])
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.out.lines().count(), 2, "{ended:?}");
    assert!(ended.err.contains("ffffffffffff"), "{ended:?}");
    let left = world.json(&["cache", "list"]).await;
    assert_eq!(self::keys(&left), keys[2..]);
    let verified = world.json(&["cache", "verify"]).await;
    assert_eq!(
        (&verified["blobs"], &verified["unneeded"]),
        (&json!(0), &json!(0))
    );

    let proxy = world.serve().await;
    proxy.ask(CHAT, &chat("the first")).await;
    assert_eq!(world.sandbox.bill().chat, 2, "a hit");
    proxy.ask(CHAT, &chat("the last")).await;
    assert_eq!(world.sandbox.bill().chat, 3, "forgotten");
}

#[tokio::test]
async fn a_running_job_is_not_removed() {
    let world = World::new().await;
    world
        .sandbox
        .set_job_time(std::time::Duration::from_hours(1));
    let proxy = world.serve().await;
    proxy.ask(crate::world::VIDEO, &video("a train")).await;
    let key = keys(&world.json(&["cache", "list"]).await).remove(0);
    let running = world.run(&["cache", "remove", &key]).await;
    assert_eq!(running.code, Some(1), "{running:?}");
    assert!(running.err.contains("jobs list"), "{running:?}");
    let path = format!("/api/cache/{key}");
    let refused = proxy.admin("DELETE", &path, &world.token(), "").await;
    assert_eq!(refused.error(), (409, "under_way".to_owned()));
    proxy.stop().await;
    let stopped = world.run(&["cache", "remove", &key]).await;
    assert_eq!((stopped.code, stopped.err), (running.code, running.err));
    assert_eq!(keys(&world.json(&["cache", "list"]).await), [key]);
}

#[tokio::test]
async fn a_key_means_one_or_none() {
    let (world, proxy) = filled().await;
    let key = keys(&world.json(&["cache", "list"]).await).remove(0);
    proxy.stop().await;
    // A file of the same beginning; what is in it does not matter.
    let twin = format!("{}{}", &key[..12], "0".repeat(52));
    let dir = world.data().join("generations").join(&key[..2]);
    std::fs::write(dir.join(format!("{twin}.gen")), "damaged").unwrap();
    let mut said = Vec::new();
    for online in [false, true] {
        let proxy = if online {
            Some(world.serve().await)
        } else {
            None
        };
        let mut ways = Vec::new();
        for verb in ["show", "remove"] {
            for digits in [&key[..10], "ffffffff", &key[..7], "../x y", "xyzxyzxyz"] {
                let ended = world.run(&["cache", verb, digits]).await;
                assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{digits}");
                let said = ended.err.lines().filter(|line| !line.contains(" WARN "));
                let said: Vec<String> = said.map(str::to_owned).collect();
                let several = *digits == key[..10];
                for one in [&key, &twin] {
                    let named = said.iter().any(|line| line.contains(one.as_str()));
                    assert_eq!(named, several, "{digits}: {ended:?}");
                }
                ways.push(said);
            }
        }
        said.push(ways);
        drop(proxy);
    }
    assert_eq!(said[0], said[1], "the same words in both ways");
    assert_eq!(
        world.run(&["cache", "show", &key[..13]]).await.code,
        Some(0)
    );
}

#[tokio::test]
async fn bad_usage_ends_with_2() {
    let world = World::new().await;
    for args in [
        &["cache"][..],
        &["cache", "lst"],
        &["cache", "list", "--kind", "films"],
        &["cache", "list", "--limit", "-1"],
        &["cache", "show"],
        &["cache", "show", "abcdabcd", "--body", "--json"],
        &["cache", "remove"],
        &["cache", "purge"],
        &["cache", "purge", "--json"],
        &["cache", "purge", "--yes", "--older-than", "old"],
        &["cache", "export"],
        &["cache", "import"],
        &["cache", "verify", "FILE"],
    ] {
        let ended = world.run(args).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert_eq!(ended.out, "", "{args:?}");
        assert!(!ended.err.is_empty(), "{args:?}");
    }
    assert!(!world.data().exists());
}

#[tokio::test]
async fn where_nothing_was_kept_nothing_is_made() {
    let world = World::new().await;
    for (args, code, out) in [
        (&["cache", "list", "--json"][..], 0, "[]\n"),
        (&["cache", "list"], 0, ""),
        (&["cache", "show", "abcdabcd"], 1, ""),
        (&["cache", "remove", "abcdabcd"], 1, "[]"),
        (
            &["cache", "purge", "--yes"],
            0,
            "0 generations forgotten, 0 B freed.\n",
        ),
        (
            &["cache", "verify"],
            0,
            "0 generations and 0 blobs are fine, 0 B read.\n",
        ),
        (&["cache", "export", "out.tar"], 1, ""),
    ] {
        let ended = world.run(args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.out == out || out == "[]", "{args:?}: {ended:?}");
        assert_eq!(
            ended.err.lines().count(),
            usize::from(code == 1),
            "{ended:?}"
        );
    }
    assert!(!world.data().exists() && !world.path("out.tar").exists());
    std::fs::create_dir(world.data()).unwrap();
    std::fs::write(world.data().join("thesis.txt"), "work").unwrap();
    let foreign = world.run(&["cache", "purge", "--yes"]).await;
    assert_eq!(foreign.code, Some(1), "{foreign:?}");
    assert!(foreign.err.contains("thesis.txt"), "{foreign:?}");
}

#[tokio::test]
async fn the_api_is_for_the_admin_and_reads_strictly() {
    let (world, proxy) = filled().await;
    let token = world.token();
    let key = keys(&world.json(&["cache", "list"]).await).remove(0);
    let one = format!("/api/cache/{key}");
    for (method, path) in [
        ("GET", "/api/cache"),
        ("GET", one.as_str()),
        ("DELETE", one.as_str()),
        ("POST", "/api/cache/purge"),
        ("POST", "/api/cache/verify"),
        ("GET", "/api/cache/export"),
        ("POST", "/api/cache/import"),
    ] {
        let stranger = proxy.admin(method, path, "guess", "{}").await;
        assert_eq!(
            stranger.error(),
            (401, "invalid_admin_token".to_owned()),
            "{path}"
        );
    }
    for (method, path, body, status, code) in [
        ("PUT", "/api/cache", "", 405, "method_not_allowed"),
        ("DELETE", "/api/cache", "", 405, "method_not_allowed"),
        ("GET", "/api/cache/purge", "", 405, "method_not_allowed"),
        ("POST", one.as_str(), "", 405, "method_not_allowed"),
        ("GET", "/api/cache?order=size", "", 400, "invalid_request"),
        ("POST", "/api/cache/purge", "", 400, "invalid_request"),
        (
            "POST",
            "/api/cache/purge",
            r#"{"all":true}"#,
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/api/cache/import",
            "no tar",
            400,
            "invalid_request",
        ),
        ("GET", "/api/cache/ffffffffff", "", 404, "not_kept"),
        ("GET", "/api/cache/abcd/body/x", "", 404, "not_found"),
    ] {
        let refused = proxy.admin(method, path, &token, body).await;
        assert_eq!(
            refused.error(),
            (status, code.to_owned()),
            "{method} {path}"
        );
    }
    assert_eq!(keys(&world.json(&["cache", "list"]).await).len(), 3);
}
