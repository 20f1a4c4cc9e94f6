//! What runs cost: held before they are sent, booked at their end, never more than a budget has.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use reprise::clock::Clock;
use reprise::config::Price;
use serde_json::{Value, json};

use crate::house::{Answer, Call, House, Plan, until};

const IMAGES: &str = "/v1/images/generations";
pub(crate) const VIDEO: &str = "/v1/video/generations";
const CHAT: &str = "/v1/chat/completions";
pub(crate) const EPSILON: f64 = 1e-9;
const PICTURE: &str = r#"{"created":1,"data":[{"b64_json":"aGVsbG8="}]}"#;

/// A house where a run of the model `m` costs one dollar, and a day has so many. Jobs end when the test
/// says so.
pub(crate) fn house(usd_per_day: f64) -> Plan {
    House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(move |config| {
            config.jobs.min_poll_interval = Duration::from_nanos(1);
            config.limits.usd_per_day = usd_per_day;
            let dollar = Price {
                per_request: Some(1.0),
                ..Price::default()
            };
            config.prices.insert("m".to_owned(), dollar);
        })
}

/// A request on this path that is like no other.
pub(crate) fn ask(house: &House, path: &str, n: usize) -> Call {
    let text = format!("a boat {n}");
    let body = match path {
        CHAT => json!({"model": "m", "messages": [{"role": "user", "content": text}]}),
        _ => json!({"model": "m", "prompt": text}),
    };
    house.client().post(path).json(&body)
}

/// Every line of the ledger.
pub(crate) fn lines(house: &House) -> Vec<Value> {
    let Ok(pages) = std::fs::read_dir(house.data_dir().join("ledger")) else {
        return Vec::new();
    };
    // A folder has none.
    let texts = pages.map(|page| std::fs::read_to_string(page.unwrap().path()).unwrap_or_default());
    let texts: Vec<String> = texts.collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The lines of this outcome.
pub(crate) fn booked(house: &House, outcome: &str) -> Vec<Value> {
    let mut lines = lines(house);
    lines.retain(|line| line["outcome"] == outcome);
    lines
}

pub(crate) fn dollars(lines: &[Value], field: &str) -> f64 {
    lines.iter().map(|line| line[field].as_f64().unwrap()).sum()
}

pub(crate) fn is_refused(answer: &Answer) -> bool {
    if answer.status != 402 {
        return false;
    }
    assert_eq!(answer.error_code(), "insufficient_quota");
    assert_eq!(answer.json()["error"]["type"], "insufficient_quota");
    assert_eq!(answer.header("x-should-retry"), "false");
    assert!(!answer.headers.contains_key("retry-after"));
    true
}

pub(crate) async fn poll(house: &House, submit: &Answer) -> Answer {
    let task = submit.json()["task_id"].as_str().unwrap().to_owned();
    house.client().get(&format!("{VIDEO}/{task}")).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_pay_for_the_ten_that_a_budget_has() {
    for path in [IMAGES, CHAT, VIDEO] {
        let mut house = house(10.0).await;
        let gate = house.hold(&format!("POST {path}"));
        let calls: Vec<_> = (0..50).map(|n| ask(&house, path, n).begin()).collect();
        gate.arrived(10).await;
        until(|| calls.iter().filter(|call| call.is_over()).count() == 40).await;
        gate.release();
        let mut answered = Vec::new();
        for call in calls {
            let answer = call.answer().await;
            if !is_refused(&answer) {
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                answered.push(answer);
            }
        }
        assert_eq!((answered.len(), house.billed()), (10, 10), "{path}");
        for n in 50..52 {
            assert!(is_refused(&ask(&house, path, n).send().await), "{path}");
            house.restart().await;
        }
        if path == VIDEO {
            assert_eq!(booked(&house, "paid").len(), 0, "they run");
            house.sandbox.finish_jobs();
            for submit in &answered {
                assert_eq!(poll(&house, submit).await.status, 200);
            }
        }
        let paid = booked(&house, "paid");
        assert_eq!(paid.len(), 10, "{path}");
        assert!(
            (dollars(&paid, "usd_spent") - 10.0).abs() < EPSILON,
            "{path}"
        );
        assert!(is_refused(&ask(&house, path, 52).send().await), "{path}");
        assert_eq!(house.billed(), 10, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_says_which_budget_and_when_it_resets() {
    let clock = Clock::system();
    let house = house(1.5).clock(&clock).await;
    assert_eq!(ask(&house, IMAGES, 1).send().await.status, 200);
    let refused = ask(&house, IMAGES, 2).send().await;
    assert!(is_refused(&refused), "{}", refused.text());
    let tomorrow = clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let tomorrow = tomorrow.tomorrow().unwrap();
    let message = refused.error_message();
    for part in [
        "estimated at $1.00",
        "usd_per_day has $0.50 left of $1.50",
        &format!("resets at {tomorrow}T00:00:00Z"),
    ] {
        assert!(message.contains(part), "{message}");
    }
    // What is kept is free, and what nobody knows a price of as well.
    assert!(ask(&house, IMAGES, 1).send().await.is_hit());
    let unpriced = json!({"model": "nobody-s", "prompt": "a boat"});
    let unpriced = house.client().post(IMAGES).json(&unpriced);
    assert_eq!(unpriced.send().await.status, 200);
    assert_eq!(house.billed(), 2);
    let unpriced = booked(&house, "paid").into_iter();
    let unpriced: Vec<_> = unpriced.filter(|line| line["unpriced"] == true).collect();
    assert_eq!(unpriced.len(), 1);
    // Another day has a budget of its own.
    clock.jump(SignedDuration::from_hours(24));
    assert_eq!(ask(&house, IMAGES, 2).send().await.status, 200);
    assert!(is_refused(&ask(&house, IMAGES, 3).send().await));
    clock.jump(SignedDuration::from_hours(-24));
    assert!(
        is_refused(&ask(&house, IMAGES, 3).send().await),
        "still spent"
    );
}

#[tokio::test]
async fn a_job_holds_its_money_to_its_end() {
    let mut house = house(1.0).await;
    let failing = json!({"model": "m", "prompt": "a boat [fail]"});
    let submit = house.client().post(VIDEO).json(&failing).send().await;
    assert!(is_refused(&ask(&house, VIDEO, 1).send().await));
    house.restart().await;
    assert!(is_refused(&ask(&house, VIDEO, 1).send().await), "it runs");
    house.sandbox.finish_jobs();
    poll(&house, &submit).await;
    let failed = booked(&house, "failed");
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["task"].is_string() && failed[0]["run"].is_string());

    let submit = ask(&house, VIDEO, 1).send().await;
    assert_eq!(submit.status, 200, "given back");
    house.sandbox.finish_jobs();
    for _ in 0..2 {
        assert_eq!(poll(&house, &submit).await.status, 200);
    }
    let task = submit.json()["task_id"].as_str().unwrap().to_owned();
    let other = house.client().get(&format!("/v1/videos/{task}"));
    assert_eq!(other.send().await.status, 200);
    let paid = booked(&house, "paid");
    assert_eq!(paid.len(), 1, "once, whoever shows its end");
    assert_eq!(paid[0]["task"], task.as_str());
    assert!(is_refused(&ask(&house, VIDEO, 2).send().await), "spent");
}

#[tokio::test]
async fn what_nobody_knows_stays_held_until_somebody_runs_it_again() {
    let mut house = house(2.0).await;
    house.sandbox.on("POST /v1/images").close_before_head();
    assert_eq!(ask(&house, IMAGES, 1).send().await.status, 502);
    assert_eq!(booked(&house, "unknown").len(), 1);
    assert_eq!(ask(&house, IMAGES, 2).send().await.status, 200);
    assert!(is_refused(&ask(&house, IMAGES, 3).send().await), "in doubt");
    house.restart().await;
    assert!(is_refused(&ask(&house, IMAGES, 3).send().await), "in doubt");
    assert_eq!(booked(&house, "unknown").len(), 1, "one line");

    let mut house = self::house(2.0).await;
    house.sandbox.on("POST /v1/images").close_before_head();
    assert_eq!(ask(&house, IMAGES, 1).send().await.status, 502);
    let again = ask(&house, IMAGES, 1).cache_control("no-cache").send();
    assert_eq!(again.await.status, 200);
    let paid = booked(&house, "paid");
    assert_eq!(paid[0]["possible_double_payment"], true);
    // Nobody waits for the first one any longer: of two dollars one is left.
    house.restart().await;
    assert_eq!(ask(&house, IMAGES, 2).send().await.status, 200);
    assert!(is_refused(&ask(&house, IMAGES, 3).send().await));
}

#[tokio::test]
async fn a_chat_of_unknown_outcome_is_held_where_there_is_a_budget() {
    let mut house = house(2.0).await;
    house.sandbox.on("POST /v1/chat").close_before_head();
    assert_eq!(ask(&house, CHAT, 1).send().await.status, 502);
    house.restart().await;
    assert_eq!(ask(&house, CHAT, 2).send().await.status, 200);
    assert!(is_refused(&ask(&house, CHAT, 3).send().await));
    // It is run again without a question, and that settles it.
    let house = self::house(3.0).await;
    house.sandbox.on("POST /v1/chat").close_before_head();
    assert_eq!(ask(&house, CHAT, 1).send().await.status, 502);
    assert_eq!(ask(&house, CHAT, 1).send().await.status, 200);
    assert_eq!(booked(&house, "paid")[0]["possible_double_payment"], true);
    assert_eq!(ask(&house, CHAT, 2).send().await.status, 200);
    assert_eq!(ask(&house, CHAT, 3).send().await.status, 200);
    assert!(is_refused(&ask(&house, CHAT, 4).send().await));
}

#[tokio::test]
async fn what_is_passed_by_is_paid_like_the_rest() {
    let house = house(2.0).await;
    let bypass = |n| ask(&house, IMAGES, n).cache_control("no-store").send();
    let fault = house.sandbox.on("POST /v1/images");
    fault.answer(400, "application/json", "{\"error\":{}}");
    assert_eq!(bypass(1).await.status, 400);
    for n in [1, 1] {
        assert_eq!(bypass(n).await.status, 200);
    }
    let refused = bypass(2).await;
    assert!(is_refused(&refused), "{}", refused.text());
    let paid = booked(&house, "paid");
    assert_eq!(paid.len(), 2, "durable with the last byte");
    assert!((dollars(&paid, "usd_spent") - 2.0).abs() < EPSILON);
    assert_eq!(house.billed(), 2);
    until(|| booked(&house, "failed").len() == 1).await;
}

#[tokio::test]
async fn what_was_saved_is_written_too() {
    let house = house(0.0).await;
    for _ in 0..3 {
        assert_eq!(ask(&house, IMAGES, 1).send().await.status, 200);
        assert_eq!(ask(&house, VIDEO, 1).send().await.status, 200);
    }
    until(|| lines(&house).len() == 5).await;
    for (outcome, kind) in [("hit", "images"), ("joined", "video")] {
        let saved = booked(&house, outcome);
        assert_eq!(saved.len(), 2, "{outcome}");
        assert!(saved.iter().all(|line| line["kind"] == kind));
        assert!((dollars(&saved, "usd_saved") - 2.0).abs() < EPSILON);
        assert!(dollars(&saved, "usd_spent") < EPSILON);
    }
}

#[tokio::test]
async fn the_ledger_says_what_upstream_bills() {
    let house = house(0.0).await;
    let picture = json!({"model": "grok-imagine-image", "prompt": "a boat", "n": 2});
    let words = json!({"model": "grok-4.5", "messages": [{"role": "user", "content": "boats?"}]});
    let clip = json!({"model": "doubao-seedance-2-0-720p", "prompt": "a boat", "seconds": "5"});
    let second = json!({"model": "happyhorse-1.0-t2v", "prompt": "a boat", "seconds": 5});
    let failing = json!({"model": "happyhorse-1.0-t2v", "prompt": "a boat [fail]"});
    for (path, body) in [(IMAGES, &picture), (CHAT, &words)] {
        for directive in ["no-store", "max-age=1000"] {
            let call = house.client().post(path).json(body);
            assert_eq!(call.cache_control(directive).send().await.status, 200);
        }
    }
    let mut jobs = Vec::new();
    for body in [&clip, &second, &failing] {
        jobs.push(house.client().post(VIDEO).json(body).send().await);
    }
    house.sandbox.finish_jobs();
    for job in &jobs {
        assert_eq!(poll(&house, job).await.status, 200);
    }
    let last: BTreeMap<String, f64> = lines(&house)
        .iter()
        .map(|line| {
            let run = line["run"].as_str().unwrap().to_owned();
            (run, line["usd_spent"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(last.len(), 7, "one run, one line");
    let (spent, bill) = (last.values().sum::<f64>(), house.sandbox.bill().usd);
    assert!(
        bill > 1.0 && (spent - bill).abs() < 1e-6,
        "{spent} of {bill}: {:?}",
        lines(&house)
    );
}

const SPEECH: &str = "/v1/audio/speech";

/// The file of this month is a folder, so no line can be written; gone when that is.
fn block_ledger(house: &House) -> std::path::PathBuf {
    let ledger = house.data_dir().join("ledger");
    let _ = std::fs::remove_dir_all(&ledger);
    let month = Clock::system().now().strftime("%Y-%m.jsonl").to_string();
    let page = ledger.join(month);
    std::fs::create_dir_all(&page).unwrap();
    page
}

/// Lines can be written again.
fn unblock_ledger(page: &std::path::Path) {
    std::fs::remove_dir(page).unwrap();
}

#[tokio::test]
async fn what_is_passed_by_and_may_have_run_stays_held() {
    let clock = Clock::system();
    let mut house = house(3.0).clock(&clock).await;
    let bypass = |n| ask(&house, IMAGES, n).cache_control("no-store");
    house.sandbox.on("POST /v1/images").close_before_head();
    assert_eq!(bypass(1).send().await.status, 502);
    house.sandbox.on("POST /v1/images").cut_after(10);
    assert!(bypass(2).try_send().await.is_err(), "cut");
    let gate = house.hold("POST /v1/images");
    let call = bypass(3).begin();
    gate.arrived(1).await;
    call.leave().await;
    until(|| booked(&house, "unknown").len() == 3).await;
    gate.release();
    assert!(is_refused(&bypass(4).send().await));
    assert!(is_refused(&ask(&house, IMAGES, 5).send().await));
    house.restart().await;
    assert!(is_refused(&ask(&house, IMAGES, 5).send().await));
    assert_eq!(booked(&house, "unknown").len(), 3, "one line each");
    // Each is over with its month.
    clock.jump(SignedDuration::from_hours(24 * 32));
    assert_eq!(
        ask(&house, IMAGES, 6)
            .cache_control("no-store")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(notes(&house), 0);
}

/// How many notes of paid calls there are.
fn notes(house: &House) -> usize {
    let files = std::fs::read_dir(house.data_dir().join("pending")).unwrap();
    let names = files.map(|file| file.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".json"))
        .count()
}

#[tokio::test]
async fn a_note_of_what_is_passed_by_asks_nobody() {
    let house = house(10.0).await;
    for path in [IMAGES, CHAT] {
        let bypass = |n| ask(&house, path, n).cache_control("no-store");
        let gate = house.hold(&format!("POST {path}"));
        let call = bypass(1).begin();
        gate.arrived(1).await;
        assert_eq!(notes(&house), 1, "{path}");
        gate.release();
        assert_eq!(call.answer().await.status, 200);
        assert_eq!(notes(&house), 0, "{path}");
        house
            .sandbox
            .on(&format!("POST {path}"))
            .close_before_head();
        assert_eq!(bypass(1).send().await.status, 502, "{path}");
        assert_eq!(notes(&house), 1, "{path}");
        for call in [ask(&house, path, 1), bypass(1)] {
            let answer = call.send().await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        assert_eq!(notes(&house), 1, "{path}: nothing else answers it");
        std::fs::remove_dir_all(house.data_dir().join("pending")).unwrap();
        std::fs::create_dir(house.data_dir().join("pending")).unwrap();
    }
}

#[tokio::test]
async fn a_cheap_one_without_a_budget_has_no_note() {
    let house = house(0.0).await;
    let gate = house.hold(&format!("POST {CHAT}"));
    let call = ask(&house, CHAT, 1).cache_control("no-store").begin();
    gate.arrived(1).await;
    assert_eq!(notes(&house), 0);
    gate.release();
    assert_eq!(call.answer().await.status, 200);
}

#[tokio::test]
async fn a_rerun_that_nobody_knows_the_end_of_either_may_be_a_double_payment() {
    for path in [IMAGES, CHAT] {
        let house = house(0.0).await;
        for n in 0..2 {
            let fault = house.sandbox.on(&format!("POST {path}"));
            fault.close_before_head();
            // Of the dear one it is asked for, of the cheap one it is the default.
            let call = ask(&house, path, 1);
            let call = if n == 1 && path == IMAGES {
                call.cache_control("no-cache")
            } else {
                call
            };
            assert_eq!(call.send().await.status, 502, "{path}");
        }
        let unknown = booked(&house, "unknown");
        let marks = unknown
            .iter()
            .map(|line| line["possible_double_payment"] == true);
        assert_eq!(marks.collect::<Vec<_>>(), [false, true], "{path}");
    }
}

#[tokio::test]
async fn a_stream_that_does_not_say_what_was_used_is_paid_by_what_came() {
    let house = house(0.0)
        .config(|config| {
            let tokens = Price {
                output_per_million: Some(1_000_000.0),
                ..Price::default()
            };
            config.prices.insert("silent".to_owned(), tokens);
        })
        .await;
    let word = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"boat\"}}]}\n\n";
    let stream = word.repeat(7) + "data: [DONE]\n\n";
    let fault = house.sandbox.on("POST /v1/chat");
    fault
        .answer_billed(200, "text/event-stream", stream)
        .always();
    for directive in ["no-store", "max-age=1000"] {
        let messages = json!([{"role": "user", "content": "boats?"}]);
        let body =
            json!({"model": "silent", "stream": true, "max_tokens": 900, "messages": messages});
        let call = house.client().post(CHAT).json(&body);
        assert_eq!(call.cache_control(directive).send().await.status, 200);
    }
    let paid = booked(&house, "paid");
    let spent: Vec<_> = paid.iter().map(|line| line["usd_spent"].as_f64()).collect();
    assert_eq!(spent, [Some(7.0), Some(7.0)]);
}

#[tokio::test]
async fn nothing_is_passed_by_that_cannot_be_booked() {
    let house = house(5.0).await;
    let bypass = |n| ask(&house, IMAGES, n).cache_control("no-store").send();
    let page = block_ledger(&house);
    assert_eq!(bypass(1).await.status, 200, "nobody knew");
    for _ in 0..2 {
        let refused = bypass(2).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.error_code(), "store_unavailable");
    }
    assert_eq!(house.billed(), 1);
    unblock_ledger(&page);
    assert_eq!(bypass(2).await.status, 200);
    assert_eq!(booked(&house, "paid").len(), 2);
}

#[tokio::test]
async fn a_proxy_whose_ledger_takes_nothing_starts_and_shows_what_is_kept() {
    let mut house = house(2.0).await;
    assert_eq!(ask(&house, IMAGES, 1).send().await.status, 200);
    let page = block_ledger(&house);
    house.sandbox.on("POST /v1/images").close_before_head();
    assert_eq!(ask(&house, IMAGES, 2).send().await.status, 502);
    house.restart().await;
    assert!(ask(&house, IMAGES, 1).send().await.is_hit());
    assert_eq!(ask(&house, IMAGES, 3).send().await.status, 503);
    unblock_ledger(&page);
    // Its line of the paid one went with the folder; the one in doubt is held.
    assert_eq!(ask(&house, IMAGES, 3).send().await.status, 200);
    assert_eq!(booked(&house, "unknown").len(), 1);
    assert!(is_refused(&ask(&house, IMAGES, 4).send().await));
}

#[tokio::test]
async fn what_nobody_can_estimate_is_refused_when_nothing_is_left() {
    let house = house(1.0)
        .config(|config| {
            let second = Price {
                per_second: Some(0.1),
                ..Price::default()
            };
            config.prices.insert("voice".to_owned(), second);
            let free = Price {
                per_request: Some(0.0),
                ..Price::default()
            };
            config.prices.insert("free".to_owned(), free);
        })
        .await;
    let speak = |model: &str, text: &str| {
        let body = json!({"model": model, "input": text, "voice": "alloy"});
        house.client().post(SPEECH).json(&body).send()
    };
    assert_eq!(speak("voice", "one").await.status, 200);
    assert_eq!(ask(&house, IMAGES, 1).send().await.status, 200);
    let refused = speak("voice", "two").await;
    assert!(is_refused(&refused), "{}", refused.text());
    for model in ["free", "nobody-s"] {
        assert_eq!(speak(model, "two").await.status, 200, "{model}");
    }
}

#[tokio::test]
async fn the_usage_at_the_end_of_a_long_stream_is_what_is_paid() {
    let house = house(0.0)
        .config(|config| {
            let tokens = Price {
                output_per_million: Some(1_000_000.0),
                ..Price::default()
            };
            config.prices.insert("long".to_owned(), tokens);
        })
        .await;
    let word = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "boat ".repeat(200)
    );
    let end = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":7,\
               \"total_tokens\":10}}\n\ndata: [DONE]\n\n";
    // As long as is kept, a little more, and much more than that.
    for (n, words) in [1000, 1100, 3000].into_iter().enumerate() {
        let stream = word.repeat(words) + end;
        let fault = house.sandbox.on("POST /v1/chat");
        fault.answer_billed(200, "text/event-stream", stream.clone());
        let messages = json!([{"role": "user", "content": format!("boats? {n}")}]);
        let body = json!({"model": "long", "stream": true, "messages": messages});
        let call = house.client().post(CHAT).json(&body);
        let answer = call.cache_control("no-store").send().await;
        assert_eq!(answer.text().len(), stream.len());
        let paid = booked(&house, "paid");
        assert_eq!(paid.len(), n + 1);
        let spent = dollars(&paid, "usd_spent");
        let expected = [7.0, 14.0, 21.0][n];
        assert!((spent - expected).abs() < EPSILON, "{words}: {spent}");
    }
}

#[tokio::test]
async fn every_picture_of_a_stream_that_is_passed_by_is_paid() {
    let house = house(0.0)
        .config(|config| {
            let picture = Price {
                per_image: Some(1.0),
                ..Price::default()
            };
            config.prices.insert("painter".to_owned(), picture);
        })
        .await;
    // Each of them is longer than what arrives at once.
    let one = format!(
        "event: image_generation.completed\ndata: {{\"type\":\"image_generation.completed\",\
         \"b64_json\":\"{}\"}}\n\n",
        "A".repeat(300_000)
    );
    let fault = house.sandbox.on("POST /v1/images");
    fault.answer_billed(200, "text/event-stream", one.repeat(3));
    let body = json!({"model": "painter", "stream": true, "n": 3, "prompt": "boats"});
    let call = house.client().post(IMAGES).json(&body);
    let answer = call.cache_control("no-store").send().await;
    assert_eq!(answer.text().len(), 3 * one.len());
    let paid = booked(&house, "paid");
    assert!((dollars(&paid, "usd_spent") - 3.0).abs() < EPSILON);
}

#[tokio::test]
async fn the_model_is_charged_for_whatever_the_case_of_its_name() {
    let house = house(0.0).await;
    let bodies = [
        json!({"Model": "m", "prompt": "a boat"}),
        json!({"MODEL": "nobody-s", "model": "m", "prompt": "a boat"}),
        json!({"Model": "nobody-s", "model": "m", "prompt": "a boat"}),
    ];
    for body in &bodies {
        assert_eq!(
            house.client().post(IMAGES).json(body).send().await.status,
            200
        );
    }
    let paid = booked(&house, "paid");
    assert!(paid.iter().all(|line| line["model"] == "m"), "{paid:?}");
    assert!((dollars(&paid, "usd_spent") - 3.0).abs() < EPSILON);
}

/// MONEY: whatever only upstream reads is paid for all the same, so it is held and booked.
#[tokio::test]
async fn no_way_of_writing_a_request_is_free() {
    let plain = r#"{"model":"m","prompt":"a boat"}"#;
    let form =
        "before\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n";
    let mut ways: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "application/json",
            "",
            b"\xef\xbb\xbf{\"model\":\"m\"}".to_vec(),
        ),
        ("application/json", "", format!("{plain} and more").into()),
        (
            "application/json",
            "",
            r#"{"model":"other","model":"m"}"#.into(),
        ),
        (
            "application/json",
            "",
            br#"{"model":"m","prompt":"\xff"}"#.to_vec(),
        ),
        (
            "application/json",
            "",
            b"{\"model\":\"m\",\"size\":\"\xff\"}".to_vec(),
        ),
        ("application/json", "unknown", plain.into()),
        ("multipart/form-data; boundary=b", "", form.into()),
    ];
    for (coding, body) in crate::codings::all(plain.as_bytes()) {
        ways.push(("application/json", coding, body));
    }
    let count = ways.len();
    for directive in ["max-age=1000", "no-store"] {
        #[expect(clippy::cast_precision_loss, reason = "a dozen")]
        let house = house(count as f64).await;
        let fault = house.sandbox.on("POST /v1/images");
        fault
            .answer_billed(200, "application/json", PICTURE)
            .always();
        for (content_type, coding, body) in &ways {
            let mut call = house.client().post(IMAGES).cache_control(directive);
            if !coding.is_empty() {
                call = call.header("content-encoding", coding);
            }
            let answer = call.raw(content_type, body.clone()).send().await;
            assert_eq!(
                answer.status,
                200,
                "{content_type} {coding}: {}",
                answer.text()
            );
        }
        let refused = ask(&house, IMAGES, 1).cache_control(directive).send().await;
        assert!(is_refused(&refused), "{directive}: {}", refused.text());
        let paid = booked(&house, "paid");
        assert_eq!(paid.len(), count, "{directive}: {paid:?}");
        assert!(paid.iter().all(|line| line["model"] == "m"), "{paid:?}");
    }
}

/// The bytes are the client's own, on the way and in the name.
#[tokio::test]
async fn a_coded_request_goes_upstream_as_it_is() {
    let house = house(2.0).await;
    let fault = house.sandbox.on("POST /v1/images");
    fault
        .answer_billed(200, "application/json", PICTURE)
        .always();
    let [(_, gzip), (_, deflate), ..] = crate::codings::all(br#"{"model":"m","prompt":"a boat"}"#);
    for (coding, body) in [("gzip", &gzip), ("deflate", &deflate), ("gzip", &gzip)] {
        let call = house
            .client()
            .post(IMAGES)
            .header("content-encoding", coding);
        assert_eq!(
            call.raw("application/json", body.clone())
                .send()
                .await
                .status,
            200
        );
    }
    // A coding counts, and the same bytes are one.
    let seen = house.sandbox.requests();
    let seen: Vec<_> = seen
        .iter()
        .map(|seen| (seen.header("content-encoding"), &seen.body[..]))
        .collect();
    let sent = [(Some("gzip"), &gzip[..]), (Some("deflate"), &deflate[..])];
    assert_eq!(seen, sent);
    assert!(is_refused(&ask(&house, IMAGES, 1).send().await));
}

/// Whoever comes back with the same request may; the key stands for that one.
#[tokio::test]
async fn a_refused_request_may_be_sent_again_with_its_key() {
    let clock = Clock::system();
    let house = house(1.0).clock(&clock).await;
    assert_eq!(ask(&house, IMAGES, 1).send().await.status, 200);
    let keyed = |n| ask(&house, IMAGES, n).header("idempotency-key", "order-2");
    for _ in 0..2 {
        assert!(is_refused(&keyed(2).send().await));
    }
    let other = keyed(3).send().await;
    assert_eq!(
        (other.status, other.error_code().as_str()),
        (409, "idempotency_mismatch")
    );
    clock.jump(SignedDuration::from_hours(24));
    assert_eq!(keyed(2).send().await.status, 200);
    assert_eq!(house.billed(), 2);
}
