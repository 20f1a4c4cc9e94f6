//! What is kept stays: over restarts, a lost index, and a crash; what is damaged is not served.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::house::{Answer, Call, Client, House, copy, files_below, flip_a_bit};
use crate::paying_once::{COLLAPSED, STORED};

const CHAT: &str = "/v1/chat/completions";
const IMAGES: &str = "/v1/images/generations";

fn image(client: &Client, prompt: &str) -> Call {
    let body = json!({"model": "gpt-image-2", "prompt": prompt});
    client.post(IMAGES).json(&body)
}

/// Requests whose answers are kept in every way: in the record, as a blob, and as a blob that was
/// too large for memory.
fn all_sizes() -> Vec<(&'static str, &'static str, Value)> {
    let said = json!([{"role": "user", "content": "keep"}]);
    let large = json!({"model": "e", "input": ["a", "b"], "dimensions": 5_000});
    let many: Vec<String> = (0..40).map(|at| at.to_string()).collect();
    let larger = json!({"model": "e", "input": many, "dimensions": 5_000});
    vec![
        (
            "image",
            IMAGES,
            json!({"model": "gpt-image-2", "prompt": "keep"}),
        ),
        (
            "speech",
            "/v1/audio/speech",
            json!({"model": "t", "input": "keep"}),
        ),
        (
            "embedding",
            "/v1/embeddings",
            json!({"model": "e", "input": "keep"}),
        ),
        ("large", "/v1/embeddings", large),
        ("larger", "/v1/embeddings", larger),
        ("chat", CHAT, json!({"model": "m", "messages": said})),
        (
            "stream",
            CHAT,
            json!({"model": "m", "messages": said, "stream": true}),
        ),
        (
            "huge stream",
            "/v1/responses",
            json!({"model": "m", "input": "keep", "stream": true}),
        ),
    ]
}

/// An event stream of three mebibytes.
fn huge_stream() -> Bytes {
    let delta = json!({"type": "response.output_text.delta", "delta": "word ".repeat(3_000)});
    let part = format!("event: response.output_text.delta\ndata: {delta}\n\n").repeat(200);
    let end = json!({"type": "response.completed", "response": {"status": "completed"}});
    Bytes::from(part + &format!("event: response.completed\ndata: {end}\n\n"))
}

async fn pay_for_all(house: &House) -> Vec<Answer> {
    house
        .sandbox
        .on("POST /v1/responses")
        .answer_billed(200, "text/event-stream", huge_stream());
    let mut answers = Vec::new();
    for (name, path, body) in all_sizes() {
        let answer = house.client().post(path).json(&body).send().await;
        assert_eq!(
            (answer.status, answer.cache_status()),
            (200, STORED),
            "{name}"
        );
        answers.push(answer);
    }
    assert!(
        answers[3].body.len() > 64 * 1024,
        "{}",
        answers[3].body.len()
    );
    assert!(
        answers[4].body.len() > 1024 * 1024,
        "{}",
        answers[4].body.len()
    );
    assert!(answers[7].body.len() > 1024 * 1024);
    answers
}

async fn all_are_hits(house: &House, paid: &[Answer]) {
    for ((name, path, body), paid) in all_sizes().into_iter().zip(paid) {
        let hit = house.client().post(path).json(&body).send().await;
        assert!(hit.is_hit(), "{name}: {}", hit.cache_status());
        assert!(hit.body == paid.body, "{name}");
        assert_eq!(
            hit.header("content-type"),
            paid.header("content-type"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_restart_keeps_every_sort_of_answer() {
    let mut house = House::new().await;
    let paid = pay_for_all(&house).await;
    for _ in 0..2 {
        house.restart().await;
        let report = house.report();
        assert_eq!((report.generations, report.intents), (8, 0));
        assert_eq!((report.rebuilt.as_deref(), report.damaged.len()), (None, 0));
        all_are_hits(&house, &paid).await;
    }
    assert_eq!(house.billed(), 8);
}

#[tokio::test]
async fn a_restart_keeps_jobs_and_what_their_polls_said() {
    let mut house = House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .await;
    let submit = |client: Client| {
        let body = json!({"model": "doubao-seedance-2-0-720p", "prompt": "keep"});
        client.post("/v1/videos").json(&body)
    };
    let first = submit(house.client()).send().await;
    house.restart().await;
    let running = submit(house.client()).send().await;
    assert_eq!(running.cache_status(), COLLAPSED);
    assert_eq!(running.body, first.body);

    house.sandbox.finish_jobs();
    let task = first.json()["id"].as_str().unwrap().to_owned();
    let polls = [
        format!("/v1/videos/{task}"),
        format!("/v1/video/generations/{task}"),
    ];
    let mut ends = Vec::new();
    for poll in &polls {
        ends.push(house.client().get(poll).send().await);
    }
    house.restart().await;
    let asked = house.sandbox.requests().len();
    assert!(submit(house.client()).send().await.is_hit());
    for (poll, end) in polls.iter().zip(&ends) {
        let kept = house.client().get(poll).send().await;
        assert!(kept.is_hit(), "{poll}: {}", kept.cache_status());
        assert_eq!(kept.body, end.body, "{poll}");
    }
    assert_eq!(house.sandbox.requests().len(), asked);
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn an_index_that_is_lost_or_garbage_is_made_anew() {
    let mut house = House::new().await;
    let paid = pay_for_all(&house).await;
    let index = house.data_dir().join("index");
    for (name, harm) in [
        (
            "deleted",
            (|index| fs::remove_dir_all(index).unwrap()) as fn(&std::path::Path),
        ),
        ("garbage", |index| {
            for file in files_below(index) {
                fs::write(file, b"this is no index of anything".repeat(99)).unwrap();
            }
        }),
        ("emptied", |index| {
            for file in files_below(index) {
                fs::write(file, b"").unwrap();
            }
        }),
    ] {
        house.shutdown().await;
        harm(&index);
        house.start().await;
        assert!(house.report().rebuilt.is_some(), "{name}");
        assert_eq!(house.report().generations, 8, "{name}");
        all_are_hits(&house, &paid).await;
    }
    assert_eq!(house.billed(), 8);
}

#[tokio::test]
async fn a_flipped_bit_costs_that_one_generation() {
    let mut house = House::new().await;
    let client = house.client();
    let first = image(&client, "one").send().await;
    let second = image(&client, "two").send().await;
    let hit = image(&client, "one").send().await;
    house.shutdown().await;
    let records = files_below(&house.data_dir().join("generations"));
    assert_eq!(records.len(), 2);
    let name = |file: &&std::path::PathBuf| {
        file.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(hit.key())
    };
    let record = records.iter().find(name).unwrap();
    // Within the body: the record's line of JSON is as it was.
    flip_a_bit(record, 20);
    // The index may hold the body as well; what it holds is made from the files.
    fs::remove_dir_all(house.data_dir().join("index")).unwrap();
    house.start().await;
    assert_eq!(&house.report().damaged, std::slice::from_ref(record));
    let again = image(&house.client(), "one").send().await;
    assert_eq!((again.status, again.cache_status()), (200, STORED));
    assert_ne!(again.body, first.body);
    assert_eq!(image(&house.client(), "two").send().await.body, second.body);
    assert_eq!(image(&house.client(), "one").send().await.body, again.body);
    assert_eq!(house.billed(), 3);
}

#[tokio::test]
async fn a_damaged_blob_costs_that_one_generation() {
    let mut house = House::new().await;
    let paid = pay_for_all(&house).await;
    house.shutdown().await;
    let is_large = |file: &std::path::PathBuf| fs::metadata(file).unwrap().len() > 64 * 1024;
    let mut blobs = files_below(&house.data_dir().join("blobs"));
    blobs.retain(is_large);
    assert_eq!(blobs.len(), 3);
    for (at, blob) in blobs.iter().enumerate() {
        match at {
            0 => flip_a_bit(blob, 1_000),
            1 => fs::remove_file(blob).unwrap(),
            _ => fs::write(blob, b"short").unwrap(),
        }
    }
    house.start().await;
    house
        .sandbox
        .on("POST /v1/responses")
        .answer_billed(200, "text/event-stream", huge_stream());
    for ((name, path, body), paid) in all_sizes().into_iter().zip(&paid) {
        let answer = house.client().post(path).json(&body).send().await;
        let expected_hit = paid.body.len() < 64 * 1024;
        assert_eq!(
            answer.is_hit(),
            expected_hit,
            "{name}: {}",
            answer.cache_status()
        );
        assert!(
            answer.body == paid.body || path == CHAT,
            "{name}: damaged bytes were served"
        );
    }
    all_are_hits(&house, &paid).await;
    assert_eq!(house.billed(), 11);
}

#[tokio::test]
async fn a_full_disk_starts_nothing_and_hits_go_on() {
    let min_free = Arc::new(AtomicU64::new(0));
    let configured = min_free.clone();
    let mut house = House::new()
        .config(move |config| config.cache.min_free = configured.load(Ordering::Relaxed))
        .await;
    let kept = image(&house.client(), "kept").send().await;
    min_free.store(u64::MAX, Ordering::Relaxed);
    house.restart().await;
    let before = house.sandbox.requests().len();
    let said = json!([{"role": "user", "content": "new"}]);
    for (path, body) in [
        (IMAGES, json!({"model": "m", "prompt": "new"})),
        ("/v1/videos", json!({"model": "m", "prompt": "new"})),
        ("/v1/audio/speech", json!({"model": "m", "input": "new"})),
        ("/v1/embeddings", json!({"model": "m", "input": "new"})),
        (CHAT, json!({"model": "m", "messages": said})),
    ] {
        let refused = house.client().post(path).json(&body).send().await;
        assert_eq!(refused.status, 503, "{path}");
        assert_eq!(refused.error_code(), "store_unavailable", "{path}");
        assert_eq!(refused.json()["error"]["type"], "api_error", "{path}");
    }
    assert_eq!(house.sandbox.requests().len(), before, "something was sent");
    let hit = image(&house.client(), "kept").send().await;
    assert!(hit.is_hit());
    assert_eq!(hit.body, kept.body);
    assert_eq!(house.client().get("/v1/models").send().await.status, 200);

    min_free.store(0, Ordering::Relaxed);
    house.restart().await;
    assert_eq!(image(&house.client(), "new").send().await.status, 200);
}

/// A house that stands on what a crash of `house` at this moment would leave.
async fn after_a_crash(house: &House) -> House {
    let left = tempfile::tempdir().unwrap();
    copy(&house.data_dir(), left.path());
    House::new().disk(left.path()).await
}

#[tokio::test]
async fn a_crash_after_the_last_byte_loses_nothing() {
    let house = House::new().await;
    house
        .sandbox
        .on("POST /v1/responses")
        .answer_billed(200, "text/event-stream", huge_stream());
    for (name, path, body) in all_sizes() {
        let paid = house.client().post(path).json(&body).send().await;
        let after = after_a_crash(&house).await;
        let hit = after.client().post(path).json(&body).send().await;
        assert!(hit.is_hit(), "{name}: {}", hit.cache_status());
        assert!(hit.body == paid.body, "{name}");
        assert_eq!(after.sandbox.requests().len(), 0, "{name}");
    }
    let clip = json!({"model": "m", "prompt": "keep"});
    let paid = house.client().post("/v1/videos").json(&clip).send().await;
    let after = after_a_crash(&house).await;
    let joined = after.client().post("/v1/videos").json(&clip).send().await;
    assert_eq!(joined.cache_status(), COLLAPSED);
    assert_eq!(joined.body, paid.body);
    assert_eq!(after.billed(), 0);
}

#[tokio::test]
async fn the_last_event_is_shown_only_once_all_is_durable() {
    let house = House::new().await;
    let said = json!([{"role": "user", "content": "durable"}]);
    for (path, body, end) in [
        (
            CHAT,
            json!({"model": "m", "messages": said, "stream": true}),
            "[DONE]",
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "x", "stream": true}),
            "response.completed",
        ),
        (
            "/v1/messages",
            json!({"model": "m", "messages": said, "stream": true}),
            "message_stop",
        ),
    ] {
        let call = |client: Client| client.post(path).json(&body);
        let rehearsal = call(house.client())
            .header("reprise-take", "2")
            .send()
            .await;
        let events = rehearsal.text().matches("data: ").count();
        let records = || files_below(&house.data_dir().join("generations")).len();
        let before = records();

        let gate = house.hold_stream("POST ", events - 1);
        let mut opened = call(house.client()).open().await.unwrap();
        gate.arrived(1).await;
        while opened.so_far().matches("data: ").count() < events - 1 {
            opened.next().await.unwrap().unwrap();
        }
        assert!(!opened.so_far().contains(end), "{path}");
        assert_eq!(records(), before, "{path}");
        let crashed = after_a_crash(&house).await;
        assert_eq!(
            call(crashed.client()).send().await.cache_status(),
            STORED,
            "{path}"
        );

        gate.release();
        opened.read_to(end).await;
        // The end is in sight: whatever happens now, it is kept.
        let crashed = after_a_crash(&house).await;
        let paid = opened.rest().await.unwrap();
        let hit = call(crashed.client()).send().await;
        assert!(hit.is_hit(), "{path}");
        assert_eq!(hit.body, paid.body, "{path}");
    }
}

#[tokio::test]
async fn a_crash_in_the_middle_never_submits_by_itself() {
    let house = House::new().await;
    let gate = house.hold("POST ");
    let said = json!([{"role": "user", "content": "crash"}]);
    let chat = json!({"model": "m", "messages": said});
    let dear = [
        (IMAGES, json!({"model": "m", "prompt": "crash"})),
        ("/v1/videos", json!({"model": "m", "prompt": "crash"})),
        ("/v1/audio/speech", json!({"model": "m", "input": "crash"})),
    ];
    let mut begun = Vec::new();
    for (path, body) in dear.iter().chain([&(CHAT, chat.clone())]) {
        begun.push(house.client().post(path).json(body).begin());
    }
    gate.arrived(4).await;
    let after = after_a_crash(&house).await;
    assert_eq!(after.report().intents, 3);
    for (path, body) in &dear {
        let asked = after.client().post(path).json(body).send().await;
        assert_eq!(
            (asked.status, asked.error_code().as_str()),
            (409, "outcome_unknown"),
            "{path}"
        );
    }
    assert_eq!(after.sandbox.requests().len(), 0);
    let rerun = after.client().post(CHAT).json(&chat).send().await;
    assert_eq!((rerun.status, rerun.cache_status()), (200, STORED));
    gate.release();
    for call in begun {
        assert_eq!(call.answer().await.status, 200);
    }
    assert_eq!(house.billed(), 4);
}

/// Puts a file where a folder of the data directory was, so that nothing can be written there;
/// gives back what undoes it.
fn break_folder(house: &House, name: &str) -> impl FnOnce() + use<> {
    let folder = house.data_dir().join(name);
    let aside = house.data_dir().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, b"").unwrap();
    move || {
        fs::remove_file(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_fails_after_the_answer_costs_the_caller_nothing() {
    let house = House::new().await;
    let gate = house.hold("POST ");
    let first = image(&house.client(), "unkept").begin();
    gate.arrived(1).await;
    let mend = break_folder(&house, "generations");
    gate.release();
    let answer = first.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["data"][0]["url"].is_string());
    assert_eq!(answer.cache_status(), "reprise; fwd=miss; detail=not-kept");

    let refused = image(&house.client(), "unkept").send().await;
    assert!([409, 503].contains(&refused.status), "{}", refused.status);
    mend();
    let asked = image(&house.client(), "unkept").send().await;
    assert_eq!(
        (asked.status, asked.error_code().as_str()),
        (409, "outcome_unknown")
    );
    assert_eq!(house.billed(), 1);
    let fresh = image(&house.client(), "unkept")
        .cache_control("no-cache")
        .send()
        .await;
    assert_eq!(fresh.status, 200);
    assert_eq!(
        image(&house.client(), "unkept").send().await.body,
        fresh.body
    );
}

#[tokio::test]
async fn a_stream_that_cannot_be_kept_still_ends_well() {
    let house = House::new().await;
    let said = json!([{"role": "user", "content": "unkept"}]);
    let body = json!({"model": "m", "messages": said, "stream": true});
    let call = || house.client().post(CHAT).json(&body);
    let gate = house.hold_stream("POST ", 2);
    let opened = call().open().await.unwrap();
    gate.arrived(1).await;
    let mend = break_folder(&house, "generations");
    gate.release();
    let whole = opened.rest().await.unwrap();
    assert!(whole.text().ends_with("data: [DONE]\n\n"));
    mend();
    assert!(!call().send().await.is_hit());
}

#[tokio::test]
async fn nothing_dear_is_sent_without_a_note() {
    let house = House::new().await;
    let mend = break_folder(&house, "pending");
    for (path, body) in [
        (IMAGES, json!({"model": "m", "prompt": "new"})),
        ("/v1/videos", json!({"model": "m", "prompt": "new"})),
        ("/v1/audio/speech", json!({"model": "m", "input": "new"})),
    ] {
        let call = || house.client().post(path).json(&body);
        let refused = call().send().await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (503, "store_unavailable")
        );
    }
    assert_eq!(house.sandbox.requests().len(), 0);
    mend();
    assert_eq!(image(&house.client(), "new").send().await.status, 200);
}

#[tokio::test]
async fn after_a_failed_write_it_is_not_ready_and_starts_nothing_until_one_succeeds() {
    let house = House::new().await;
    let gate = house.hold("POST ");
    let first = image(&house.client(), "unkept").begin();
    gate.arrived(1).await;
    let mend = break_folder(&house, "generations");
    gate.release();
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(house.client().get("/readyz").send().await.status, 503);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "other"}]});
    let other = house.client().post(CHAT).json(&body).send().await;
    assert_eq!(
        (other.status, other.error_code().as_str()),
        (503, "store_unavailable")
    );
    mend();
    assert_eq!(
        house.client().post(CHAT).json(&body).send().await.status,
        200
    );
    assert_eq!(house.client().get("/readyz").send().await.status, 200);
}
