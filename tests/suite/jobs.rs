//! Video jobs: one run for everybody who asks for the same, in every shape in which upstream talks.

use std::time::Duration;

use reprise::sandbox::{PollShape, SubmitShape};
use serde_json::{Value, json};

use crate::house::{Answer, Form, House};

const JOINED: &str = "reprise; fwd=miss; collapsed";
const STORED: &str = "reprise; fwd=miss; stored";

fn video(prompt: &str) -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt, "seconds": "5"})
}

async fn submit(house: &House, body: &Value) -> Answer {
    let call = house.client().post("/v1/video/generations");
    call.json(body).send().await
}

async fn get(house: &House, path: &str) -> Answer {
    house.client().get(path).send().await
}

fn task(submit: &Answer) -> String {
    submit.json()["task_id"].as_str().unwrap().to_owned()
}

/// Both poll paths of a job.
fn polls(id: &str) -> [String; 2] {
    [
        format!("/v1/video/generations/{id}"),
        format!("/v1/videos/{id}"),
    ]
}

/// The word for how a job is, wherever a poll's shape has it.
fn word(poll: &Answer) -> String {
    let json = poll.json();
    let word = json.pointer("/data/status").unwrap_or(&json["status"]);
    word.as_str().unwrap_or_default().to_owned()
}

/// A house whose jobs end when the test says so, and where every poll may go upstream.
async fn house() -> House {
    House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
        .await
}

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

#[tokio::test]
async fn a_job_is_given_up_for_its_silence_and_not_for_its_age() {
    let clock = reprise::clock::Clock::system();
    let house = House::new()
        .clock(&clock)
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(|config| {
            config.jobs.min_poll_interval = Duration::from_nanos(1);
            config.jobs.deadline = Duration::from_secs(2);
        })
        .await;
    let body = video("slow");
    let id = task(&submit(&house, &body).await);
    let [poll, _] = polls(&id);
    get(&house, &poll).await;
    clock.jump(jiff::SignedDuration::from_hours(48));
    assert_eq!(
        submit(&house, &body).await.cache_status(),
        JOINED,
        "only the clock says so"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    get(&house, &poll).await;
    assert_eq!(
        submit(&house, &body).await.cache_status(),
        JOINED,
        "it was heard of"
    );
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(
        submit(&house, &body).await.cache_status(),
        "reprise; fwd=stale; stored"
    );
    assert_eq!(house.billed(), 2);
}
