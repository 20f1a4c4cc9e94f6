//! Jobs and other things, by the id in an address.

use serde_json::{Value, json};

use super::*;
use crate::house::files_below;

#[tokio::test]
async fn a_job_stays_its_clients_whatever_became_of_it() {
    let mut house = House::new().config(apart).await;
    let mut jobs = vec![
        ("kept", made(&house, "/v1/videos", &video("kept")).await),
        (
            "failed",
            made(&house, "/v1/videos", &video("x [fail]")).await,
        ),
        (
            "another path",
            made(&house, "/v1/video/generations", &video("g")).await,
        ),
        (
            "deleted",
            made(&house, "/v1/videos", &video("deleted")).await,
        ),
    ];
    let passed = house.client().post("/v1/videos").key(ANNA);
    let passed = passed.cache_control("no-store").json(&video("not kept"));
    jobs.push(("not kept", task(&passed.send().await)));
    let of_a_remix = format!("/v1/videos/{}/remix", jobs[0].1);
    jobs.push((
        "remixed",
        made(&house, &of_a_remix, &json!({"prompt": "again"})).await,
    ));
    house.sandbox.finish_jobs();
    for (_, id) in &jobs {
        assert_seen(&house, id, "at the end").await;
    }
    let deleted = r#"{"object":"video.deleted","deleted":true}"#;
    house
        .sandbox
        .on("DELETE /v1/videos")
        .answer(200, "application/json", deleted);
    let gone = format!("/v1/videos/{}", jobs[3].1);
    let answer = house
        .client()
        .call(hyper::Method::DELETE, &gone)
        .key(ANNA)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    let billed = house.billed();
    for (when, id) in &jobs {
        assert_all_hidden(&house, id, when).await;
    }

    // A restart without the index, and without anything that was kept.
    house.shutdown().await;
    std::fs::remove_dir_all(house.data_dir().join("index")).unwrap();
    for file in files_below(&house.data_dir().join("generations")) {
        std::fs::remove_file(file).unwrap();
    }
    house.start().await;
    assert_eq!(house.report().generations, 0);
    for (when, id) in &jobs {
        let when = format!("{when}, after a restart");
        let (what, call) = calls(&house, id).swap_remove(0);
        assert_hidden(&house, call.key(BEN), &format!("{when}: {what}")).await;
        assert_seen(&house, id, &when).await;
    }
    assert_eq!(house.billed(), billed, "nothing of it was paid for");
    let unknown = house
        .client()
        .get("/v1/videos/task_of_nobody")
        .key(BEN)
        .send()
        .await;
    assert_eq!(unknown.json()["code"], "task_not_exist", "upstream says so");
}

#[tokio::test]
async fn a_job_that_is_never_kept_has_an_owner() {
    let mut house = House::new().config(apart_and_keeping_no_videos).await;
    let id = made(&house, "/v1/videos", &video("passed by")).await;
    assert_all_hidden(&house, &id, "mode off").await;
    house.restart().await;
    assert_all_hidden(&house, &id, "mode off, restarted").await;
    assert_seen(&house, &id, "mode off").await;
}

#[tokio::test]
async fn where_everything_is_shared_nothing_is_hidden() {
    let house = House::new().config(anna_and_ben).await;
    let id = made(&house, "/v1/videos", &video("shared [fail]")).await;
    house.sandbox.finish_jobs();
    for key in [ANNA, BEN] {
        let poll = house.client().get(&format!("/v1/videos/{id}")).key(key);
        assert_eq!(poll.send().await.status, 200);
    }
    let listed = r#"{ "object":"list","data":[{"id":"task_of_somebody"}], "total":1 }"#;
    let json = "application/json";
    house.sandbox.on("GET /v1/videos").answer(200, json, listed);
    let list = house.client().get("/v1/videos").key(BEN).send().await;
    assert_eq!(list.text(), listed, "byte for byte");
}

/// A POST, what upstream answers to it, and where the thing can be asked for then.
const THINGS: [(&str, &str, &str); 6] = [
    (
        "/v1/files",
        r#"{"id":"file-abc123","object":"file"}"#,
        "/v1/files/file-abc123/content",
    ),
    (
        "/v1/batches",
        r#"{"id":"batch_abc123"}"#,
        "/v1/batches/batch_abc123",
    ),
    (
        "/v1/responses",
        r#"{"id":"resp_abc123","object":"response","status":"completed"}"#,
        "/v1/responses/resp_abc123",
    ),
    (
        "/v1/conversations",
        r#"{"id":"conv_abc123"}"#,
        "/v1/conversations/conv_abc123/items",
    ),
    (
        "/v1/videos/characters",
        r#"{"id":"char_abc123"}"#,
        "/v1/videos/characters/char_abc123",
    ),
    (
        "/v1/uploads/upload_1/complete",
        r#"{"id":"upload_1","file":{"id":"file-of-it"}}"#,
        "/v1/files/file-of-it",
    ),
];

#[tokio::test]
async fn other_things_have_owners_too() {
    let mut house = House::new().config(apart).await;
    let json = "application/json";
    for restart in [false, true] {
        if restart {
            house.restart().await;
        }
        for (path, answer, target) in THINGS {
            if !restart {
                house
                    .sandbox
                    .on(&format!("POST {path}"))
                    .answer(200, json, answer);
                let body = json!({"model": "grok-4.5", "input": format!("for {path}")});
                let made = house.client().post(path).key(ANNA).json(&body).send().await;
                assert_eq!((made.status, made.text().as_str()), (200, answer), "{path}");
            }
            let theirs = house.client().get(target).key(BEN);
            assert_hidden(&house, theirs, target).await;
            house
                .sandbox
                .on(&format!("GET {target}"))
                .answer(200, json, "{}");
            let own = house.client().get(target).key(ANNA).send().await;
            assert_eq!(own.status, 200, "{target}");
        }
    }
}

/// Before its first event is shown, it is known whose it is.
#[tokio::test]
async fn a_stream_is_owned_from_its_first_event() {
    let house = House::new().config(apart).await;
    let said = json!({"model": "grok-4.5", "input": "slowly", "stream": true});
    for directive in ["max-age=1000", "no-store"] {
        let gate = house.hold_stream("POST /v1/responses", 2);
        let call = house.client().post("/v1/responses").key(ANNA);
        let mut answer = call
            .cache_control(directive)
            .json(&said)
            .open()
            .await
            .unwrap();
        gate.arrived(1).await;
        answer.read_to("response.created").await;
        answer.read_to("\n\n").await;
        let shown = answer.so_far();
        let data = shown
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        let id = data["response"]["id"].as_str().unwrap();
        let target = format!("/v1/responses/{id}");
        assert_hidden(&house, house.client().get(&target).key(BEN), directive).await;
        gate.release();
        answer.rest().await.unwrap();
    }
}
