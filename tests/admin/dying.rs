//! `kill -9` in the middle of an import and of a purge costs nothing else, and who stops an export finds
//! no part of it.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kept::{filled, keys};
use crate::world::{CHAT, World, chat, snapshot};

/// How many generation files there are.
fn count(world: &World, dir: &str) -> usize {
    let folder = world.path(dir).join("generations");
    if folder.exists() {
        snapshot(&folder).len()
    } else {
        0
    }
}

/// Waits for what a child of ours does to the files.
async fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + crate::call::PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "it never happened");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn in_the_middle_of_an_import() {
    let (world, proxy) = filled().await;
    world.json(&["cache", "export", "all.tar"]).await;
    proxy.stop().await;
    let tar = std::fs::read(world.path("all.tar")).unwrap();
    let mut importing = world
        .command(&["cache", "import", "-", "--data-dir", "other"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The end of the archive and one block of its last generation are yet to come.
    let mut input = importing.stdin.take().unwrap();
    let part = tar.len() - 2_048 - 512;
    input.write_all(&tar[..part]).unwrap();
    input.flush().unwrap();
    until(|| count(&world, "other") >= 1).await;
    importing.kill().unwrap();
    importing.wait().unwrap();
    let other = ["--data-dir", "other"];
    let run = async |args: &[&str]| {
        let args: Vec<&str> = args.iter().chain(&other).copied().collect();
        world.json(&args).await
    };
    let before = keys(&run(&["cache", "list"]).await).len();
    assert!((1..3).contains(&before), "{before}");
    assert_eq!(run(&["cache", "verify"]).await["faults"], 0);
    let done = run(&["cache", "import", "all.tar"]).await;
    assert_eq!(done["already_here"], before, "{done}");
    assert_eq!(done["added"], 3 - before, "{done}");
    assert_eq!(keys(&run(&["cache", "list"]).await).len(), 3);
}

#[tokio::test]
async fn in_the_middle_of_a_purge() {
    const MANY: usize = 150;
    let world = World::new().await;
    let proxy = world.serve().await;
    for n in 0..MANY {
        let reply = proxy.ask(CHAT, &chat(&format!("question {n}"))).await;
        assert_eq!(reply.status, 200);
    }
    let kept = keys(&world.json(&["cache", "list"]).await);
    assert_eq!(kept.len(), MANY);
    proxy.stop().await;
    let mut purging = world
        .command(&["cache", "purge", "--yes"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until(|| count(&world, "data") < MANY).await;
    purging.kill().unwrap();
    purging.wait().unwrap();
    let left = count(&world, "data");
    let report = world.json(&["cache", "verify"]).await;
    assert_eq!(
        (&report["faults"], &report["generations"]),
        (&json!(0), &json!(left))
    );
    let list = keys(&world.json(&["cache", "list"]).await);
    assert_eq!(list.len(), left);
    assert!(list.iter().all(|key| kept.contains(key)));

    let proxy = world.serve().await;
    for n in 0..MANY {
        assert_eq!(
            proxy
                .ask(CHAT, &chat(&format!("question {n}")))
                .await
                .status,
            200
        );
    }
    let again = MANY - left;
    assert_eq!(
        world.sandbox.bill().chat,
        (MANY + again) as u64,
        "what is left hits"
    );
}

#[tokio::test]
async fn a_stopped_export_leaves_no_part() {
    let (world, proxy) = filled().await;
    let large = json!({"data": [], "padding": "y".repeat(24 << 20)}).to_string();
    let answers = world.sandbox.on("POST /v1/rerank");
    answers.answer_billed(200, "application/json", large);
    let body = json!({"model": "rerank", "query": "q", "documents": ["d"]});
    assert_eq!(proxy.ask("/v1/rerank", &body).await.status, 200);
    let names = || {
        let files = std::fs::read_dir(world.path(".")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "data").collect::<Vec<_>>()
    };
    let mut exporting = world.command(&["cache", "export", "all.tar"]);
    let mut exporting = exporting.stderr(Stdio::piped()).spawn().unwrap();
    until(|| !names().is_empty()).await;
    let pid = exporting.id().to_string();
    let sent = std::process::Command::new("kill").arg(&pid).status();
    assert!(sent.unwrap().success());
    let ended = tokio::task::spawn_blocking(move || exporting.wait().unwrap());
    let code = crate::call::soon(ended).await.unwrap().code();
    // It may have been done just before.
    match code {
        Some(0) => assert_eq!(names(), ["all.tar"]),
        code => assert_eq!((code, names()), (Some(1), Vec::new())),
    }
    let report = world.json(&["cache", "verify"]).await;
    assert_eq!(report["faults"], 0, "{report}");
    proxy.stop().await;
}
