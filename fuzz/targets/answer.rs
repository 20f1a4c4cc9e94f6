//! Answers of a generation and of a poll: what is kept, and what is said of a job.
#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use reprise::generation::events::EventScanner;
use reprise::generation::outcome::{Answer, BodySummary, Verdict};
use reprise::generation::{Kind, judge};
use reprise::jobs::dialect;
use reprise_fuzz::asked;
use serde_json::Value;

const TYPES: [Option<&str>; 6] = [
    Some("application/json"),
    Some("text/event-stream; charset=utf-8"),
    Some("text/html"),
    Some("image/png"),
    Some("audio/mpeg"),
    None,
];
const STATUSES: [u16; 12] = [200, 201, 202, 204, 206, 301, 400, 403, 408, 429, 500, 504];

fuzz_target!(|input: &[u8]| {
    let [kind, content_type, status, body @ ..] = input else {
        return;
    };
    let kind = asked::kind(*kind);
    let content_type = TYPES[usize::from(*content_type) % TYPES.len()];
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let verdict = |body: &[u8]| verdict(kind, status, content_type, body);
    let one = verdict(body);

    if !status.is_success() || status == StatusCode::PARTIAL_CONTENT || body.is_empty() {
        assert_ne!(one, Verdict::Success);
    }
    if matches!(kind, Kind::Chat | Kind::Embeddings) {
        assert!(!matches!(one, Verdict::Unknown(_)), "never remembered");
    }
    if content_type == TYPES[1] && status == StatusCode::OK && !body.is_empty() {
        let mut scanner = EventScanner::new("/v1/x");
        scanner.push(body);
        let answer = Answer {
            status,
            content_type,
            body: BodySummary::Stream(scanner.end()),
        };
        assert_eq!(one, judge(kind, "/v1/x", &answer));
    } else if let Ok(value) = serde_json::from_slice::<Value>(body) {
        let spaced = [b" \r\n", body, b"\t\n"].concat();
        assert_eq!(one, verdict(&spaced), "white space");
        let rewritten = value.to_string();
        assert_eq!(one, verdict(rewritten.as_bytes()), "written by serde_json");
        // MONEY: a submit that is kept has a job to ask for.
        if kind == Kind::Video && one == Verdict::Success {
            let id = dialect::read_submit(body);
            assert!(id.is_some_and(|id| !id.is_empty()));
        }
    }
    poll(status, body);
});

fn verdict(kind: Kind, status: StatusCode, content_type: Option<&str>, body: &[u8]) -> Verdict {
    let answer = Answer {
        status,
        content_type,
        body: BodySummary::Whole(body),
    };
    judge(kind, "/v1/x", &answer)
}

fn poll(status: StatusCode, body: &[u8]) {
    dialect::is_deleted(body);
    let Some(poll) = dialect::read_poll(status, body) else {
        return;
    };
    assert!(status.is_success());
    assert!(poll.progress.is_none_or(|percent| percent <= 100));
    assert!(poll.error.as_ref().is_none_or(|text| text.len() <= 1000));
    // MONEY: only an answer that names its job may fail it.
    if poll.state.is_failure() {
        assert!(poll.task_id.is_some());
    } else {
        assert_eq!(poll.error, None);
    }
}
