//! Every trap of RelayDance's that concerns a job, by name: what a poll may look like, and what it
//! means for the one who asks for the same again.

use http::Method;
use serde_json::{Value, json};

use super::{JOINED, STORED, get, house, polls, submit, task, video};

/// What a poll comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// The job is joined further on.
    Runs,
    /// It is kept.
    Succeeds,
    /// It is forgotten.
    Fails,
}
use Comes::{Fails, Runs, Succeeds};

/// What stands for the job's own id in a body.
const ID: &str = "THE-JOB";

struct Trap {
    name: &'static str,
    status: u16,
    body: Value,
    comes: Comes,
}

fn trap(name: &'static str, body: Value, comes: Comes) -> Trap {
    Trap {
        name,
        status: 200,
        body,
        comes,
    }
}

fn refusal(name: &'static str, status: u16, body: Value) -> Trap {
    Trap {
        name,
        status,
        body,
        comes: Runs,
    }
}

/// The gateway's envelope around its own record of the job.
fn envelope(status: &str, more: &Value) -> Value {
    let mut data = json!({
        "id": 917, "task_id": ID, "platform": "54", "status": status, "fail_reason": "",
        "result_url": "", "progress": "30%", "data": null,
    });
    for (name, value) in more.as_object().unwrap() {
        data[name] = value.clone();
    }
    json!({"code": "success", "message": "", "data": data})
}

fn shapes() -> Vec<Trap> {
    let link = "https://storage.example/clip.mp4?sig=1";
    vec![
        trap(
            "documented, flat",
            json!({"task_id": ID, "status": "succeeded", "url": link, "format": "mp4"}),
            Succeeds,
        ),
        trap(
            "the service's envelope",
            envelope("SUCCESS", &json!({"result_url": link})),
            Succeeds,
        ),
        trap(
            "OpenAI's object",
            json!({"id": ID, "task_id": ID, "object": "video", "status": "completed", "metadata": {"url": link}}),
            Succeeds,
        ),
        trap(
            "without a task_id, by a string id",
            json!({"id": ID, "object": "video", "status": "completed"}),
            Succeeds,
        ),
        trap(
            "Gemini's, in an envelope",
            json!({"code": "success", "data": {"error": null, "format": "mp4", "metadata": null, "status": "succeeded", "task_id": ID, "url": link}}),
            Succeeds,
        ),
        trap(
            "an old gateway: the link in fail_reason",
            envelope("SUCCESS", &json!({"fail_reason": link})),
            Succeeds,
        ),
        trap(
            "a gateway behind the gateway",
            envelope(
                "SUCCESS",
                &json!({"data": {"code": "success", "data": {"id": 3, "task_id": "task_theirs", "status": "SUCCESS", "data": {"id": "cgt-1", "status": "succeeded"}}}}),
            ),
            Succeeds,
        ),
        trap(
            "Ark is done, the gateway is not",
            envelope(
                "IN_PROGRESS",
                &json!({"data": {"id": "cgt-1", "status": "succeeded", "content": {"video_url": link}}}),
            ),
            Runs,
        ),
        trap(
            "Ark has failed, the gateway has not",
            envelope(
                "IN_PROGRESS",
                &json!({"data": {"id": "cgt-1", "status": "failed"}}),
            ),
            Runs,
        ),
        trap(
            "Ark is behind, the gateway is done",
            envelope(
                "SUCCESS",
                &json!({"data": {"id": "cgt-1", "status": "running"}}),
            ),
            Succeeds,
        ),
        trap(
            "early: Ark's bare submit answer",
            envelope("SUBMITTED", &json!({"data": {"id": "cgt-1"}})),
            Runs,
        ),
        trap(
            "early: nothing from Ark",
            envelope("NOT_START", &json!({})),
            Runs,
        ),
    ]
}

fn ends() -> Vec<Trap> {
    let why = "the output may contain sensitive information";
    vec![
        trap(
            "200, code success, and failed",
            envelope("FAILURE", &json!({"fail_reason": why, "result_url": why})),
            Fails,
        ),
        trap(
            "failed, flat",
            json!({"task_id": ID, "status": "failed"}),
            Fails,
        ),
        trap(
            "failed, OpenAI's with an error of its own",
            json!({"id": ID, "object": "video", "status": "failed", "error": {"code": "x", "message": why}, "metadata": {"url": ""}}),
            Fails,
        ),
        trap(
            "expired",
            json!({"task_id": ID, "status": "expired"}),
            Fails,
        ),
        trap(
            "cancelled",
            json!({"task_id": ID, "status": "cancelled"}),
            Fails,
        ),
        trap(
            "canceled, in American",
            envelope("CANCELED", &json!({})),
            Fails,
        ),
        trap(
            "a failure that names no job",
            json!({"status": "failed"}),
            Runs,
        ),
        trap(
            "a failure of another job",
            json!({"task_id": "task_other", "status": "failed"}),
            Runs,
        ),
        trap(
            "a success of another job",
            json!({"task_id": "task_other", "status": "succeeded"}),
            Runs,
        ),
        trap(
            "Ark's id in place of the job's",
            json!({"id": "cgt-2026", "status": "failed"}),
            Runs,
        ),
    ]
}

fn words() -> Vec<Trap> {
    let waiting = [
        "submitted",
        "queued",
        "QUEUED",
        "pending",
        "NOT_START",
        "SUBMITTED",
    ];
    let working = ["running", "in_progress", "IN_PROGRESS", "processing"];
    let unknown = ["", "UNKNOWN", "unknown", "moderating", "done"];
    let mut traps: Vec<_> = [&waiting[..], &working, &unknown]
        .concat()
        .into_iter()
        .map(|word| trap("a word that is no end", envelope(word, &json!({})), Runs))
        .collect();
    traps.push(trap(
        "a status that is no word",
        json!({"task_id": ID, "status": 3}),
        Runs,
    ));
    traps
}

fn refusals() -> Vec<Trap> {
    let plain = |code: Value| json!({"error": {"message": "no (request id: 1)", "type": "new_api_error", "param": "", "code": code}});
    vec![
        refusal(
            "403 by mistake",
            403,
            json!({"error": {"message": "This token has no access to model ", "type": "new_api_error", "code": ""}}),
        ),
        refusal(
            "not found, as 400",
            400,
            json!({"code": "task_not_exist", "message": "task_not_exist", "data": null}),
        ),
        refusal("not found, as 404", 404, plain(json!("not_found"))),
        refusal(
            "the gateway's own key is bad",
            401,
            json!({"code": "fail_to_fetch_task", "message": "{}", "data": null}),
        ),
        refusal("a code that is a number", 500, plain(json!(17))),
        refusal("a code that is null", 500, plain(Value::Null)),
        refusal("200 with an error", 200, plain(json!("x"))),
        refusal(
            "200 with success false",
            200,
            json!({"success": false, "message": "no"}),
        ),
        refusal(
            "200 with a bad code and a failed job",
            200,
            json!({"code": "get_task_failed", "message": "x", "data": {"task_id": ID, "status": "FAILURE"}}),
        ),
        refusal(
            "an error status with a failed job in it",
            500,
            json!({"task_id": ID, "status": "failed"}),
        ),
        refusal(
            "an error status with a finished job in it",
            502,
            json!({"task_id": ID, "status": "succeeded"}),
        ),
        refusal("an empty 429", 429, Value::Null),
    ]
}

#[tokio::test]
async fn every_poll_means_what_it_says() {
    let house = house().await;
    let traps = [shapes(), ends(), words(), refusals()];
    let mut billed = 0;
    for (nth, trap) in traps.into_iter().flatten().enumerate() {
        for at in 0..2 {
            let body = video(&format!("trap {nth}, path {at}"));
            let first = submit(&house, &body).await;
            let id = task(&first);
            let text = if trap.body.is_null() {
                String::new()
            } else {
                trap.body.to_string().replace(ID, &id)
            };
            let path = &polls(&id)[at];
            let fault = house.sandbox.on(&format!("GET {path}"));
            fault.answer(trap.status, "application/json", text.clone());
            let poll = get(&house, path).await;
            let name = format!("{}: {path} {text}", trap.name);
            assert_eq!((poll.status, poll.text()), (trap.status, text), "{name}");
            let again = submit(&house, &body).await;
            let comes = match again.cache_status() {
                JOINED => Runs,
                STORED => Fails,
                _ if again.is_hit() => Succeeds,
                other => panic!("{name}: {other}"),
            };
            assert_eq!(comes, trap.comes, "{name}");
            billed += if comes == Fails { 2 } else { 1 };
            assert_eq!(house.billed(), billed, "{name}");
        }
    }
}

/// Polls tell everybody the same, so what a success says about money is kept with it.
#[tokio::test]
async fn lists_and_deletions_are_upstreams_business() {
    let house = house().await;
    let id = task(&submit(&house, &video("listed")).await);
    for path in [
        "/v1/videos",
        "/v1/videos?limit=2&after=task_a",
        "/v1/video/generations",
    ] {
        let told = get(&house, path).await;
        assert_eq!(
            told.cache_status(),
            "reprise; fwd=bypass; detail=not-a-generation",
            "{path}"
        );
    }
    let delete = house
        .client()
        .call(Method::DELETE, &format!("/v1/videos/{id}"));
    assert_eq!(delete.send().await.status, 404);
    assert_eq!(house.sandbox.count("GET /v1/videos"), 2);
    assert_eq!(house.sandbox.count("DELETE /v1/videos/"), 1);
    assert_eq!(
        submit(&house, &video("listed")).await.cache_status(),
        JOINED
    );
}
