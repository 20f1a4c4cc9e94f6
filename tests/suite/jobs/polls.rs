//! What clients are told when they poll.

use std::time::Duration;

use reprise::sandbox::PollShape;
use serde_json::json;

use super::{JOINED, get, house, polls, submit, task, video, word};
use crate::house::House;

#[tokio::test]
async fn a_finished_job_is_kept_for_each_path_in_its_own_shape() {
    for shape in [PollShape::Captured, PollShape::Docs] {
        let mut house = House::new()
            .sandbox(|options| {
                options.poll_shape = shape;
                options.job_time = Duration::from_hours(1);
            })
            .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
            .await;
        let submitted = submit(&house, &video("kept twice")).await;
        let id = task(&submitted);
        house.sandbox.finish_jobs();
        let mut kept = Vec::new();
        for path in polls(&id) {
            let asked = house.sandbox.count("GET /v1/video");
            let first = get(&house, &path).await;
            assert_eq!(house.sandbox.count("GET /v1/video"), asked + 1, "{path}");
            let again = get(&house, &path).await;
            assert!(again.is_hit(), "{path}: {}", again.cache_status());
            assert!(!again.header("age").is_empty());
            assert_eq!((again.status, &again.body), (200, &first.body));
            assert_eq!(again.header("content-type"), first.header("content-type"));
            assert_eq!(house.sandbox.count("GET /v1/video"), asked + 1, "{path}");
            kept.push(first);
        }
        assert_ne!(kept[0].body, kept[1].body, "their shapes differ");
        assert_eq!(kept[1].json()["object"], "video");

        // Neither upstream nor this process is needed any more.
        house.stop_sandbox().await;
        house.restart().await;
        for (path, kept) in polls(&id).iter().zip(&kept) {
            let again = get(&house, path).await;
            assert!(again.is_hit() && again.body == kept.body, "{path}");
        }
        assert!(submit(&house, &video("kept twice")).await.is_hit());
    }
}

#[tokio::test]
async fn twenty_polls_are_one_question_to_upstream() {
    let house = House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(|config| config.jobs.min_poll_interval = Duration::from_hours(1))
        .await;
    let id = task(&submit(&house, &video("impatience")).await);
    for path in polls(&id) {
        let gate = house.hold("GET /v1/video");
        let asked: Vec<_> = (0..20).map(|_| house.client().get(&path).begin()).collect();
        gate.arrived(1).await;
        gate.release();
        let mut answers = Vec::new();
        for poll in asked {
            answers.push(poll.answer().await);
        }
        answers.push(get(&house, &path).await);
        assert_eq!(house.sandbox.count(&format!("GET {path}")), 1);
        assert!(answers.iter().all(|poll| poll.body == answers[0].body));
        let asked = answers
            .iter()
            .filter(|poll| poll.cache_status() != JOINED)
            .count();
        assert_eq!(asked, 1, "one of them asked");
        drop(gate);
    }
}

#[tokio::test]
async fn a_poll_after_the_interval_asks_again() {
    let house = house().await;
    let id = task(&submit(&house, &video("patience")).await);
    for path in polls(&id) {
        for asked in 1..=3 {
            let poll = get(&house, &path).await;
            assert_eq!(
                poll.cache_status(),
                "reprise; fwd=bypass; detail=job-running"
            );
            assert_eq!(house.sandbox.count(&format!("GET {path}")), asked);
        }
    }
}

#[tokio::test]
async fn an_unknown_job_is_upstreams_business() {
    let house = house().await;
    for path in polls("task_of_somebody_else") {
        let poll = get(&house, &path).await;
        assert_eq!(poll.status, 400, "{}", poll.text());
        assert_eq!(poll.json()["code"], "task_not_exist");
        assert_eq!(
            poll.cache_status(),
            "reprise; fwd=bypass; detail=not-a-generation"
        );
        assert_eq!(house.sandbox.count(&format!("GET {path}")), 1);
    }
}

#[tokio::test]
async fn an_error_on_a_poll_passes_and_fails_no_job() {
    let no_access = r#"{"error":{"message":"This token has no access to model ","type":"new_api_error","param":"","code":""}}"#;
    let table: [(u16, &str, &str); 8] = [
        (403, "application/json", no_access),
        (
            401,
            "application/json",
            r#"{"error":{"message":"bad key"}}"#,
        ),
        (
            400,
            "application/json",
            r#"{"code":"task_not_exist","message":"task_not_exist","data":null}"#,
        ),
        (
            404,
            "application/json",
            r#"{"error":{"message":"Task not found"}}"#,
        ),
        (429, "", ""),
        (
            500,
            "application/json",
            r#"{"code":"get_task_failed","message":"x","data":null}"#,
        ),
        (502, "text/html", "<html>Bad Gateway</html>"),
        (
            200,
            "application/json",
            r#"{"success":false,"message":"no"}"#,
        ),
    ];
    for (status, content_type, body) in table {
        for at in 0..2 {
            let house = house().await;
            let asked = video("errors");
            let first = submit(&house, &asked).await;
            let path = &polls(&task(&first))[at];
            house
                .sandbox
                .on(&format!("GET {path}"))
                .answer(status, content_type, body);
            let poll = get(&house, path).await;
            assert_eq!((poll.status, poll.text().as_str()), (status, body));
            assert_eq!(
                submit(&house, &asked).await.cache_status(),
                JOINED,
                "{status}"
            );
            house.sandbox.finish_jobs();
            let done = get(&house, path).await;
            assert!(
                ["SUCCESS", "completed"].contains(&word(&done).as_str()),
                "{}",
                done.text()
            );
            assert!(submit(&house, &asked).await.is_hit(), "{status}");
            assert_eq!(house.billed(), 1, "{status}");
        }
    }
}

/// A word of failure that is not about this job, or not the gateway's own.
#[tokio::test]
async fn what_is_said_of_another_job_ends_none_of_ours() {
    let house = house().await;
    let asked = video("mistaken");
    let id = task(&submit(&house, &asked).await);
    let about_another = [
        json!({"task_id": "task_other", "status": "failed"}).to_string(),
        json!({"task_id": "task_other", "status": "succeeded", "url": "http://x/y.mp4"}).to_string(),
        json!({"status": "failed"}).to_string(),
        json!({"code": "success", "message": "", "data": {
            "id": 917, "task_id": "task_other", "status": "FAILURE", "data": {"id": "cgt-1", "status": "failed"},
        }})
        .to_string(),
        // The gateway says that it runs, whatever stands further up.
        json!({"code": "success", "message": "", "data": {
            "id": 917, "task_id": id, "status": "IN_PROGRESS", "data": {"id": "cgt-1", "status": "failed"},
        }})
        .to_string(),
        json!({"task_id": id, "status": "dreaming"}).to_string(),
    ];
    for said in about_another {
        for path in polls(&id) {
            let fault = house.sandbox.on(&format!("GET {path}"));
            fault.answer(200, "application/json", said.clone());
            assert_eq!(get(&house, &path).await.text(), said);
            let joined = submit(&house, &asked).await;
            assert_eq!(joined.cache_status(), JOINED, "{said}");
            let next = get(&house, &path).await;
            assert_eq!(
                next.cache_status(),
                "reprise; fwd=bypass; detail=job-running",
                "{said}"
            );
        }
    }
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_restart_in_the_middle_changes_nothing() {
    let mut house = house().await;
    let body = video("restarted");
    let first = submit(&house, &body).await;
    house.restart().await;
    let joined = submit(&house, &body).await;
    assert_eq!((joined.cache_status(), &joined.body), (JOINED, &first.body));
    let path = &polls(&task(&first))[0];
    get(&house, path).await;
    house.restart().await;
    house.sandbox.finish_jobs();
    let done = get(&house, path).await;
    assert_eq!(word(&done), "SUCCESS");
    house.restart().await;
    let kept = get(&house, path).await;
    assert!(kept.is_hit() && kept.body == done.body);
    assert!(submit(&house, &body).await.is_hit());
    assert_eq!(
        (house.billed(), house.sandbox.count(&format!("GET {path}"))),
        (1, 2)
    );
}

#[tokio::test]
async fn the_clip_comes_through_upstream() {
    let house = house().await;
    let id = task(&submit(&house, &video("a clip")).await);
    let path = format!("/v1/videos/{id}/content");
    assert_eq!(get(&house, &path).await.status, 400, "not yet");
    house.sandbox.finish_jobs();
    let whole = get(&house, &path).await;
    assert_eq!(
        (whole.status, whole.header("content-type")),
        (200, "video/mp4")
    );
    let part = house
        .client()
        .get(&path)
        .header("range", "bytes=10-19")
        .send()
        .await;
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[10..20]));
    let range = format!("bytes 10-19/{}", whole.body.len());
    assert_eq!(part.header("content-range"), range);
    let known = house
        .client()
        .get(&path)
        .header("if-none-match", whole.header("etag"))
        .send()
        .await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let beyond = house
        .client()
        .get(&path)
        .header("range", "bytes=99999999-")
        .send()
        .await;
    assert_eq!(beyond.status, 416);
}
