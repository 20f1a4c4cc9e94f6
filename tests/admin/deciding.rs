//! `reprise jobs resolve`: each decision, at a running proxy and without one.

use std::time::Duration;

use serde_json::json;

use crate::call::{soon, try_send};
use crate::world::{IMAGES, VIDEO, World, image, video};

#[tokio::test]
async fn what_is_given_up_runs_again_once() {
    for (online, flag, action) in [
        (false, "--rerun", "rerun"),
        (false, "--forget", "forget"),
        (true, "--rerun", "rerun"),
        (true, "--forget", "forget"),
    ] {
        let world = World::new().await;
        let key = world.leave_unknown(IMAGES, &image("a boat")).await;
        let done = json!({"key": key, "kind": "images", "action": action, "task_id": null});
        let proxy = if online {
            let proxy = world.serve().await;
            let refused = proxy.ask(IMAGES, &image("a boat")).await;
            assert_eq!(refused.error(), (409, "outcome_unknown".to_owned()));
            let message = refused.json()["error"]["message"].to_string();
            assert!(message.contains(&format!("reprise jobs resolve {}", &key[..16])));
            let resolved = world.json(&["jobs", "resolve", &key[..16], flag]).await;
            assert_eq!(resolved, done);
            proxy
        } else {
            let resolved = world.json(&["jobs", "resolve", &key, flag]).await;
            assert_eq!(resolved, done);
            assert_eq!(world.states(true).await, [""; 0]);
            world.serve().await
        };
        assert_eq!(world.states(true).await, [""; 0]);
        assert_eq!(world.sandbox.bill().images, 1, "deciding runs nothing");
        for expected in ["fwd=miss; stored", "hit; key="] {
            let answer = proxy.ask(IMAGES, &image("a boat")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let status = answer.header("cache-status");
            assert!(status.contains(expected), "{flag} {online}: {status}");
        }
        assert_eq!(world.sandbox.bill().images, 2);
        let again = world.run(&["jobs", "resolve", &key, flag]).await;
        assert_eq!(again.code, Some(1), "{again:?}");
        let said = proxy.stop().await;
        let line = format!("decision=\"{action}\"");
        assert_eq!(said.contains(&line), online, "{said}");
    }
}

#[tokio::test]
async fn a_job_that_was_found_is_taken_up() {
    for online in [false, true] {
        let world = World::new().await;
        world.sandbox.set_job_time(Duration::from_hours(1));
        let key = world.leave_unknown(VIDEO, &video("a train")).await;
        // What the person finds upstream: the sandbox tells ids to those who submit.
        let found = crate::call::send(crate::call::request(
            "POST",
            &format!("{}/video/generations", world.sandbox.base_url()),
            &[("authorization", "Bearer x")],
            &video("a train").to_string(),
        ))
        .await;
        let task = found.json()["task_id"].as_str().unwrap().to_owned();
        let resolve = ["jobs", "resolve", &key[..8], "--task", &task];
        let proxy = if online {
            let proxy = world.serve().await;
            world.json(&resolve).await;
            proxy
        } else {
            world.json(&resolve).await;
            world.serve().await
        };
        let jobs = world.json(&["jobs", "list"]).await;
        assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
        assert_eq!(jobs[0]["state"], "running");
        assert_eq!(jobs[0]["task_id"], task.as_str());
        assert_eq!(jobs[0]["key"], key.as_str());

        let submit = proxy.ask(VIDEO, &video("a train")).await;
        let answer = json!({
            "id": task, "task_id": task, "object": "video", "status": "queued",
            "model": "doubao-seedance-2-0-720p",
        });
        assert_eq!((submit.status, submit.json()), (200, answer));
        assert_eq!(
            submit.header("cache-status"),
            "reprise; fwd=miss; collapsed"
        );
        assert_eq!(submit.header("content-type"), "application/json");

        world.sandbox.finish_jobs();
        let poll = proxy.get(&format!("{VIDEO}/{task}")).await;
        assert_eq!(poll.json()["data"]["status"], "SUCCESS", "{poll:?}");
        let kept = proxy.get(&format!("{VIDEO}/{task}")).await;
        assert!(kept.header("cache-status").contains("hit"), "{kept:?}");
        let hit = proxy.ask(VIDEO, &video("a train")).await;
        assert!(hit.header("cache-status").contains("hit"), "{hit:?}");
        assert_eq!(world.states(true).await, ["succeeded"]);
        assert_eq!(
            world.sandbox.bill().video,
            2,
            "the lost one and the found one"
        );
    }
}

/// The proxy itself asks for a job that was taken up, and shows what it knows of it.
#[tokio::test]
async fn a_job_that_was_taken_up_is_followed() {
    let world = World::new().await;
    world.sandbox.set_job_time(Duration::from_hours(1));
    let key = world.leave_unknown(VIDEO, &video("a train")).await;
    let found = crate::call::send(crate::call::request(
        "POST",
        &format!("{}/video/generations", world.sandbox.base_url()),
        &[("authorization", "Bearer x")],
        &video("a train").to_string(),
    ))
    .await;
    let task = found.json()["task_id"].as_str().unwrap().to_owned();
    let proxy = world
        .serve_with(&[("REPRISE_JOBS__POLL_INTERVAL", "100ms")])
        .await;
    world
        .json(&["jobs", "resolve", &key[..8], "--task", &task])
        .await;
    let route = format!("GET {VIDEO}/{task}");
    let asked = async {
        while world.sandbox.count(&route) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(asked).await;
    let shown = world.json(&["jobs", "show", &task]).await;
    assert_eq!(
        (&shown["state"], &shown["progress"]),
        (&json!("running"), &json!(0))
    );
    assert!(shown["next_poll_at"].is_string(), "{shown}");
    let text = world.run(&["jobs", "show", &task]).await.out;
    assert!(
        text.contains("progress 0 %\n") && text.contains("asked    again at 20"),
        "{text}"
    );

    world.sandbox.finish_jobs();
    let ended = async {
        while world.states(true).await != ["succeeded"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(ended).await;
    // Its file is looked at behind the end: `media` of a job stands still only afterwards.
    let looked_at = async {
        loop {
            let shown = world.json(&["jobs", "show", &task]).await;
            if shown["media"][0]["state"] != "wanted" {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let shown = soon(looked_at).await;
    assert!(shown["next_poll_at"].is_null(), "{shown}");
    proxy.stop().await;
    assert!(shown["age_seconds"].is_u64(), "{shown}");
    let stopped = world.json(&["jobs", "show", &task]).await;
    assert_eq!(stopped, shown, "the same without a proxy");
}

/// However late the decision comes: a job that was found has not been silent since its submit.
#[tokio::test]
async fn an_old_note_can_be_resolved_too() {
    let world = World::new().await;
    world.serve().await.stop().await;
    std::fs::write(world.path("body.json"), video("a train").to_string()).unwrap();
    let named = world.run(&["cache", "key", VIDEO, "body.json"]).await;
    let key = named.out.trim_end();
    let intent = json!({
        "format": 1, "key": key, "kind": "video", "path": VIDEO, "client": "local",
        "started_at": "2026-01-01T00:00:00Z", "state": "pending",
    });
    let path = world.data().join("pending").join(format!("{key}.json"));
    std::fs::write(path, intent.to_string()).unwrap();
    let proxy = world.serve().await;
    let refused = proxy.ask(VIDEO, &video("a train")).await;
    assert_eq!(refused.error(), (409, "outcome_unknown".to_owned()));
    let resolve = ["jobs", "resolve", key, "--task", "task_1"];
    world.json(&resolve).await;
    let joined = proxy.ask(VIDEO, &video("a train")).await;
    assert_eq!(
        (joined.status, &joined.json()["id"]),
        (200, &json!("task_1"))
    );
    assert_eq!(world.sandbox.bill().video, 0);
}

#[tokio::test]
async fn a_task_stands_only_for_a_video() {
    let world = World::new().await;
    let key = world.leave_unknown(IMAGES, &image("a boat")).await;
    let resolve = ["jobs", "resolve", &key, "--task", "task_1"];
    let stopped = world.run(&resolve).await;
    assert_eq!(stopped.code, Some(1));
    let _proxy = world.serve().await;
    let running = world.run(&resolve).await;
    assert_eq!(running.code, Some(1));
    for ended in [&stopped, &running] {
        assert!(ended.err.contains("no video job (images)"), "{ended:?}");
    }
    assert_eq!(stopped.err, running.err, "the same words in both ways");
    assert_eq!(world.states(false).await, ["unknown"]);
}

#[tokio::test]
async fn a_call_that_is_under_way_cannot_be_resolved() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let gate = world.sandbox.hold(&format!("POST {IMAGES}"));
    let asked = tokio::spawn(try_send(proxy.post(IMAGES, &image("a boat"))));
    soon(gate.arrived(1)).await;
    let jobs = world.json(&["jobs", "list"]).await;
    let key = jobs[0]["key"].as_str().unwrap();
    for flag in ["--rerun", "--forget"] {
        let refused = world.run(&["jobs", "resolve", key, flag]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains("is under way"), "{refused:?}");
    }
    assert_eq!(world.states(false).await, ["pending"]);
    gate.release();
    assert_eq!(asked.await.unwrap().unwrap().status, 200);
    assert_eq!(world.states(false).await, [""; 0]);
    assert_eq!(world.sandbox.bill().images, 1);
}

/// A run whose outcome became unknown while the proxy lives, and the client's own way out of it.
#[tokio::test]
async fn an_unknown_outcome_of_a_living_proxy_is_resolved_too() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let route = format!("POST {IMAGES}");
    world.sandbox.on(&route).close_before_head().times(1);
    let broken = proxy.ask(IMAGES, &image("a boat")).await;
    assert_eq!(broken.error(), (502, "upstream_outcome_unknown".to_owned()));
    let jobs = world.json(&["jobs", "list"]).await;
    assert_eq!(jobs[0]["state"], "unknown", "{jobs}");
    let key = jobs[0]["key"].as_str().unwrap();
    world.json(&["jobs", "resolve", key, "--rerun"]).await;
    let answer = proxy.ask(IMAGES, &image("a boat")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(world.states(true).await, [""; 0]);
}
