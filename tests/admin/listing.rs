//! `reprise jobs list` and `show`: the same at a running proxy and without one.

use std::time::Duration;

use crate::call::{soon, try_send};
use crate::world::{IMAGES, VIDEO, World, image, snapshot, video};

#[tokio::test]
async fn a_killed_run_is_unknown_with_and_without_a_proxy() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let gate = world.sandbox.hold(&format!("POST {IMAGES}"));
    let first = tokio::spawn(try_send(proxy.post(IMAGES, &image("a boat"))));
    soon(gate.arrived(1)).await;
    let second = tokio::spawn(try_send(proxy.post(IMAGES, &image("a boat"))));
    let pending = soon(async {
        loop {
            let jobs = world.json(&["jobs", "list"]).await;
            if jobs[0]["callers"] == 2 {
                break jobs;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(pending.as_array().unwrap().len(), 1, "{pending}");
    assert_eq!(pending[0]["state"], "pending");
    let key = pending[0]["key"].as_str().unwrap().to_owned();

    proxy.kill();
    assert!(first.await.unwrap().is_err());
    assert!(second.await.unwrap().is_err());
    let lock = std::fs::read_to_string(world.data().join("LOCK")).unwrap();
    assert!(lock.contains("on http://127.0.0.1:"), "{lock}");

    let before = snapshot(&world.data());
    let stopped = world.json(&["jobs", "list"]).await;
    let job = &stopped[0];
    let fields: Vec<&str> = job
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let promised = [
        "callers",
        "client",
        "key",
        "kind",
        "model",
        "started_at",
        "state",
        "task_id",
    ];
    assert_eq!(fields, promised, "{stopped}");
    assert_eq!(job["key"], key.as_str());
    assert_eq!(job["state"], "unknown");
    assert_eq!(job["kind"], "images");
    assert_eq!(job["model"], "grok-imagine-image");
    assert_eq!(job["client"], "local");
    assert_eq!(job["callers"], 1);
    assert!(job["task_id"].is_null(), "{job}");
    let started: jiff::Timestamp = job["started_at"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(started).as_secs() < 60);
    assert!(job["started_at"].as_str().unwrap().ends_with('Z'), "{job}");
    let shown = world.json(&["jobs", "show", &key[..6]]).await;
    assert_eq!(shown["path"], IMAGES);
    assert!(shown["reason"].is_string(), "{shown}");
    assert_eq!(snapshot(&world.data()), before, "looking changes nothing");

    let _proxy = world.serve().await;
    let running = world.json(&["jobs", "list"]).await;
    assert_eq!(running, stopped);
    let mut again = world.json(&["jobs", "show", &key]).await;
    // A second may have passed.
    again["age_seconds"] = shown["age_seconds"].clone();
    assert_eq!(again, shown);
    for list in [running, world.json(&["jobs", "list", "--all"]).await] {
        assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    }
    assert_eq!(world.sandbox.bill().images, 1);
}

#[tokio::test]
async fn a_job_is_listed_while_it_runs_and_among_all_afterwards() {
    let world = World::new().await;
    world.sandbox.set_job_time(Duration::from_hours(1));
    let proxy = world.serve().await;
    let submit = proxy.ask(VIDEO, &video("a train")).await;
    let task = submit.json()["task_id"].as_str().unwrap().to_owned();
    proxy.ask(VIDEO, &video("a train")).await;

    let jobs = world.json(&["jobs", "list"]).await;
    assert_eq!(jobs[0]["state"], "running", "{jobs}");
    assert_eq!(jobs[0]["task_id"], task.as_str());
    assert_eq!(jobs[0]["callers"], 2);
    assert_eq!(jobs[0]["kind"], "video");

    world.sandbox.finish_jobs();
    proxy.get(&format!("{VIDEO}/{task}")).await;
    assert_eq!(world.states(false).await, [""; 0]);
    assert_eq!(world.states(true).await, ["succeeded"]);
    let shown = world.json(&["jobs", "show", &task]).await;
    assert!(shown["ended_at"].is_string(), "{shown}");
    proxy.stop().await;
    assert_eq!(world.states(false).await, [""; 0]);
    assert_eq!(world.states(true).await, ["succeeded"]);
    let stopped = world.json(&["jobs", "show", &task]).await;
    assert_eq!(stopped["ended_at"], shown["ended_at"]);
    assert_eq!(world.sandbox.bill().video, 1);
}

#[tokio::test]
async fn a_job_began_once_however_far_it_is() {
    let world = World::new().await;
    world.sandbox.set_job_time(Duration::from_hours(1));
    let proxy = world.serve().await;
    let gate = world.sandbox.hold(&format!("POST {VIDEO}"));
    let submit = tokio::spawn(try_send(proxy.post(VIDEO, &video("a train"))));
    soon(gate.arrived(1)).await;
    let pending = world.json(&["jobs", "list"]).await[0].take();
    assert_eq!(pending["state"], "pending");
    // Long enough to tell the two moments apart.
    tokio::time::sleep(Duration::from_millis(20)).await;
    gate.release();
    let submit = submit.await.unwrap().unwrap();
    let running = world.json(&["jobs", "list"]).await[0].take();
    assert_eq!(running["state"], "running");
    assert_eq!(running["started_at"], pending["started_at"]);
    world.sandbox.finish_jobs();
    let task = submit.json()["task_id"].as_str().unwrap().to_owned();
    proxy.get(&format!("{VIDEO}/{task}")).await;
    let ended = world.json(&["jobs", "list", "--all"]).await[0].take();
    assert_eq!(ended["state"], "succeeded");
    assert_eq!(ended["started_at"], pending["started_at"]);
}

/// Nobody who asks is asked about it, but what is dear is shown to who decides.
#[tokio::test]
async fn what_is_passed_by_is_pending_then_unknown_and_can_be_forgotten() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let gate = world.sandbox.hold(&format!("POST {IMAGES}"));
    let mut call = proxy.post(IMAGES, &image("a boat"));
    let directive = http::HeaderValue::from_static("no-store");
    call.headers_mut().insert("cache-control", directive);
    let first = tokio::spawn(try_send(call));
    soon(gate.arrived(1)).await;
    let pending = world.json(&["jobs", "list"]).await[0].take();
    assert_eq!(pending["state"], "pending", "{pending}");
    let key = pending["key"].as_str().unwrap().to_owned();
    let busy = world.run(&["jobs", "resolve", &key, "--forget"]).await;
    assert_eq!(busy.code, Some(1), "{busy:?}");
    proxy.kill();
    assert!(first.await.unwrap().is_err());
    gate.release();

    let _proxy = world.serve().await;
    let unknown = world.json(&["jobs", "list"]).await[0].take();
    assert_eq!(unknown["state"], "unknown", "{unknown}");
    assert_eq!(unknown["key"], pending["key"]);
    let shown = world.json(&["jobs", "show", &key]).await;
    assert_eq!(shown["passed_by"], true, "{shown}");
    let forgotten = world.run(&["jobs", "resolve", &key, "--forget"]).await;
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    assert_eq!(world.states(true).await, [""; 0]);
}

#[tokio::test]
async fn what_people_read_has_a_line_for_each_job() {
    let world = World::new().await;
    let key = world.leave_unknown(IMAGES, &image("a\u{1b}[2J")).await;
    let list = world.run(&["jobs", "list"]).await;
    let cells: Vec<&str> = list.out.trim_end().split('\t').collect();
    assert_eq!(list.out.lines().count(), 1, "{list:?}");
    assert_eq!(cells[..3], [&key[..16], "unknown", "images"]);
    let shown = world.run(&["jobs", "show", &key]).await;
    assert!(
        shown.out.contains(&format!("key      {key}\n")),
        "{shown:?}"
    );
    let advice = format!("reprise jobs resolve {}", &key[..16]);
    assert!(shown.out.contains(&advice), "{shown:?}");
}

#[tokio::test]
async fn where_nothing_was_kept_nothing_is_listed_or_made() {
    let world = World::new().await;
    assert_eq!(world.states(true).await, [""; 0]);
    let ended = world.run(&["jobs", "list"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
    let show = world.run(&["jobs", "show", "task_1"]).await;
    assert_eq!(show.code, Some(1));
    let resolve = world.run(&["jobs", "resolve", "abcd", "--rerun"]).await;
    assert_eq!(resolve.code, Some(1));
    assert!(!world.data().exists());
    // Another folder by flag, before and behind the command.
    let other = world.path("other");
    let other = other.to_str().unwrap();
    for args in [
        ["jobs", "--data-dir", other, "list", "--json"],
        ["jobs", "list", "--data-dir", other, "--json"],
        ["--data-dir", other, "jobs", "list", "--json"],
    ] {
        let ended = world.run(&args).await;
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(0), "[]\n"),
            "{args:?}"
        );
    }
    assert!(!world.path("other").exists());
    std::fs::create_dir(world.path("other")).unwrap();
    std::fs::write(world.path("other/thesis.txt"), "work").unwrap();
    let foreign = world.run(&["jobs", "list", "--data-dir", other]).await;
    assert_eq!(foreign.code, Some(1), "{foreign:?}");
    assert!(foreign.err.contains("thesis.txt"), "{foreign:?}");
}
