//! `reprise cache purge`: everything that is finished goes, and nothing else.

use std::time::Duration;

use serde_json::json;

use crate::call::soon;
use crate::kept::{LARGE, embedding, filled, keys};
use crate::world::{CHAT, EMBEDDINGS, IMAGES, VIDEO, World, chat, image, video};

#[tokio::test]
async fn what_runs_and_what_is_unknown_stays() {
    for online in [true, false] {
        let world = World::new().await;
        world.sandbox.set_job_time(Duration::from_hours(1));
        let unknown = world.leave_unknown(IMAGES, &image("a boat")).await;
        let proxy = world.serve().await;
        proxy.ask(VIDEO, &video("a train")).await;
        proxy.ask(CHAT, &chat("hello")).await;
        let proxy = if online {
            Some(proxy)
        } else {
            proxy.stop().await;
            None
        };
        let asked = world.run(&["cache", "purge"]).await;
        assert_eq!(asked.code, Some(2), "{asked:?}");
        assert!(asked.err.contains("--yes"), "{asked:?}");
        assert_eq!(keys(&world.json(&["cache", "list"]).await).len(), 2);

        let done = world.json(&["cache", "purge", "--yes"]).await;
        assert_eq!(done["generations"], 1, "{done}");
        assert_eq!((&done["running"], &done["unknown"]), (&json!(1), &json!(0)));
        assert!(done["bytes"].as_u64().unwrap() > 0, "{done}");
        let left = world.json(&["cache", "list"]).await;
        assert_eq!(left[0]["kind"], "video", "{left}");
        assert_eq!(left.as_array().unwrap().len(), 1);
        let jobs = world.json(&["jobs", "list"]).await;
        assert_eq!(jobs.as_array().unwrap().len(), 2, "{jobs}");
        assert!(jobs.to_string().contains(&unknown), "{jobs}");

        let proxy = match proxy {
            Some(proxy) => proxy,
            None => world.serve().await,
        };
        let bill = world.sandbox.bill();
        proxy.ask(VIDEO, &video("a train")).await;
        assert_eq!(proxy.ask(IMAGES, &image("a boat")).await.status, 409);
        assert_eq!(world.sandbox.bill(), bill, "nothing was paid for again");
        proxy.ask(CHAT, &chat("hello")).await;
        assert_eq!(world.sandbox.bill().chat, bill.chat + 1);
    }
}

#[tokio::test]
async fn a_kept_answer_beside_an_unknown_outcome_stays() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let picture =
        json!({"model": "gpt-image-1", "prompt": "a boat", "response_format": "b64_json"});
    assert_eq!(proxy.ask(IMAGES, &picture).await.status, 200);
    // A client insists on another run, and the proxy dies in the middle of it.
    let gate = world.sandbox.hold(&format!("POST {IMAGES}"));
    let mut again = proxy.post(IMAGES, &picture);
    let insists = http::HeaderValue::from_static("no-cache");
    again.headers_mut().insert("cache-control", insists);
    let lost = tokio::spawn(crate::call::try_send(again));
    soon(gate.arrived(1)).await;
    let key = keys(&world.json(&["cache", "list"]).await).remove(0);
    let refused = world.run(&["cache", "remove", &key]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("jobs resolve"), "{refused:?}");
    proxy.kill();
    assert!(lost.await.unwrap().is_err());
    gate.release();
    let stays = world.json(&["cache", "purge", "--yes"]).await;
    assert_eq!(
        (&stays["generations"], &stays["unknown"]),
        (&json!(0), &json!(1))
    );
    world.json(&["jobs", "resolve", &key, "--forget"]).await;
    let goes = world.json(&["cache", "purge", "--yes"]).await;
    assert_eq!(
        (&goes["generations"], &goes["unknown"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn only_what_is_meant_goes() {
    let (world, proxy) = filled().await;
    let purge = async |args: &[&str]| {
        let args: Vec<&str> = ["cache", "purge", "--yes"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        world.json(&args).await["generations"].clone()
    };
    for args in [&["--older-than", "1h"][..], &["--kind", "video"]] {
        assert_eq!(purge(args).await, 0, "{args:?}");
    }
    assert_eq!(purge(&["--kind", "chat", "--older-than", "100ms"]).await, 2);
    let left = world.json(&["cache", "list"]).await;
    assert_eq!(left[0]["kind"], "embeddings", "{left}");
    proxy.stop().await;
    assert_eq!(purge(&["--older-than", "1h"]).await, 0);
    let text = world.run(&["cache", "purge", "--yes"]).await.out;
    assert!(text.starts_with("1 generation forgotten, 29"), "{text}");
    assert!(LARGE > 290 * 1024 && text.contains("KiB freed"), "{text}");
    let blobs = crate::world::snapshot(&world.data().join("blobs"));
    assert_eq!(blobs.len(), 0, "its blob went with it");
}

/// Hits come and go while everything is forgotten again and again: each is answered whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_breaks_no_answer() {
    let (world, proxy) = filled().await;
    let token = world.token();
    let asking = async {
        for _ in 0..30 {
            let reply = proxy.ask(EMBEDDINGS, &embedding()).await;
            assert_eq!((reply.status, reply.body.len()), (200, LARGE + 40));
        }
    };
    let purging = async {
        for _ in 0..30 {
            let done = proxy.admin("POST", "/api/cache/purge", &token, "{}").await;
            let last = String::from_utf8(done.body.to_vec()).unwrap();
            assert!(last.contains(r#"{"done":{"generations":"#), "{last}");
        }
    };
    tokio::join!(asking, purging);
    let runs = world.sandbox.bill().embeddings;
    let report = world.json(&["cache", "verify"]).await;
    assert_eq!(report["faults"], 0, "{report}");
    proxy.ask(EMBEDDINGS, &embedding()).await;
    proxy.ask(EMBEDDINGS, &embedding()).await;
    assert!(
        world.sandbox.bill().embeddings <= runs + 1,
        "it is kept again"
    );
}
