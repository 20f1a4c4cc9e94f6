//! `reprise cache verify`, `export` and `import`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kept::{LARGE, embedding, filled, keys};
use crate::world::{CHAT, EMBEDDINGS, VIDEO, World, chat, snapshot, video};

#[tokio::test]
async fn what_was_exported_hits_elsewhere() {
    let (world, proxy) = filled().await;
    let list = world.json(&["cache", "list"]).await;
    let done = world.json(&["cache", "export", "live.tar"]).await;
    assert_eq!(
        (&done["generations"], &done["blobs"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(done["left_out"], 0);
    let token = world.token();
    proxy.stop().await;
    assert_eq!(world.json(&["cache", "export", "stopped.tar"]).await, done);
    let out = world.command(&["cache", "export", "-"]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    std::fs::write(world.path("out.tar"), &out.stdout).unwrap();
    for file in ["live.tar", "stopped.tar"] {
        let found = std::fs::metadata(world.path(file)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{file}");
    }

    let paid = world.sandbox.bill();
    for (n, file) in ["live.tar", "stopped.tar", "out.tar"].iter().enumerate() {
        let tar = std::fs::read(world.path(file)).unwrap();
        for secret in ["sk-upstream", token.as_str(), "secret of mine"] {
            let secret = secret.as_bytes();
            let shown = tar.windows(secret.len()).any(|bytes| bytes == secret);
            assert!(!shown, "{file} holds a secret");
        }
        let dir = world.path(&format!("other-{n}"));
        let dir = dir.to_str().unwrap();
        let env = [("REPRISE_DATA_DIR", dir)];
        // Into a running proxy, and where there is none and nothing yet.
        let early = if n == 0 {
            Some(world.serve_with(&env).await)
        } else {
            None
        };
        let import = ["cache", "import", file, "--data-dir", dir];
        let done = world.json(&import).await;
        let counts = |name: &str| done[name].as_u64().unwrap();
        assert_eq!(
            (counts("added"), counts("blobs"), counts("refused")),
            (3, 1, 0)
        );
        let again = world.json(&import).await;
        assert_eq!(
            (&again["added"], &again["already_here"]),
            (&json!(0), &json!(3))
        );
        let there = match early {
            Some(proxy) => proxy,
            None => world.serve_with(&env).await,
        };
        for (path, body) in [
            (CHAT, chat("the first")),
            (EMBEDDINGS, embedding()),
            (CHAT, chat("the last")),
        ] {
            let hit = there.ask(path, &body).await;
            assert!(hit.header("cache-status").contains("hit"), "{hit:?}");
        }
        let copied = world.json(&["cache", "list", "--data-dir", dir]).await;
        assert_eq!(keys(&copied), keys(&list));
    }
    assert_eq!(world.sandbox.bill(), paid, "nothing was paid for again");
}

#[tokio::test]
async fn a_file_that_is_there_is_not_replaced_unasked() {
    let (world, proxy) = filled().await;
    std::fs::write(world.path("mine.tar"), "mine").unwrap();
    for online in [true, false] {
        let refused = world.run(&["cache", "export", "mine.tar"]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains("--force"), "{refused:?}");
        let folder = world.run(&["cache", "export", "data", "--force"]).await;
        assert_eq!(folder.code, Some(1), "{folder:?}");
        assert_eq!(std::fs::read(world.path("mine.tar")).unwrap(), b"mine");
        let nowhere = world.run(&["cache", "export", "no/where.tar"]).await;
        assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
        if online {
            let token = world.token();
            let head = proxy.admin("HEAD", "/api/cache/export", &token, "").await;
            assert_eq!((head.status, head.body.len()), (200, 0));
        }
    }
    world
        .json(&["cache", "export", "mine.tar", "--force"])
        .await;
    assert!(std::fs::metadata(world.path("mine.tar")).unwrap().len() > LARGE as u64);
    let left: Vec<_> = std::fs::read_dir(world.path(".")).unwrap().collect();
    assert_eq!(left.len(), 2, "data and mine.tar: {left:?}");
}

/// Where in the file the body of the large answer stands.
fn inside_a_blob(tar: &[u8]) -> usize {
    tar.windows(64)
        .position(|bytes| bytes == [b'x'; 64])
        .unwrap()
        + 1_000
}

#[tokio::test]
async fn what_is_not_whole_gives_what_is_whole_in_it() {
    let (world, proxy) = filled().await;
    world.json(&["cache", "export", "good.tar"]).await;
    let good = std::fs::read(world.path("good.tar")).unwrap();
    let at = inside_a_blob(&good);
    let mut flipped = good.clone();
    flipped[at] ^= 1;
    std::fs::write(world.path("flipped.tar"), &flipped).unwrap();
    std::fs::write(world.path("cut.tar"), &good[..good.len() - 2_048]).unwrap();
    std::fs::write(world.path("torn.tar"), &good[..at]).unwrap();
    std::fs::write(world.path("zeros.tar"), vec![0; 12 << 20]).unwrap();
    std::fs::write(
        world.path("text.tar"),
        "what I did on my holidays\n".repeat(500_000),
    )
    .unwrap();
    std::fs::write(world.path("empty.tar"), "").unwrap();
    proxy.stop().await;
    for online in [false, true] {
        let dir = world.path(&format!("there-{online}"));
        let dir = dir.to_str().unwrap();
        let there = if online {
            Some(world.serve_with(&[("REPRISE_DATA_DIR", dir)]).await)
        } else {
            None
        };
        for (file, words) in [
            ("zeros.tar", "no export"),
            ("text.tar", "no export"),
            ("empty.tar", "no export"),
            ("torn.tar", "not whole"),
            ("flipped.tar", "refused"),
            ("cut.tar", "not whole"),
            ("none.tar", "none.tar"),
            (".", "cannot read"),
        ] {
            let ended = world
                .run(&["cache", "import", file, "--data-dir", dir])
                .await;
            assert_eq!(ended.code, Some(1), "{online} {file}: {ended:?}");
            assert_eq!(ended.err.lines().count(), 1, "{online} {file}: {ended:?}");
            assert!(ended.err.contains(words), "{online} {file}: {ended:?}");
        }
        let all = world.json(&["cache", "list", "--data-dir", dir]).await;
        assert_eq!(keys(&all).len(), 3, "only the end was missing");
        let report = world.json(&["cache", "verify", "--data-dir", dir]).await;
        assert_eq!(
            (&report["faults"], &report["unneeded"]),
            (&json!(0), &json!(0))
        );
        drop(there);
    }
}

/// The file below the folder whose name begins so.
fn large_blob(data: &Path) -> std::path::PathBuf {
    let blobs = snapshot(&data.join("blobs"));
    blobs.into_keys().next().unwrap()
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_nothing_is_changed() {
    let (world, proxy) = filled().await;
    let fine = world.run(&["cache", "verify"]).await;
    assert_eq!((fine.code, fine.err.as_str()), (Some(0), ""), "{fine:?}");
    assert!(
        fine.out.starts_with("3 generations and 1 blobs"),
        "{fine:?}"
    );
    let blob = large_blob(&world.data());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[LARGE / 2] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let running = world.run(&["cache", "verify"]).await;
    assert_eq!(running.code, Some(1), "{running:?}");
    assert!(running.out.contains(blob.to_str().unwrap()), "{running:?}");
    assert_eq!(running.err.lines().count(), 1, "{running:?}");
    let export = world.run(&["cache", "export", "rest.tar", "--json"]).await;
    assert_eq!(export.code, Some(0), "{export:?}");
    assert!(export.err.contains("1 generation left out"), "{export:?}");

    proxy.stop().await;
    let before = snapshot(&world.data().join("generations"));
    let stopped = world.run(&["cache", "verify"]).await;
    assert_eq!((stopped.code, stopped.out), (running.code, running.out));
    let key = before.keys().next().unwrap();
    std::fs::write(key, "torn").unwrap();
    let report = world.run(&["cache", "verify", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(report["faults"], 2, "{report}");
    let files: Vec<&str> = report["damages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|damage| damage["file"].as_str().unwrap())
        .collect();
    assert!(files.contains(&key.to_str().unwrap()), "{report}");
    assert!(blob.exists() && key.exists(), "nothing is changed");
    for damage in report["damages"].as_array().unwrap() {
        let key = damage["key"].as_str().unwrap();
        let removed = world.run(&["cache", "remove", key]).await;
        assert_eq!(removed.code, Some(0), "{removed:?}");
    }
    let report = world.json(&["cache", "verify"]).await;
    assert_eq!(
        (&report["faults"], &report["generations"]),
        (&json!(0), &json!(1))
    );
}

/// Clients that take an export and stop reading have places; when they go, the places are free.
#[tokio::test]
async fn an_export_ends_with_its_client() {
    let (world, proxy) = filled().await;
    // More than sockets and pipes hold.
    let large = json!({"data": [], "padding": "y".repeat(12 << 20)}).to_string();
    world
        .sandbox
        .on("POST /v1/rerank")
        .answer_billed(200, "application/json", large);
    let body = json!({"model": "rerank", "query": "q", "documents": ["d"]});
    assert_eq!(proxy.ask("/v1/rerank", &body).await.status, 200);
    let (token, host) = (world.token(), proxy.url("").replace("http://", ""));
    let text = format!(
        "GET /api/cache/export HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = tokio::net::TcpStream::connect(&host).await.unwrap();
        reader.write_all(text.as_bytes()).await.unwrap();
        let mut first = [0; 15];
        crate::call::soon(reader.read_exact(&mut first))
            .await
            .unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        readers.push(reader);
    }
    let full = proxy.admin("GET", "/api/cache", &token, "").await;
    assert_eq!(full.error(), (503, "server_busy".to_owned()));
    drop(readers);
    crate::call::soon(async {
        while proxy.admin("GET", "/api/cache", &token, "").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let said = proxy.stop().await;
    assert!(!said.contains("ERROR"), "{said}");
}

#[tokio::test]
async fn an_import_that_breaks_off_keeps_what_was_whole() {
    let (world, proxy) = filled().await;
    world.json(&["cache", "export", "all.tar"]).await;
    let tar = std::fs::read(world.path("all.tar")).unwrap();
    world.json(&["cache", "purge", "--yes"]).await;
    let (token, host) = (world.token(), proxy.url("").replace("http://", ""));
    // It promises more than it sends, and goes.
    let head = format!(
        "POST /api/cache/import HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n",
        tar.len()
    );
    let mut sender = tokio::net::TcpStream::connect(&host).await.unwrap();
    sender.write_all(head.as_bytes()).await.unwrap();
    sender.write_all(&tar[..tar.len() - 3_000]).await.unwrap();
    drop(sender);
    crate::call::soon(async {
        while keys(&world.json(&["cache", "list"]).await).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let report = world.json(&["cache", "verify"]).await;
    assert_eq!(report["faults"], 0, "{report}");
    let all = world.json(&["cache", "import", "all.tar"]).await;
    let came = all["added"].as_u64().unwrap() + all["already_here"].as_u64().unwrap();
    assert_eq!((came, &all["refused"]), (3, &json!(0)), "{all}");
}

#[tokio::test]
async fn a_finished_video_is_carried_with_its_file() {
    let world = World::new().await;
    let allow = ("REPRISE_MEDIA__ALLOW", "127.0.0.0/8");
    let proxy = world.serve_with(&[allow]).await;
    let task = proxy.ask(VIDEO, &video("a train")).await.json()["task_id"].clone();
    world.sandbox.finish_jobs();
    let poll = format!("{VIDEO}/{}", task.as_str().unwrap());
    let key = keys(&world.json(&["cache", "list"]).await).remove(0);
    let shown = crate::call::soon(async {
        loop {
            proxy.get(&poll).await;
            let shown = world.json(&["cache", "show", &key]).await;
            if shown["media"][0]["state"] == "kept" {
                break shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(shown["task"]["state"], "succeeded", "{shown}");
    let link = shown["media"][0]["link"].as_str().unwrap().to_owned();
    let bytes = proxy.get(&link).await.body;
    assert_eq!(shown["media"][0]["bytes"], bytes.len(), "{shown}");
    world.json(&["cache", "export", "all.tar"]).await;
    proxy.stop().await;

    let asked = world.sandbox.requests().len();
    let there = [("REPRISE_DATA_DIR", "elsewhere"), allow];
    let there = world.serve_with(&there).await;
    world
        .json(&["cache", "import", "all.tar", "--data-dir", "elsewhere"])
        .await;
    assert_eq!(there.get(&link).await.body, bytes);
    let submit = there.ask(VIDEO, &video("a train")).await;
    assert!(submit.header("cache-status").contains("hit"), "{submit:?}");
    let status = there.get(&poll).await;
    assert!(status.header("cache-status").contains("hit"), "{status:?}");
    assert!(
        String::from_utf8_lossy(&status.body).contains(&link),
        "{status:?}"
    );
    assert_eq!(
        world.sandbox.requests().len(),
        asked,
        "upstream heard nothing"
    );
}
