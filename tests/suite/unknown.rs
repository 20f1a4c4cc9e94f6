//! When nobody knows whether a run was paid for: it is not run again unless somebody says so, and
//! what proves that nothing ran leaves no doubt.

use std::time::Duration;

use hyper::StatusCode;
use reprise::config::UnknownOutcome;
use reprise::sandbox::FaultBuilder;
use serde_json::{Value, json};

use crate::codings::gzip;
use crate::house::{Answer, Broken, Call, Client, House, Plan};
use crate::paying_once::{COLLAPSED, STORED};
use crate::wire::{Parrot, Wire};

const IMAGES: &str = "/v1/images/generations";
const SPEECH: &str = "/v1/audio/speech";
const JSON: &str = "application/json";

/// The requests whose outcome has to be remembered.
fn dear() -> [(&'static str, Value); 5] {
    [
        (IMAGES, json!({"model": "gpt-image-2", "prompt": "?"})),
        (SPEECH, json!({"model": "tts-1", "input": "?"})),
        (
            "/v1/video/generations",
            json!({"model": "m", "prompt": "?"}),
        ),
        ("/v1/videos", json!({"model": "m", "prompt": "?"})),
        (
            "/v1/images/edits",
            json!({"model": "m", "prompt": "?", "image": "https://a.example"}),
        ),
    ]
}

/// A house whose upstream may not take long.
fn impatient() -> Plan {
    House::new().config(|config| {
        config.upstream.response_timeout = Duration::from_millis(700);
        config.upstream.idle_timeout = Duration::from_millis(700);
    })
}

type Fault = fn(&FaultBuilder) -> &FaultBuilder;

/// Every way in which a paid call can lose its answer, and the statuses that tell of it.
const LOST: [(&str, Fault, &[u16]); 5] = [
    (
        "closed before the head",
        FaultBuilder::close_before_head,
        &[502],
    ),
    ("reset before the head", FaultBuilder::reset, &[502]),
    ("cut in the body", |fault| fault.cut_after(5), &[502]),
    (
        "silent in the body",
        |fault| fault.stall_after(5),
        &[502, 504],
    ),
    (
        "no head in time",
        |fault| fault.delay(Duration::from_mins(1)),
        &[504],
    ),
];

/// The next identical request is asked about, and the message says how to go on.
async fn asks(call: Call, name: &str) -> Answer {
    let asked = call.send().await;
    assert_eq!(
        (asked.status, asked.error_code().as_str()),
        (409, "outcome_unknown"),
        "{name}"
    );
    assert_eq!(asked.json()["error"]["type"], "conflict_error", "{name}");
    assert_eq!(asked.header("x-should-retry"), "false", "{name}");
    let message = asked.error_message();
    assert!(
        message.contains("`reprise jobs resolve"),
        "{name}: {message}"
    );
    let key = message.split("Key ").nth(1).unwrap_or_default();
    let digits = key.bytes().take_while(u8::is_ascii_hexdigit).count();
    assert_eq!(digits, 16, "{name}: {message}");
    asked
}

#[tokio::test]
async fn a_lost_answer_is_asked_about_until_no_cache_runs_it_again() {
    let mut house = impatient().await;
    for (name, fault, statuses) in LOST {
        for (path, body) in dear() {
            let name = format!("{name}: {path}");
            let before = house.billed();
            let call = |client: Client| client.post(path).json(&body).header("reprise-take", "2");

            fault(&house.sandbox.on(&format!("POST {path}")));
            match call(house.client()).try_send().await {
                Ok(lost) => {
                    assert!(statuses.contains(&lost.status), "{name}: {}", lost.status);
                    assert_eq!(lost.error_code(), "upstream_outcome_unknown", "{name}");
                    assert_eq!(lost.json()["error"]["type"], "api_error", "{name}");
                    assert_eq!(lost.header("x-should-retry"), "false", "{name}");
                }
                // Its head was shown already.
                Err(broken) => {
                    assert_eq!((path, &broken), (SPEECH, &Broken::InBody), "{name}");
                }
            }
            assert_eq!(house.billed(), before + 1, "{name}");
            let first = asks(call(house.client()), &name).await;
            let second = asks(call(house.client_h2()), &name).await;
            assert_eq!(first.body, second.body);
            assert_eq!(house.billed(), before + 1, "{name}");

            let fresh = call(house.client()).cache_control("no-cache").send().await;
            assert_eq!(
                fresh.cache_status(),
                "reprise; fwd=request; stored",
                "{name}"
            );
            assert_eq!(fresh.status, 200, "{name}");
            let kept = call(house.client()).send().await;
            assert!(kept.is_hit() || kept.cache_status() == COLLAPSED, "{name}");
            assert_eq!(kept.body, fresh.body, "{name}");
            assert_eq!(house.billed(), before + 2, "{name}");
        }
        // What is kept goes first; the next fault needs nothing kept.
        house = impatient().await;
    }
}

#[tokio::test]
async fn a_doubt_survives_a_restart() {
    let mut house = House::new().await;
    for (path, body) in dear() {
        house
            .sandbox
            .on(&format!("POST {path}"))
            .close_before_head();
        let lost = house.client().post(path).json(&body).send().await;
        assert_eq!(lost.status, 502, "{path}");
    }
    house.restart().await;
    assert_eq!(house.report().intents, 5);
    for (path, body) in dear() {
        asks(house.client().post(path).json(&body), path).await;
        let cached = house
            .client()
            .post(path)
            .json(&body)
            .cache_control("only-if-cached");
        assert_eq!(cached.send().await.error_code(), "not_cached");
    }
    assert_eq!(house.billed(), 5);
    // The 16 digits name what the request is.
    let (path, body) = &dear()[0];
    let call = || house.client().post(path).json(body);
    let message = call().send().await.error_message();
    call().cache_control("no-cache").send().await;
    assert!(message.contains(call().send().await.key()), "{message}");
}

#[tokio::test]
async fn a_gateway_that_lost_sight_passes_unchanged_and_leaves_a_doubt() {
    let house = House::new().await;
    let e2 = |code: &str| json!({"code": code, "message": "m", "data": null}).to_string();
    let e1 = |code: &str| {
        json!({"error": {"message": "m", "type": "new_api_error", "param": "", "code": code}})
            .to_string()
    };
    let page = "<html>Bad gateway</html>".to_owned();
    let answers = [
        (502, "text/html", page.clone()),
        (504, "text/html", page.clone()),
        (524, "text/html", page),
        (408, JSON, e1("timeout")),
        (502, "", String::new()),
        (500, JSON, e2("do_request_failed")),
        (500, JSON, e2("read_response_body_failed")),
        (500, JSON, e2("unmarshal_response_body_failed")),
        (500, JSON, e2("invalid_response")),
        (500, JSON, e1("do_request_failed")),
    ];
    for (take, (status, content_type, body)) in (1_u64..).zip(&answers) {
        for (path, asked) in dear() {
            let name = format!("{path}: {status} {body}");
            let before = house.billed();
            let call = || {
                let take = take.to_string();
                house
                    .client()
                    .post(path)
                    .json(&asked)
                    .header("reprise-take", &take)
            };
            let route = format!("POST {path}");
            house
                .sandbox
                .on(&route)
                .answer_billed(*status, content_type, body.clone());
            let passed = call().send().await;
            assert_eq!(passed.status, *status, "{name}");
            assert_eq!(&passed.text(), body, "{name}");
            assert_eq!(passed.header("content-type"), *content_type, "{name}");
            assert_eq!(passed.header("x-should-retry"), "false", "{name}");
            let told = format!("reprise; fwd=miss; fwd-status={status}");
            assert_eq!(passed.cache_status(), told, "{name}");
            asks(call(), &name).await;
            assert_eq!(house.billed(), before + 1, "{name}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_leaves_a_doubt() {
    let house = House::new().await;
    for (take, (content_type, body)) in (1_u64..).zip([
        (JSON, "{\"task_id\":\"ta"),
        ("text/html", "<html>fine</html>"),
    ]) {
        for (path, asked) in dear() {
            let take = take.to_string();
            let call = || {
                house
                    .client()
                    .post(path)
                    .json(&asked)
                    .header("reprise-take", &take)
            };
            let route = format!("POST {path}");
            house
                .sandbox
                .on(&route)
                .answer_billed(200, content_type, body);
            let passed = call().send().await;
            assert_eq!(
                (passed.status, passed.text().as_str()),
                (200, body),
                "{path}"
            );
            asks(call(), path).await;
        }
    }
    assert_eq!(house.billed(), 10);
}

#[tokio::test]
async fn what_proves_that_nothing_ran_leaves_no_doubt() {
    let house = House::new().await;
    let error = |code: &str| json!({"error": {"message": "m", "code": code}}).to_string();
    let answers = [
        (400, JSON, error("invalid_request")),
        (401, JSON, error("")),
        (403, JSON, error("insufficient_user_quota")),
        (404, JSON, error("model_not_found")),
        (413, JSON, error("read_request_body_failed")),
        (429, "", String::new()),
        (503, JSON, error("model_not_found")),
        (500, JSON, error("get_channel_failed")),
    ];
    for (take, (status, content_type, body)) in (1_u64..).zip(&answers) {
        for (path, asked) in dear() {
            let name = format!("{path}: {status}");
            let before = house.billed();
            let take = take.to_string();
            let call = || {
                house
                    .client()
                    .post(path)
                    .json(&asked)
                    .header("reprise-take", &take)
            };
            house
                .sandbox
                .on(&format!("POST {path}"))
                .answer(*status, content_type, body.clone());
            let refused = call().send().await;
            assert_eq!((refused.status, &refused.text()), (*status, body), "{name}");
            assert_eq!(refused.header("x-should-retry"), "", "{name}");
            let next = call().send().await;
            assert_eq!((next.status, next.cache_status()), (200, STORED), "{name}");
            assert_eq!(house.billed(), before + 1, "{name}");
        }
    }
    assert_eq!(
        crate::house::files_below(&house.data_dir().join("pending")).len(),
        0
    );
}

#[tokio::test]
async fn an_upstream_that_is_not_there_costs_nothing_and_runs_when_it_is_back() {
    let mut house = House::new().await;
    house.stop_sandbox().await;
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "?"}]});
    let all = || {
        dear()
            .into_iter()
            .chain([("/v1/chat/completions", chat.clone())])
    };
    for (path, body) in all() {
        let refused = house.client().post(path).json(&body).send().await;
        assert_eq!(refused.status, 502, "{path}");
        assert_eq!(refused.error_code(), "upstream_unreachable", "{path}");
        assert_eq!(refused.json()["error"]["type"], "api_error", "{path}");
        assert_eq!(
            refused.header("x-should-retry"),
            "",
            "nothing was paid: {path}"
        );
    }
    house.replace_sandbox().await;
    for (path, body) in all() {
        let runs = house.client().post(path).json(&body).send().await;
        assert_eq!((runs.status, runs.cache_status()), (200, STORED), "{path}");
    }
    assert_eq!(house.billed(), 6);
}

#[tokio::test]
async fn rerun_runs_again() {
    let house = House::new()
        .config(|config| {
            let cache = &mut config.cache;
            for kind in [&mut cache.images, &mut cache.video, &mut cache.audio] {
                kind.unknown_outcome = UnknownOutcome::Rerun;
            }
        })
        .await;
    for (path, body) in dear() {
        let before = house.billed();
        let call = || house.client().post(path).json(&body);
        house
            .sandbox
            .on(&format!("POST {path}"))
            .close_before_head();
        let lost = call().send().await;
        assert_eq!(
            (lost.status, lost.error_code().as_str()),
            (502, "upstream_outcome_unknown")
        );
        let again = call().send().await;
        assert_eq!(
            (again.status, again.cache_status()),
            (200, STORED),
            "{path}"
        );
        assert_eq!(house.billed(), before + 2, "{path}");
    }
}

#[tokio::test]
async fn a_chat_that_is_cut_runs_again_and_one_that_shall_ask_asks() {
    let said = json!([{"role": "user", "content": "?"}]);
    let body = json!({"model": "m", "messages": said});
    let chat = |house: &House| house.client().post("/v1/chat/completions").json(&body);
    let house = House::new().await;
    // So that there is a connection to use again.
    chat(&house).header("reprise-take", "9").send().await;
    for fault in [FaultBuilder::close_before_head, FaultBuilder::reset] {
        let before = house.sandbox.count("POST ");
        fault(&house.sandbox.on("POST /v1/chat"));
        let cut = chat(&house).send().await;
        assert_eq!(cut.status, 502);
        assert_eq!(
            house.sandbox.count("POST ") - before,
            1,
            "it was sent twice"
        );
    }
    let next = chat(&house).send().await;
    assert_eq!((next.status, next.cache_status()), (200, STORED));

    let house = House::new()
        .config(|config| config.cache.chat.unknown_outcome = UnknownOutcome::Ask)
        .await;
    house.sandbox.on("POST /v1/chat").close_before_head();
    assert_eq!(chat(&house).send().await.status, 502);
    asks(chat(&house), "chat").await;
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_doubt_outlives_a_run_that_is_refused() {
    let house = House::new().await;
    let (path, body) = &dear()[0];
    let call = || house.client().post(path).json(body);
    house.sandbox.on("POST /v1/images").close_before_head();
    call().send().await;
    house.sandbox.on("POST /v1/images").answer(429, "", "");
    let refused = call().cache_control("no-cache").send().await;
    assert_eq!(
        StatusCode::from_u16(refused.status).unwrap(),
        StatusCode::TOO_MANY_REQUESTS
    );
    asks(call(), "the earlier run may still have been paid for").await;
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_doubt_takes_nothing_away_that_is_kept() {
    let house = House::new().await;
    let (path, body) = &dear()[0];
    let call = || house.client().post(path).json(body);
    let kept = call().send().await;
    house.sandbox.on("POST /v1/images").close_before_head();
    let lost = call().cache_control("no-cache").send().await;
    assert_eq!(lost.status, 502);
    let hit = call().send().await;
    assert!(hit.is_hit());
    assert_eq!(hit.body, kept.body);
}

#[tokio::test]
async fn two_runs_at_once_that_are_both_refused_leave_no_doubt() {
    let house = House::new().await;
    let (path, body) = &dear()[0];
    let call = || house.client().post(path).json(body);
    let gate = house.hold("POST /v1/images");
    house.sandbox.on("POST /v1/images").answer(429, "", "");
    let later = house.sandbox.on("POST /v1/images");
    later.delay(Duration::from_millis(300)).answer(429, "", "");
    let first = call().begin();
    gate.arrived(1).await;
    let second = call().cache_control("no-cache").begin();
    gate.arrived(2).await;
    gate.release();
    assert_eq!(
        (first.answer().await.status, second.answer().await.status),
        (429, 429)
    );
    let next = call().send().await;
    assert_eq!((next.status, next.cache_status()), (200, STORED));
}

#[tokio::test]
async fn a_run_that_is_refused_does_not_take_the_note_of_another() {
    let house = House::new().await;
    let (path, body) = &dear()[0];
    let call = || house.client().post(path).json(body);
    let gate = house.hold("POST /v1/images");
    house.sandbox.on("POST /v1/images").answer(429, "", "");
    let later = house.sandbox.on("POST /v1/images");
    later.delay(Duration::from_mins(1));
    let refused = call().begin();
    gate.arrived(1).await;
    let running = call().cache_control("no-cache").begin();
    gate.arrived(2).await;
    gate.release();
    assert_eq!(refused.answer().await.status, 429);
    assert_eq!(house.billed(), 1);

    // What a crash would leave now, with one run paid for and under way.
    let after = House::new().disk(&house.data_dir()).await;
    asks(
        after.client().post(path).json(body),
        "the run that is under way",
    )
    .await;
    running.leave().await;
}

/// The same code, however the answer that nobody keeps is framed or coded; and what nobody can read.
#[tokio::test]
async fn what_passes_by_and_leaves_a_doubt_is_not_to_be_sent_again() {
    let lost = json!({"code": "do_request_failed", "message": "m"}).to_string();
    let known = json!({"code": "bad_response_body", "message": "m"}).to_string();
    let (coded, long) = (gzip(lost.as_bytes()), vec![b' '; 100_000]);
    let fits = |body: &[u8]| format!("Content-Length: {}\r\n", body.len());
    let chunked = || "Transfer-Encoding: chunked\r\n".to_owned();
    let gzipped = "Content-Encoding: gzip\r\n";
    for (head, body, warned) in [
        (fits(lost.as_bytes()), lost.as_bytes(), true),
        (chunked(), lost.as_bytes(), true),
        (String::new(), lost.as_bytes(), true),
        (fits(&coded) + gzipped, &coded, true),
        (chunked() + gzipped, &coded, true),
        (chunked() + gzipped, &coded[..coded.len() - 1], true),
        (chunked() + "Content-Encoding: br\r\n", &coded, true),
        (chunked(), &long, true),
        (fits(&long), &long, true),
        (chunked(), known.as_bytes(), false),
        (fits(known.as_bytes()), known.as_bytes(), false),
    ] {
        let mut answer = format!("HTTP/1.1 500 No\r\nConnection: close\r\n{head}\r\n").into_bytes();
        if head.contains("chunked") {
            for piece in body.chunks(50_000) {
                answer.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                answer.extend_from_slice(piece);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
        } else {
            answer.extend_from_slice(body);
        }
        let parrot = Parrot::saying(answer).await;
        let house = House::new().config(parrot.behind()).await;
        for (path, asked) in dear() {
            let call = house.client().post(path).json(&asked);
            let passed = call.cache_control("no-store").send().await;
            let told = passed.header("x-should-retry") == "false";
            assert_eq!((passed.status, told), (500, warned), "{path} {head}");
            assert!(passed.body == body, "{path} {head}");
        }
        // Nobody is told what to do where nothing is paid for.
        let other = house.client().post("/v1/files").raw("text/plain", "x");
        assert_eq!(other.send().await.header("x-should-retry"), "", "{head}");
    }
}

#[tokio::test]
async fn what_passes_by_and_was_not_sent_was_not_paid_for() {
    let house = House::new().await;
    house.stop_sandbox().await;
    for (path, asked) in dear() {
        let call = house.client().post(path).json(&asked);
        let answer = call.cache_control("no-store").send().await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (502, "upstream_unreachable")
        );
        let message = answer.error_message();
        assert!(message.contains("nothing was sent"), "{path}: {message}");
        assert!(!message.contains("may have been paid"), "{path}: {message}");
    }
    // A request that its client did not finish is none.
    let house = House::new().await;
    let mut wire = Wire::open(house.addr()).await;
    wire.say(
        "POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nCache-Control: no-store\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"model\"",
    )
    .await;
    wire.finish().await;
    let head = wire.head().await;
    let body = String::from_utf8(wire.body(&head).await).unwrap();
    assert_eq!(head.status(), 400, "{body}");
    assert!(body.contains("\"incomplete_body\""), "{body}");
    assert!(!body.contains("may have been paid"), "{body}");
    assert_eq!(house.billed(), 0);
}
