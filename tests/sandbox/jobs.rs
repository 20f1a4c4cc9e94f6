//! Video jobs from submit to the last byte of the clip.

use std::time::Duration;

use http_body_util::Full;
use hyper::Method;
use reprise::sandbox::{Options, PollShape, Sandbox, SubmitShape};
use serde_json::{Value, json};

use super::call::{Caller, sandbox};

pub(crate) const SUBMIT: &str = "/v1/video/generations";

fn clip(prompt: &str) -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt, "seconds": "5"})
}

pub(crate) async fn submitted(caller: &Caller, prompt: &str) -> String {
    let reply = caller.post(SUBMIT, clip(prompt)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["task_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_submit_answers_in_each_shape() {
    for (shape, fields) in [
        (SubmitShape::Docs, vec!["status", "task_id"]),
        (SubmitShape::Bare, vec!["task_id"]),
        (
            SubmitShape::OpenAi,
            vec![
                "created_at",
                "id",
                "model",
                "object",
                "progress",
                "status",
                "task_id",
            ],
        ),
    ] {
        let options = Options {
            submit_shape: shape,
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let reply = Caller::new(&sandbox).post(SUBMIT, clip("a cat")).await;
        let body = reply.json();
        let mut names: Vec<&String> = body.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, fields);
        let id = body["task_id"].as_str().unwrap();
        let (front, rest) = id.split_at(5);
        assert!(
            front == "task_" && rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{id}"
        );
        assert!(!reply.header("x-oneapi-request-id").is_empty());
        assert!(!reply.header("x-new-api-other-ratios").is_empty());
    }
}

#[tokio::test]
async fn the_captured_poll_has_all_its_traps() {
    let options = Options {
        job_time: Duration::from_hours(1),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let caller = Caller::new(&sandbox);
    let id = submitted(&caller, "a cat").await;
    let poll = format!("{SUBMIT}/{id}");
    let early = caller.get(&poll).await.json();
    assert_eq!(
        (&early["code"], &early["message"]),
        (&json!("success"), &json!(""))
    );
    let early = &early["data"];
    assert_eq!(
        (&early["status"], &early["progress"]),
        (&json!("NOT_START"), &json!("0%"))
    );
    assert_eq!(
        (&early["data"], &early["result_url"]),
        (&Value::Null, &json!(""))
    );
    sandbox.finish_jobs();
    let reply = caller.get(&poll).await.json();
    let late = &reply["data"];
    assert!(late["id"].is_u64());
    assert_eq!(late["task_id"], id.as_str());
    assert_eq!(
        (&late["status"], &late["progress"]),
        (&json!("SUCCESS"), &json!("100%"))
    );
    assert_eq!(late["quota"], 1_093_750);
    assert_eq!(late["data"]["status"], "succeeded");
    assert!(late["data"]["id"].as_str().unwrap().starts_with("cgt-"));
    assert_eq!(late["data"]["content"]["video_url"], late["result_url"]);
    assert_eq!(late["data"]["usage"]["total_tokens"], 108_000);
    assert!((sandbox.bill().usd - 0.945).abs() < 1e-9);
}

#[tokio::test]
async fn the_other_polls_agree() {
    let options = Options {
        poll_shape: PollShape::Docs,
        public_url: Some("http://media.example/".into()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let caller = Caller::new(&sandbox);
    let id = submitted(&caller, "a cat").await;
    let (docs, openai) = (format!("{SUBMIT}/{id}"), format!("/v1/videos/{id}"));
    assert_eq!(
        caller.get(&docs).await.json(),
        json!({"task_id": id, "status": "submitted"})
    );
    let early = caller.get(&openai).await.json();
    assert_eq!(
        (&early["status"], &early["object"]),
        (&json!("queued"), &json!("video"))
    );
    sandbox.finish_jobs();
    let (docs, openai) = (
        caller.get(&docs).await.json(),
        caller.get(&openai).await.json(),
    );
    assert_eq!(
        (&docs["status"], &docs["format"]),
        (&json!("succeeded"), &json!("mp4"))
    );
    assert_eq!(
        (&openai["status"], &openai["progress"]),
        (&json!("completed"), &json!(100))
    );
    assert_eq!(openai["seconds"], "5");
    assert_eq!(docs["url"], openai["metadata"]["url"]);
    assert!(
        docs["url"]
            .as_str()
            .unwrap()
            .starts_with("http://media.example/storage/")
    );
}

#[tokio::test]
async fn a_failed_job_is_a_success_by_status_code() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let id = submitted(&caller, "a cat [fail]").await;
    assert!(sandbox.bill().usd > 0.9);
    sandbox.finish_jobs();
    let poll = caller.get(&format!("{SUBMIT}/{id}")).await;
    assert_eq!(
        (poll.status.as_u16(), &poll.json()["code"]),
        (200, &json!("success"))
    );
    let data = &poll.json()["data"];
    assert_eq!(data["status"], "FAILURE");
    assert_eq!(data["result_url"], data["fail_reason"]);
    assert!(!data["fail_reason"].as_str().unwrap().is_empty());
    let openai = caller.get(&format!("/v1/videos/{id}")).await.json();
    assert_eq!(
        (&openai["status"], &openai["metadata"]["url"]),
        (&json!("failed"), &json!(""))
    );
    assert_eq!(
        caller.get(&format!("/v1/videos/{id}/content")).await.status,
        400
    );
    let bill = sandbox.bill();
    assert_eq!(
        (bill.video, bill.usd),
        (1, 0.0),
        "the hold goes back, the run stays counted"
    );
}

#[tokio::test]
async fn every_way_to_submit() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let form = [
        ("model", "sora-2"),
        ("prompt", "a cat"),
        ("seconds", "8"),
        ("size", "720x1280"),
        ("seed", "7"),
    ];
    let video = caller
        .post_form("/v1/videos", &form, Some("input_reference"))
        .await
        .json();
    let id = video["id"].as_str().unwrap();
    let poll = caller.get(&format!("/v1/videos/{id}")).await.json();
    assert_eq!(
        (&poll["seconds"], &poll["size"]),
        (&json!("8"), &json!("720x1280"))
    );
    let remix = caller
        .post(
            &format!("/v1/videos/{id}/remix"),
            json!({"prompt": "a dog"}),
        )
        .await
        .json();
    assert_eq!(
        (&remix["remixed_from_video_id"], &remix["model"]),
        (&json!(id), &json!("sora-2"))
    );
    for path in ["/v1/videos/edits", "/v1/videos/extensions"] {
        assert_eq!(
            caller
                .post(path, json!({"prompt": "p", "video": {"id": id}}))
                .await
                .status,
            200
        );
    }
    sandbox.finish_jobs();
    let id = caller
        .post(
            SUBMIT,
            json!({"model": "m", "prompt": "p", "metadata": "{\"return_last_frame\":true}"}),
        )
        .await;
    sandbox.finish_jobs();
    let id = id.json()["id"].as_str().unwrap().to_owned();
    let frame = caller.get(&format!("{SUBMIT}/{id}")).await.json();
    let frame = frame["data"]["data"]["content"]["last_frame_url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(caller.get(&frame).await.header("content-type"), "image/png");
    assert_eq!(sandbox.bill().video, 5);
}

#[tokio::test]
async fn refusals_in_the_tasks_form() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let with = |prompt: &str| json!({"model": "m", "prompt": prompt});
    for (path, body, status, code) in [
        (SUBMIT, json!([]), 400, "invalid_json"),
        (SUBMIT, json!({"model": "m"}), 400, "invalid_request"),
        (SUBMIT, with("  "), 400, "invalid_request"),
        (SUBMIT, json!({"prompt": "p"}), 400, "missing_model"),
        (
            SUBMIT,
            json!({"model": 5, "prompt": "p"}),
            400,
            "invalid_request",
        ),
        (
            SUBMIT,
            json!({"model": "m", "prompt": "p", "metadata": 5}),
            400,
            "invalid_request",
        ),
        ("/v1/videos", with("[refuse]"), 400, "fail_to_fetch_task"),
        (
            "/v1/videos",
            with("[broke]"),
            403,
            "insufficient_user_quota",
        ),
        ("/v1/videos/task_x/remix", with("p"), 400, "task_not_exist"),
    ] {
        let reply = caller.post(path, body.clone()).await;
        let told = reply.json();
        assert_eq!(
            (reply.status.as_u16(), &told["code"]),
            (status, &json!(code)),
            "{body}"
        );
        assert!(told["data"].is_null() && told.get("error").is_none());
    }
    let unserved = caller
        .post(SUBMIT, json!({"model": "no-such-model", "prompt": "p"}))
        .await;
    assert_eq!(
        (unserved.status.as_u16(), &unserved.json()["error"]["code"]),
        (503, &json!("model_not_found"))
    );
    for path in ["/v1/video/generations/task_x", "/v1/videos/task_x"] {
        let reply = caller.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["code"]),
            (400, &json!("task_not_exist"))
        );
    }
    assert_eq!(caller.get("/v1/videos/task_x/content").await.status, 404);
    for (method, path) in [
        (Method::DELETE, "/v1/videos/task_x"),
        (Method::GET, "/v1/videos"),
    ] {
        let reply = caller
            .send(caller.request(method, path).body(Full::default()).unwrap())
            .await;
        assert_eq!(reply.status, 404);
        assert!(
            reply.json()["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("Invalid URL")
        );
    }
    assert_eq!(sandbox.bill().total(), 0);
}
