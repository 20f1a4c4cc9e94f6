//! Every shape in which the gateway has been seen, or read, to talk about a job.

use super::*;
use proptest::prelude::*;

/// Answers to a submit, and the id in them.
const SUBMITS: &str = r#"
documented | {"task_id":"task_1","status":"submitted"} | task_1
OpenAI's | {"id":"task_1","task_id":"task_1","object":"video","status":"queued","progress":0} | task_1
bare | {"task_id":"cgt-20260101-a"} | cgt-20260101-a
only an id | {"id":"video_1","object":"video","status":"queued"} | video_1
wrapped | {"code":"success","message":"","data":{"task_id":"task_1"}} | task_1
wrapped, with a row number | {"code":"success","data":{"id":917,"task_id":"task_1"}} | task_1
wrapped, only an id | {"code":"success","data":{"id":"task_1"}} | task_1
two ids | {"id":"other","task_id":"task_1"} | task_1
two ids, wrapped | {"id":"other","data":{"task_id":"task_1","id":"x"}} | task_1
done at once | {"task_id":"task_1","status":"succeeded","url":"https://h/1.mp4"} | task_1
no error | {"id":"video_1","status":"queued","error":null} | video_1
a code in numbers | {"code":0,"data":{"task_id":"task_1"}} | task_1
a word of its own | {"task_id":"task_1","status":"moderating"} | task_1
a row number | {"id":917,"status":"queued"} | -
a wrapped row number | {"code":"success","data":{"id":917}} | -
the upstream's id | {"code":"success","data":{"data":{"id":"cgt-1"}}} | -
an empty id | {"task_id":"","status":"submitted"} | -
an error | {"error":{"message":"m","code":"x"}} | -
an error with an id | {"id":"task_1","error":{"message":"m"}} | -
a failed job | {"task_id":"task_1","status":"FAILED"} | -
a failed job, wrapped | {"code":"success","data":{"task_id":"task_1","status":"FAILURE"}} | -
a cancelled job | {"task_id":"task_1","status":"cancelled"} | -
the gateway's refusal | {"code":"fail_to_fetch_task","message":"{\"error\":{}}","data":null} | -
no success | {"success":false,"task_id":"task_1"} | -
a list | [{"task_id":"task_1"}] | -
a page | <html> | -
nothing | | -
"#;

#[test]
fn submits() {
    for line in SUBMITS.trim().lines() {
        let (name, rest) = line.split_once(" |").unwrap();
        let (body, id) = rest.rsplit_once("| ").unwrap();
        let id = Some(id).filter(|id| *id != "-");
        assert_eq!(read_submit(body.trim().as_bytes()).as_deref(), id, "{name}");
    }
}

/// Answers to a poll: state, id, tokens, progress.
const POLLS: &str = r#"
{"task_id":"task_1","status":"running"} | working task_1 - -
{"task_id":"task_1","status":"succeeded","url":"https://h/1.mp4","format":"mp4","metadata":{}} | succeeded task_1 - -
{"task_id":"task_1","status":"failed"} | failed task_1 - -
{"task_id":"task_1","status":"submitted"} | waiting task_1 - -
{"task_id":"task_1"} | unknown task_1 - -
{"task_id":"task_1","status":"unheard_of"} | unknown task_1 - -
{"task_id":"task_1","status":"expired"} | failed task_1 - -
{"task_id":"task_1","status":7} | unknown task_1 - -
{"code":"success","message":"","data":{"id":917,"task_id":"task_1","status":"NOT_START","progress":"0%","data":null}} | waiting task_1 - 0
{"code":"success","message":"","data":{"id":917,"task_id":"task_1","status":"IN_PROGRESS","progress":"30%","data":{"id":"cgt-1"}}} | working task_1 - 30
{"code":"success","data":{"id":917,"task_id":"task_1","status":"SUCCESS","progress":"100%","result_url":"https://h/1.mp4","data":{"id":"cgt-1","status":"succeeded","usage":{"completion_tokens":108900,"total_tokens":108900}}}} | succeeded task_1 108900 100
{"code":"success","data":{"id":917,"task_id":"task_1","status":"FAILURE","fail_reason":"no","result_url":"no","progress":"100%","data":{"status":"failed"}}} | failed task_1 - 100
{"code":"success","data":{"task_id":"task_1","status":"IN_PROGRESS","data":{"id":"cgt-1","status":"succeeded"}}} | working task_1 - -
{"code":"success","data":{"task_id":"task_1","status":"SUCCESS","data":{"id":"cgt-1","status":"failed"}}} | succeeded task_1 - -
{"code":"success","data":{"task_id":"task_1","status":"IN_PROGRESS","data":{"code":"success","message":"","data":{"task_id":"task_9","status":"FAILURE","data":{"id":"cgt-1"}}}}} | working task_1 - -
{"code":"success","data":{"task_id":"task_1","status":"SUCCESS","data":{"code":"success","data":{"task_id":"task_9","status":"SUCCESS","data":{"id":"cgt-1","usage":{"total_tokens":5}}}}}} | succeeded task_1 5 -
{"code":"success","data":{"task_id":"task_1","status":"UNKNOWN"}} | unknown task_1 - -
{"code":"success","data":{"error":null,"format":"mp4","metadata":null,"status":"processing","task_id":"task_1","url":""}} | working task_1 - -
{"code":"success","data":{"error":null,"status":"succeeded","task_id":"task_1","url":"https://h/1.mp4"}} | succeeded task_1 - -
{"id":"task_1","task_id":"task_1","object":"video","status":"in_progress","progress":45,"created_at":1} | working task_1 - 45
{"id":"task_1","object":"video","status":"completed","progress":100,"metadata":{"url":"https://h/1.mp4"}} | succeeded task_1 - 100
{"id":"task_1","object":"video","status":"failed","progress":100,"error":{"code":"c","message":"m"},"metadata":{"url":""}} | failed task_1 - 100
{"id":"task_1","object":"video","status":"queued","error":null} | waiting task_1 - -
{"id":"task_1","object":"video","status":"completed","error":{}} | succeeded task_1 - -
{"id":"cgt-1","status":"succeeded","content":{"video_url":"https://h/1.mp4"},"usage":{"total_tokens":108900}} | succeeded cgt-1 108900 -
{"status":"succeeded","url":"https://h/1.mp4"} | succeeded - - -
{"task_id":"task_1","status":"running","data":{"status":"failed","task_id":"x"}} | working task_1 - -
{"task_id":"task_1","status":"running","progress":150} | working task_1 - 100
{"task_id":"task_1","status":"running","progress":"soon"} | working task_1 - -
{"task_id":"task_1","status":"running","progress":-1} | working task_1 - -
{"task_id":"task_1","status":"running","progress":"45.9 %"} | working task_1 - 45
{"task_id":"task_1","status":"running","progress":1e300} | working task_1 - 100
{"task_id":"task_1","status":"succeeded","usage":{"total_tokens":"7"}} | succeeded task_1 - -
"#;

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[test]
fn polls() {
    for line in POLLS.trim().lines() {
        let (body, expected) = line.rsplit_once(" | ").unwrap();
        let poll = read_poll(StatusCode::OK, body.as_bytes()).expect(line);
        let found = format!(
            "{} {} {} {}",
            poll.state.as_str(),
            shown(poll.task_id),
            shown(poll.total_tokens),
            shown(poll.progress)
        );
        assert_eq!(found, expected, "{body}");
        assert!(poll.error.is_none() || poll.state.is_failure(), "{body}");
    }
}

#[test]
fn answers_that_are_about_no_job() {
    for body in [
        "",
        "<html><body>502</body></html>",
        "null",
        "[]",
        "\"failed\"",
        "{}",
        r#"{"error":{"message":"Invalid token","type":"new_api_error","code":""}}"#,
        r#"{"error":{"message":"m"},"status":"error"}"#,
        r#"{"code":"task_not_exist","message":"m","data":null}"#,
        r#"{"code":"task_not_exist","message":"m","data":{"task_id":"task_1","status":"FAILURE"}}"#,
        r#"{"success":false,"message":"m"}"#,
        r#"{"success":false,"data":{"task_id":"task_1","status":"FAILURE"}}"#,
        r#"{"status":"error","message":"database is locked"}"#,
        r#"{"status":"failed"}"#,
        r#"{"status":500,"error":"Internal Server Error"}"#,
        r#"{"code":"success","message":"","data":null}"#,
        r#"{"code":"success","data":{"id":917,"status":"FAILURE"}}"#,
        r#"{"code":"success","data":{"id":917,"data":{"id":"cgt-1","status":"failed"}}}"#,
        r#"{"task_id":"task_1","status":"fai"#,
    ] {
        assert_eq!(read_poll(StatusCode::OK, body.as_bytes()), None, "{body}");
    }
    // Whatever an HTTP error says, the job goes on.
    let failed = r#"{"task_id":"task_1","status":"failed"}"#;
    let no_access = r#"{"error":{"message":"This token has no access to model","code":""}}"#;
    for status in [304, 400, 401, 403, 404, 429, 500, 502, 503, 504] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(read_poll(status, failed.as_bytes()), None, "{status}");
        assert_eq!(read_poll(status, no_access.as_bytes()), None, "{status}");
    }
}

#[test]
fn why_a_job_failed() {
    let long = "é".repeat(900);
    for (body, error) in [
        (
            r#"{"code":"success","data":{"task_id":"t","status":"FAILURE","fail_reason":"too dark"}}"#,
            Some("too dark"),
        ),
        (
            r#"{"code":"success","data":{"task_id":"t","status":"FAILURE","fail_reason":"","result_url":"too dark"}}"#,
            Some("too dark"),
        ),
        (
            r#"{"id":"t","status":"failed","error":{"code":"c","message":"m"}}"#,
            Some("m"),
        ),
        (
            r#"{"id":"t","status":"failed","error":{"code":"c","message":""}}"#,
            Some("c"),
        ),
        (r#"{"id":"t","status":"failed","error":"m"}"#, Some("m")),
        (r#"{"id":"t","status":"failed","message":"m"}"#, Some("m")),
        (r#"{"id":"t","status":"failed","error":null}"#, None),
        (r#"{"id":"t","status":"cancelled"}"#, None),
        // In older gateways the link to a good result stands here.
        (
            r#"{"task_id":"t","status":"succeeded","fail_reason":"https://h/1.mp4"}"#,
            None,
        ),
        (r#"{"task_id":"t","status":"running","message":"m"}"#, None),
        (
            &format!("{{\"task_id\":\"t\",\"status\":\"failed\",\"fail_reason\":\"{long}\"}}"),
            Some(&long[..1000]),
        ),
        (
            &format!("{{\"task_id\":\"t\",\"status\":\"failed\",\"fail_reason\":\"x{long}\"}}"),
            Some(&format!("x{}", &long[..998])),
        ),
    ] {
        let poll = read_poll(StatusCode::OK, body.as_bytes()).unwrap();
        assert_eq!(poll.error.as_deref(), error, "{body}");
    }
}

#[test]
fn what_is_a_poll() {
    for (path, id) in [
        ("/v1/video/generations/task_1", Some("task_1")),
        ("/v1/videos/task_1", Some("task_1")),
        ("/v1/videos/a%2fb", Some("a%2fb")),
        ("/v1/videos/task_1/content", None),
        ("/v1/videos/task_1/", None),
        ("/v1/videos/", None),
        ("/v1/videos", None),
        ("/v1/video/generations/", None),
        ("/v1/video/generations/task_1/x", None),
        ("/v1/video/task_1", None),
        ("/v1/images/generations/task_1", None),
        ("/videos/task_1", None),
    ] {
        assert_eq!(poll_target(&Method::GET, path), id, "{path}");
        assert_eq!(poll_target(&Method::DELETE, path), None, "{path}");
        assert_eq!(poll_target(&Method::POST, path), None, "{path}");
    }
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(body: Vec<u8>) {
        let _ = read_submit(&body);
        prop_assert!(read_poll(StatusCode::OK, &body).is_none());
    }

    #[test]
    fn only_a_named_job_fails(
        status in "[a-zA-Z_]{0,10}|failed|FAILURE|error", id in prop::option::of("[a-z]{1,4}"),
        wrapped: bool,
    ) {
        let mut job = serde_json::json!({ "status": status });
        if let Some(id) = &id {
            job["task_id"] = id.as_str().into();
        }
        let answer = if wrapped {
            serde_json::json!({ "code": "success", "data": job })
        } else {
            job
        };
        let poll = read_poll(StatusCode::OK, answer.to_string().as_bytes());
        let failed = poll.is_some_and(|poll| poll.state.is_failure());
        prop_assert_eq!(failed, id.is_some() && State::from_word(&status).is_failure());
    }
}
