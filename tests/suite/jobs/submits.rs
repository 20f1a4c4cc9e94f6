//! What is submitted: which answers start a job, and which requests ask for the same one.

use std::time::Duration;

use reprise::sandbox::SubmitShape;
use serde_json::{Value, json};

use super::{JOINED, STORED, get, house, polls, submit, task, video, word};
use crate::house::{Form, House};

#[tokio::test]
async fn every_shape_of_a_submit_is_one_job_for_all() {
    for shape in [SubmitShape::Docs, SubmitShape::OpenAi, SubmitShape::Bare] {
        let house = House::new()
            .sandbox(|options| {
                options.submit_shape = shape;
                options.job_time = Duration::from_hours(1);
            })
            .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
            .await;
        let body = video("a paper boat");
        let first = submit(&house, &body).await;
        assert_eq!((first.status, first.cache_status()), (200, STORED));
        let id = task(&first);
        let second = submit(&house, &body).await;
        assert_eq!(second.cache_status(), JOINED, "{shape:?}");
        assert_eq!(second.body, first.body, "{shape:?}");

        let running = get(&house, &polls(&id)[0]).await;
        assert_eq!(
            running.cache_status(),
            "reprise; fwd=bypass; detail=job-running"
        );
        house.sandbox.finish_jobs();
        assert_eq!(word(&get(&house, &polls(&id)[0]).await), "SUCCESS");
        let third = submit(&house, &body).await;
        assert!(third.is_hit(), "{shape:?}: {}", third.cache_status());
        assert_eq!(third.body, first.body, "{shape:?}");
        assert_eq!(house.billed(), 1, "{shape:?}");
    }
}

/// Integer row numbers and the ids of the gateway's own upstream are no job's id.
#[tokio::test]
async fn only_the_gateways_own_id_names_a_job() {
    let house = house().await;
    let envelope = json!({"code": "success", "message": "", "data": {
        "id": 917, "task_id": "task_Real", "status": "SUBMITTED", "data": {"id": "cgt-20260101-x"},
    }});
    let fault = house.sandbox.on("POST /v1/video/generations");
    fault.answer_billed(200, "application/json", envelope.to_string());
    let first = submit(&house, &video("envelope")).await;
    assert_eq!(first.cache_status(), STORED);
    assert_eq!(submit(&house, &video("envelope")).await.body, first.body);
    for (id, ours) in [
        ("task_Real", true),
        ("917", false),
        ("cgt-20260101-x", false),
    ] {
        for path in polls(id) {
            let poll = get(&house, &path).await;
            let words = if ours {
                "job-running"
            } else {
                "not-a-generation"
            };
            assert!(
                poll.cache_status().ends_with(words),
                "{path}: {}",
                poll.cache_status()
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_names_no_job_is_not_kept_as_one() {
    for body in [
        json!({"id": 917}),
        json!({"code": "success", "data": {"id": 917, "data": {"id": "cgt-20260101-x"}}}),
        json!({"error": {"message": "no", "code": "x"}, "task_id": "task_a"}),
        json!({"task_id": "task_a", "status": "failed"}),
        json!({"success": false, "message": "no"}),
    ] {
        let house = house().await;
        let fault = house.sandbox.on("POST /v1/video/generations");
        fault.answer(200, "application/json", body.to_string());
        let first = submit(&house, &video("nobody")).await;
        assert_eq!((first.status, first.json()), (200, body.clone()));
        assert!(!first.cache_status().contains("stored"), "{body}");
        let second = submit(&house, &video("nobody")).await;
        assert_eq!(second.cache_status(), STORED, "{body}");
        assert_eq!(house.billed(), 1);
    }
}

#[tokio::test]
async fn a_form_is_the_same_job_whatever_its_boundary() {
    let house = house().await;
    let form = |boundary: &str, file_name: &str| {
        Form::new(boundary)
            .text("model", "sora-2")
            .text("prompt", "a form")
            .text("seconds", "4")
            .file(
                "input_reference",
                (file_name, "image/png"),
                b"\x89PNG bytes",
            )
    };
    let send = |form: Form| {
        let call = house.client().post("/v1/videos");
        async move { call.form(&form).send().await }
    };
    let first = send(form("one", "a.png")).await;
    assert_eq!((first.status, first.cache_status()), (200, STORED));
    let second = send(form("another-boundary", "b.png")).await;
    assert_eq!(second.cache_status(), JOINED);
    assert_eq!(second.body, first.body);
    let other = Form::new("one")
        .text("model", "sora-2")
        .text("prompt", "another form")
        .text("seconds", "4");
    assert_eq!(send(other).await.cache_status(), STORED);
    house.sandbox.finish_jobs();
    let id = task(&first);
    assert_eq!(word(&get(&house, &polls(&id)[1]).await), "completed");
    assert!(send(form("three", "c.png")).await.is_hit());
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn a_remix_is_a_job_of_its_own() {
    let house = house().await;
    let original = task(&submit(&house, &video("original")).await);
    let other = task(&submit(&house, &video("other original")).await);
    house.sandbox.finish_jobs();
    let remix = |of: &str| {
        let call = house.client().post(&format!("/v1/videos/{of}/remix"));
        async move { call.json(&json!({"prompt": "at night"})).send().await }
    };
    let first = remix(&original).await;
    assert_eq!(
        (first.status, first.cache_status()),
        (200, STORED),
        "{}",
        first.text()
    );
    assert_eq!(remix(&original).await.body, first.body);
    assert_eq!(remix(&other).await.cache_status(), STORED);
    assert_eq!(house.billed(), 4);
    let id = task(&first);
    house.sandbox.finish_jobs();
    assert_eq!(word(&get(&house, &polls(&id)[1]).await), "completed");
    assert!(remix(&original).await.is_hit());
}

/// Many submits and polls at once, while the job ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_pays_for_one_job() {
    let house = house().await;
    let body = video("a crowd");
    let gate = house.hold("POST /v1/video/generations");
    let crowd: Vec<_> = (0..30)
        .map(|_| {
            let call = house.client().post("/v1/video/generations");
            call.json(&body).begin()
        })
        .collect();
    gate.arrived(1).await;
    gate.release();
    let mut bodies = Vec::new();
    for call in crowd {
        bodies.push(call.answer().await.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let id = serde_json::from_slice::<Value>(&bodies[0]).unwrap()["task_id"].clone();
    let path = polls(id.as_str().unwrap())[0].clone();
    let polling: Vec<_> = (0..30).map(|_| house.client().get(&path).begin()).collect();
    house.sandbox.finish_jobs();
    for poll in polling {
        assert_eq!(poll.answer().await.status, 200);
    }
    assert_eq!(word(&get(&house, &path).await), "SUCCESS");
    assert!(submit(&house, &body).await.is_hit());
    assert_eq!(house.billed(), 1);
}
