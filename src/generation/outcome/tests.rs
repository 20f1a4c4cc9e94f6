//! Answers of every kind, and what they are worth.

use super::*;
use proptest::prelude::*;

const JSON: &str = "application/json; charset=utf-8";

fn verdict(kind: Kind, status: u16, content_type: &str, body: BodySummary<'_>) -> Verdict {
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        content_type: Some(content_type).filter(|name| !name.is_empty()),
        body,
    };
    judge(kind, "/v1/messages", &answer)
}

/// Kind, body of a 200 with JSON, and the verdict on it.
const BODIES: &str = r#"
chat | {"id":"c","choices":[{}],"usage":{}} | success
chat | {"error":null,"status":"completed"} | success
chat | {"status":"incomplete"} | success
chat | {"x":{"error":{"message":"m"}}} | success
chat | {"error":{"message":"m"}} | error-object
chat | {"error":"m"} | error-object
chat | {"\u0065rror":{}} | error-object
chat | {"success":false,"message":"m"} | not-success
chat | {"success":true} | success
chat | {"status":"failed","error":null} | failure-status
chat | {"status":"cancelled"} | failure-status
chat | {"status":"FAILED"} | failure-status
chat | {"status":"queued","background":true} | unfinished
chat | {"status":"in_progress"} | unfinished
chat | {"choices":[ | not-json
chat | <html> | not-json
chat | [] | not-json
chat | "text" | not-json
embeddings | {"data":[{"embedding":[0.1]}]} | success
embeddings | [[0.1]] | success
embeddings | {"data":[ | not-json
images | {"created":1,"data":[{"url":"https://h/1.png"}]} | success
images | {"data":[{"b64_json":"eA=="}],"usage":{}} | success
images | {"data":[]} | no-images
images | {"data":null} | no-images
images | {"created":1} | success
images | {"data":{"url":"x"}} | success
images | {"images":[{"url":"x"}]} | success
images | [] | no-images
images | {"data":[],"error":{"message":"m"}} | error-object
images | {"data":[{"b64_json":"eA | ?not-json
audio | {"text":"hello"} | success
audio | {"text":"hel | ?not-json
audio | {"error":{}} | error-object
video | {"task_id":"task_1","status":"submitted"} | success
video | {"id":"task_1","task_id":"task_1","object":"video","status":"queued","progress":0} | success
video | {"task_id":"cgt-1"} | success
video | {"id":"video_1","object":"video","status":"queued"} | success
video | {"code":"success","message":"","data":{"task_id":"task_1","status":"SUBMITTED"}} | success
video | {"id":"video_1","status":"completed","error":null} | success
video | {"task_id":"task_1","status":"failed"} | failure-status
video | {"code":"success","data":{"task_id":"task_1","status":"FAILURE"}} | failure-status
video | {"task_id":"task_1","error":{"message":"m"}} | error-object
video | {"success":false,"task_id":"task_1"} | not-success
video | {"code":"fail_to_fetch_task","message":"m","data":null} | not-success
video | {"code":"invalid_request","task_id":"task_1"} | not-success
video | {"status":"submitted"} | ?no-task
video | {"id":4711,"status":"queued"} | ?no-task
video | {"id":917} | no-task
video | {"task_id":""} | no-task
video | {"data":{"data":{"id":"cgt-1"}}} | no-task
video | {} | no-task
video | [] | no-task
video | {"task_id":"task | ?not-json
video | <html> | ?not-json
"#;

/// `success`, the word of a failure, or `?` and the word of an unknown outcome.
fn word(verdict: Verdict) -> String {
    match verdict {
        Verdict::Success => "success".to_owned(),
        Verdict::Failed(reason) => reason.as_str().to_owned(),
        Verdict::Unknown(reason) => format!("?{}", reason.as_str()),
    }
}

#[test]
fn two_hundreds() {
    for line in BODIES.trim().lines() {
        let columns: Vec<_> = line.split(" | ").collect();
        let [kind, body, expected] = columns.try_into().unwrap();
        let kind = kind.parse().unwrap();
        let body = BodySummary::Whole(body.as_bytes());
        assert_eq!(word(verdict(kind, 200, JSON, body)), expected, "{line}");
        assert_eq!(
            word(verdict(kind, 202, JSON, body)),
            expected,
            "202: {line}"
        );
    }
}

/// Kind, content type, body of a 200, and the verdict on it. `&` stands for a line feed.
const TYPED: &str = r#"
audio | audio/mpeg | ID3 | success
audio | text/plain | [Music] hello | success
audio | application/x-subrip | 1 00:00 --> 00:01 | success
audio | | [Music] hello | success
audio | text/html | <!doctype html> | ?not-json
audio | application/problem+json | [Music] hello | ?not-json
audio | text/plain | {"error":{}} | error-object
images | image/png | PNG | success
images | text/html | <!doctype html> | ?not-json
images | text/plain | {"data":[{}]} | success
chat | text/html; charset=utf-8 | <!doctype html> | not-json
chat | | {"choices":[]} | success
chat | application/json | | empty
chat | text/event-stream | | empty
chat | text/event-stream; charset=utf-8 | event: message_stop&data: {}&& | success
chat | text/event-stream | data: {}&& | no-end-marker
chat | text/event-stream | data: {"error":{}}&& | error-object
images | text/event-stream | data: {}&& | ?no-end-marker
video | TEXT/HTML | <!doctype html> | ?not-json
"#;

#[test]
fn content_types() {
    for line in TYPED.trim().lines() {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [kind, content_type, body, expected] = columns.try_into().unwrap();
        let body = body.replace('&', "\n");
        let body = BodySummary::Whole(body.as_bytes());
        let verdict = verdict(kind.parse().unwrap(), 200, content_type, body);
        assert_eq!(word(verdict), expected, "{line}");
    }
}

#[test]
fn bodies_that_were_not_kept_whole() {
    for (kind, content_type, body, expected) in [
        (Kind::Audio, "audio/mpeg", BodySummary::Opaque(9), "success"),
        (Kind::Audio, "audio/mpeg", BodySummary::Opaque(0), "empty"),
        (Kind::Audio, JSON, BodySummary::Opaque(9), "?not-json"),
        (Kind::Images, "image/png", BodySummary::Opaque(9), "success"),
        (
            Kind::Images,
            "application/pdf",
            BodySummary::Opaque(9),
            "?not-json",
        ),
        (Kind::Chat, "audio/mpeg", BodySummary::Opaque(9), "not-json"),
        (
            Kind::Video,
            "video/mp4",
            BodySummary::Opaque(9),
            "?not-json",
        ),
        (
            Kind::Chat,
            "",
            BodySummary::Stream(StreamEnd::Complete),
            "success",
        ),
        (
            Kind::Chat,
            "",
            BodySummary::Stream(StreamEnd::Incomplete),
            "no-end-marker",
        ),
        (
            Kind::Images,
            "",
            BodySummary::Stream(StreamEnd::Incomplete),
            "?no-end-marker",
        ),
        (
            Kind::Audio,
            "",
            BodySummary::Stream(StreamEnd::Incomplete),
            "?no-end-marker",
        ),
        (
            Kind::Images,
            "",
            BodySummary::Stream(StreamEnd::Error),
            "error-object",
        ),
    ] {
        let verdict = verdict(kind, 200, content_type, body);
        assert_eq!(word(verdict), expected, "{kind} {content_type} {body:?}");
    }
}

#[test]
fn statuses_that_are_none_of_success() {
    let good = BodySummary::Whole(br#"{"task_id":"task_1","choices":[],"data":[{}]}"#);
    for kind in Kind::ALL {
        for status in [
            206, 301, 304, 400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 501, 503,
        ] {
            assert_eq!(
                word(verdict(kind, status, JSON, good)),
                "status",
                "{kind} {status}"
            );
        }
        let expected = if unknown_matters(kind) {
            "?gateway-status"
        } else {
            "status"
        };
        for status in [408, 502, 504, 524] {
            for body in [good, BodySummary::Whole(b""), BodySummary::Opaque(7)] {
                assert_eq!(
                    word(verdict(kind, status, "", body)),
                    expected,
                    "{kind} {status}"
                );
            }
        }
    }
}

#[test]
fn five_hundreds() {
    for (body, lost) in [
        (
            r#"{"code":"do_request_failed","message":"m","data":null}"#,
            true,
        ),
        (r#"{"code":"read_response_body_failed"}"#, true),
        (r#"{"code":"unmarshal_response_body_failed"}"#, true),
        (
            r#"{"error":{"message":"m","code":"invalid_response"}}"#,
            true,
        ),
        (
            r#"{"error":{"code":"do_request_failed"},"code":null}"#,
            true,
        ),
        (r#"{"code":"get_channel_failed"}"#, false),
        (r#"{"error":{"code":"sensitive_words_detected"}}"#, false),
        (
            r#"{"error":{"message":"do_request_failed","code":500}}"#,
            false,
        ),
        (r#"{"error":"do_request_failed"}"#, false),
        (r#"{"message":"do_request_failed"}"#, false),
        (r#"{"data":{"code":"do_request_failed"}}"#, false),
        ("do_request_failed", false),
        ("", false),
    ] {
        for kind in Kind::ALL {
            let expected = if lost && unknown_matters(kind) {
                "?gateway-status"
            } else {
                "status"
            };
            let body = BodySummary::Whole(body.as_bytes());
            assert_eq!(
                word(verdict(kind, 500, JSON, body)),
                expected,
                "{kind} {body:?}"
            );
            // Only on a 500: the gateway uses these words for its own mistakes too.
            assert_eq!(word(verdict(kind, 503, JSON, body)), "status");
        }
    }
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(
        kind in prop::sample::select(Kind::ALL.to_vec()), status in 100..600_u16,
        content_type in prop::sample::select(vec![JSON, "", "text/event-stream", "text/plain"]),
        body: Vec<u8>,
    ) {
        let verdict = verdict(kind, status, content_type, BodySummary::Whole(&body));
        prop_assert!(verdict != Verdict::Success || (200..300).contains(&status));
        prop_assert!(verdict != Verdict::Success || !body.is_empty());
    }
}
