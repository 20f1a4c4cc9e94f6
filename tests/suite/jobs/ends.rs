//! The ends of jobs: failures, reruns, deletions.

use std::time::Duration;

use reprise::sandbox::PollShape;
use serde_json::json;

use super::{JOINED, STORED, get, house, polls, submit, task, video, word};
use crate::house::House;

#[tokio::test]
async fn a_failed_job_is_forgotten_and_the_next_one_runs() {
    for (shape, at) in [
        (PollShape::Captured, 0),
        (PollShape::Docs, 0),
        (PollShape::Captured, 1),
    ] {
        let house = House::new()
            .sandbox(|options| {
                options.poll_shape = shape;
                options.job_time = Duration::from_hours(1);
            })
            .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
            .await;
        let body = video("a boat [fail]");
        let first = submit(&house, &body).await;
        let path = &polls(&task(&first))[at];
        house.sandbox.finish_jobs();
        let failed = get(&house, path).await;
        assert_eq!(failed.status, 200);
        assert!(
            ["FAILURE", "failed"].contains(&word(&failed).as_str()),
            "{}",
            failed.text()
        );
        let second = submit(&house, &body).await;
        assert_eq!(second.cache_status(), STORED, "{shape:?} {path}");
        assert_ne!(task(&second), task(&first));
        assert_eq!(house.billed(), 2);
        // Upstream still knows the failed one, and its end does not touch the new one.
        let again = get(&house, path).await;
        assert_eq!(word(&again), word(&failed));
        assert_eq!(submit(&house, &body).await.cache_status(), JOINED);
        assert_eq!(house.billed(), 2);
    }
}

#[tokio::test]
async fn a_rerun_that_fails_gives_back_the_success_that_stood_before() {
    let house = house().await;
    let body = video("first a success");
    let first = task(&submit(&house, &body).await);
    house.sandbox.finish_jobs();
    let [path, _] = polls(&first);
    assert_eq!(word(&get(&house, &path).await), "SUCCESS");

    let again = house.client().post("/v1/video/generations").json(&body);
    let again = again.cache_control("no-cache").send().await;
    let second = task(&again);
    assert_ne!(first, second);
    assert!(
        get(&house, &path).await.is_hit(),
        "what was replaced is still kept"
    );
    assert_eq!(
        task(&submit(&house, &body).await),
        second,
        "the new job is joined"
    );

    let failed = json!({"task_id": second, "status": "failed"}).to_string();
    let [poll, _] = polls(&second);
    house
        .sandbox
        .on(&format!("GET {poll}"))
        .answer(200, "application/json", failed);
    assert_eq!(word(&get(&house, &poll).await), "failed");
    let now = submit(&house, &body).await;
    assert!(now.is_hit(), "{}", now.cache_status());
    assert_eq!(task(&now), first);
    assert!(get(&house, &path).await.is_hit());
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn a_late_word_of_failure_takes_no_success_away() {
    let house = house().await;
    let body = video("seen twice");
    let id = task(&submit(&house, &body).await);
    house.sandbox.finish_jobs();
    let [first, second] = polls(&id);
    assert_eq!(word(&get(&house, &first).await), "SUCCESS");
    let failed = json!({"id": id, "task_id": id, "object": "video", "status": "failed"});
    house
        .sandbox
        .on(&format!("GET {second}"))
        .answer(200, "application/json", failed.to_string());
    assert_eq!(
        word(&get(&house, &second).await),
        "failed",
        "it passes as it came"
    );
    assert!(submit(&house, &body).await.is_hit());
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn deletion_passes_through() {
    let house = house().await;
    let body = video("deleted");
    let id = task(&submit(&house, &body).await);
    for path in polls(&id) {
        let said = house
            .client()
            .call(hyper::Method::DELETE, &path)
            .send()
            .await;
        assert_eq!(
            said.status,
            404,
            "the gateway has no such route: {}",
            said.text()
        );
        assert_eq!(house.sandbox.count(&format!("DELETE {path}")), 1);
        assert_eq!(
            said.cache_status(),
            "reprise; fwd=bypass; detail=not-a-generation"
        );
    }
    assert_eq!(submit(&house, &body).await.cache_status(), JOINED);
}

#[tokio::test]
async fn only_a_deletion_that_deleted_is_one() {
    let house = house().await;
    let body = video("to be deleted");
    let id = task(&submit(&house, &body).await);
    let path = format!("/v1/videos/{id}");
    let answers = [
        (200, json!({"success": false, "message": "no"}), false),
        (
            200,
            json!({"id": id, "object": "video.deleted", "deleted": false}),
            false,
        ),
        (200, json!({"error": {"message": "no"}}), false),
        (404, json!({"error": {"message": "no"}}), false),
        (
            200,
            json!({"id": id, "object": "video.deleted", "deleted": true}),
            true,
        ),
    ];
    for (status, answer, gone) in answers {
        let route = format!("DELETE {path}");
        house
            .sandbox
            .on(&route)
            .answer(status, "application/json", answer.to_string());
        let told = house
            .client()
            .call(http::Method::DELETE, &path)
            .send()
            .await;
        assert_eq!((told.status, told.json()), (status, answer.clone()));
        let next = submit(&house, &body).await;
        assert_eq!(next.cache_status() == STORED, gone, "{answer}");
    }
    let below = format!("DELETE {path}/content");
    house
        .sandbox
        .on(&below)
        .answer(200, "application/json", "{}");
    house
        .client()
        .call(http::Method::DELETE, &format!("{path}/content"))
        .send()
        .await;
    assert_eq!(submit(&house, &body).await.cache_status(), JOINED);
    assert_eq!(house.billed(), 2);
}
