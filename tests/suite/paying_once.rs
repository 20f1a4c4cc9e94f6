//! An identical generation is paid for once, and answered with the same bytes ever after; what is
//! no success is never kept.

use std::time::Duration;

use jiff::SignedDuration;
use reprise::clock::Clock;
use reprise::config::{Mode, Ttl};
use serde_json::{Value, json};

use crate::house::{Answer, Call, Client, Form, House};

pub(crate) const STORED: &str = "reprise; fwd=miss; stored";
pub(crate) const COLLAPSED: &str = "reprise; fwd=miss; collapsed";

/// One request of every sort that can be paid for: a name, its path, and its JSON body.
fn every_sort() -> Vec<(&'static str, &'static str, Value)> {
    let said = json!([{"role": "user", "content": "a word"}]);
    let chat = |stream: bool| json!({"model": "grok-4.5", "messages": said, "stream": stream});
    let typed = |stream: bool| json!({"model": "grok-4.5", "input": "a word", "stream": stream});
    let old = |stream: bool| json!({"model": "grok-4.5", "prompt": "a word", "stream": stream});
    let other = |stream: bool| json!({"model": "claude-haiku-4-5", "max_tokens": 9, "messages": said, "stream": stream});
    let picture = json!({"model": "gpt-image-2", "prompt": "a door"});
    let drawn = json!({"model": "gpt-image-2", "prompt": "a door", "stream": true});
    let inline =
        json!({"model": "gpt-image-2", "prompt": "a door", "response_format": "b64_json", "n": 10});
    let edit =
        json!({"model": "gpt-image-2", "prompt": "a door", "image": "https://a.example/1.png"});
    let usage = json!({
        "model": "grok-4.5", "messages": said, "stream": true, "stream_options": {"include_usage": true}
    });
    vec![
        ("image", "/v1/images/generations", picture),
        ("image, inline", "/v1/images/generations", inline),
        ("image, stream", "/v1/images/generations", drawn),
        ("edit", "/v1/images/edits", edit),
        (
            "speech",
            "/v1/audio/speech",
            json!({"model": "tts-1", "input": "hello", "voice": "a"}),
        ),
        (
            "embedding",
            "/v1/embeddings",
            json!({"model": "e", "input": ["a", "b"]}),
        ),
        (
            "rerank",
            "/v1/rerank",
            json!({"model": "r", "query": "a", "documents": ["a", "b"]}),
        ),
        ("chat", "/v1/chat/completions", chat(false)),
        ("chat, stream", "/v1/chat/completions", chat(true)),
        ("chat, usage", "/v1/chat/completions", usage),
        ("completion", "/v1/completions", old(false)),
        ("completion, stream", "/v1/completions", old(true)),
        ("response", "/v1/responses", typed(false)),
        ("response, stream", "/v1/responses", typed(true)),
        ("message", "/v1/messages", other(false)),
        ("message, stream", "/v1/messages", other(true)),
    ]
}

fn image(client: &Client, prompt: &str) -> Call {
    let body = json!({"model": "gpt-image-2", "prompt": prompt});
    client.post("/v1/images/generations").json(&body)
}

fn chat(client: &Client, text: &str, stream: bool) -> Call {
    let said = json!([{"role": "user", "content": text}]);
    let body = json!({"model": "grok-4.5", "messages": said, "stream": stream});
    client.post("/v1/chat/completions").json(&body)
}

fn video(client: &Client, prompt: &str) -> Call {
    let body = json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt});
    client.post("/v1/video/generations").json(&body)
}

#[tokio::test]
async fn three_identical_requests_of_every_sort_are_paid_for_once() {
    let house = House::new().await;
    for (at, (name, path, body)) in every_sort().into_iter().enumerate() {
        let client = house.client();
        let call = || client.post(path).json(&body);
        let first = call().send().await;
        assert_eq!(
            (first.status, first.cache_status()),
            (200, STORED),
            "{name}"
        );
        assert!(
            !first.body.is_empty() && first.header("age").is_empty(),
            "{name}"
        );
        for again in [call(), house.client_h2().post(path).json(&body)] {
            let again = again.send().await;
            assert_eq!(again.status, 200, "{name}");
            assert_eq!(again.body, first.body, "{name}");
            assert_eq!(again.key().len(), 16, "{name}");
            assert!(
                again.key().bytes().all(|digit| digit.is_ascii_hexdigit()),
                "{name}"
            );
            assert!(again.header("age").parse::<u64>().unwrap() < 60, "{name}");
            assert_eq!(
                again.header("content-type"),
                first.header("content-type"),
                "{name}"
            );
            assert!(!again.header("content-type").is_empty(), "{name}");
            assert!(again.header("x-oneapi-request-id").is_empty(), "{name}");
        }
        assert!(!first.header("x-oneapi-request-id").is_empty(), "{name}");
        assert_eq!(house.billed(), at as u64 + 1, "{name}");
    }
}

#[tokio::test]
async fn a_form_is_paid_for_once() {
    let house = House::new().await;
    let form =
        Form::new("B")
            .text("model", "whisper-1")
            .file("file", ("a.wav", "audio/wav"), b"RIFF");
    for (at, path) in ["/v1/audio/transcriptions", "/v1/audio/translations"]
        .into_iter()
        .enumerate()
    {
        let first = house.client().post(path).form(&form).send().await;
        assert_eq!(
            (first.status, first.cache_status()),
            (200, STORED),
            "{path}"
        );
        let second = house.client().post(path).form(&form).send().await;
        assert!(second.is_hit(), "{path}");
        assert_eq!(first.body, second.body);
        assert_eq!(house.sandbox.bill().audio, at as u64 + 1);
    }
}

#[tokio::test]
async fn a_video_is_submitted_once_while_it_runs_and_after() {
    let house = House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .await;
    let first = video(&house.client(), "a door").send().await;
    assert_eq!((first.status, first.cache_status()), (200, STORED));
    let running = video(&house.client(), "a door").send().await;
    assert_eq!(running.cache_status(), COLLAPSED);
    assert_eq!(running.body, first.body);

    house.sandbox.finish_jobs();
    let task = first.json()["task_id"].as_str().unwrap().to_owned();
    house
        .client()
        .get(&format!("/v1/video/generations/{task}"))
        .send()
        .await;
    let done = video(&house.client(), "a door").send().await;
    assert!(done.is_hit(), "{}", done.cache_status());
    assert_eq!(done.body, first.body);
    assert_eq!(house.sandbox.bill().video, 1);
}

#[tokio::test]
async fn headers_of_the_answer_are_kept_and_those_of_the_exchange_are_not() {
    let house = House::new().await;
    let submit = || video(&house.client(), "with headers").send();
    let first = submit().await;
    assert!(!first.header("x-new-api-other-ratios").is_empty());
    assert!(!first.header("x-oneapi-request-id").is_empty());
    let again = submit().await;
    assert_eq!(
        again.header("x-new-api-other-ratios"),
        first.header("x-new-api-other-ratios")
    );
    assert_eq!(again.header("x-oneapi-request-id"), "");
    assert!(!again.header("date").is_empty());
    assert_ne!(again.header("x-request-id"), "");
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(again.header("content-length"), again.body.len().to_string());
}

/// Sends an unkept answer's request twice: the same answer both times, and both reach upstream.
async fn never_kept(house: &House, name: &str, call: impl Fn() -> Call) -> Answer {
    let before = house.sandbox.count("POST ");
    let first = call().send().await;
    let second = call().send().await;
    for answer in [&first, &second] {
        let expected = format!("reprise; fwd=miss; fwd-status={}", first.status);
        assert_eq!(answer.cache_status(), expected, "{name}");
    }
    assert_eq!(second.status, first.status, "{name}");
    assert_eq!(house.sandbox.count("POST ") - before, 2, "{name}");
    first
}

#[tokio::test]
async fn upstream_s_errors_pass_unchanged_and_are_never_kept() {
    let house = House::new().await;
    let client = house.client();
    let image_of = |model: &str, prompt: &str| {
        let body = json!({"model": model, "prompt": prompt});
        client.post("/v1/images/generations").json(&body)
    };
    let refused = never_kept(&house, "E1", || image_of("no-such-model", "x")).await;
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (503, "model_not_found")
    );

    let submit = || {
        let body = json!({"model": "m", "prompt": "x [refuse]"});
        client.post("/v1/videos").json(&body)
    };
    let refused = never_kept(&house, "E2", submit).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["code"], "fail_to_fetch_task");

    let poor = || {
        let body = json!({"model": "m", "prompt": "x [broke]"});
        client.post("/v1/video/generations").json(&body)
    };
    let refused = never_kept(&house, "403", poor).await;
    assert_eq!(refused.json()["code"], "insufficient_user_quota");

    let refused = never_kept(&house, "E3", || chat(&client, "[empty429]", false)).await;
    assert_eq!((refused.status, refused.body.len()), (429, 0));

    let refused = never_kept(&house, "500", || chat(&client, "[fail]", false)).await;
    assert_eq!(refused.status, 500);

    let variation = || {
        client
            .post("/v1/images/variations")
            .json(&json!({"image": "x"}))
    };
    let refused = never_kept(&house, "501", variation).await;
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (501, "api_not_implemented")
    );
    assert_eq!(house.billed(), 0);
}

#[tokio::test]
async fn what_only_looks_like_success_is_not_kept() {
    let house = House::new().await;
    let client = house.client();
    let error = r#"{"error":{"message":"no","type":"new_api_error","param":"","code":""}}"#;
    let json = "application/json";
    let answers = [
        (200, json, error),
        (200, json, r#"{"success":false,"message":"no"}"#),
        (
            200,
            json,
            r#"{"code":"fail_to_fetch_task","message":"no","data":null}"#,
        ),
        (200, json, r#"{"created":1,"data":[]}"#),
        (403, "text/html", "<html><h1>Forbidden</h1></html>"),
        (429, "", ""),
        (401, json, error),
        (404, json, error),
        (413, json, error),
        (503, "text/html; charset=utf-8", "<html>busy</html>"),
    ];
    for (at, (status, content_type, body)) in answers.into_iter().enumerate() {
        let prompt = format!("answer {at}");
        house
            .sandbox
            .on("POST /v1/images")
            .answer(status, content_type, body)
            .times(2);
        let first = never_kept(&house, body, || image(&client, &prompt)).await;
        assert_eq!(first.status, status, "{body}");
        assert_eq!(first.text(), body);
        assert_eq!(first.header("content-type"), content_type);
        assert_eq!(first.header("x-should-retry"), "", "{body}");
        let third = image(&client, &prompt).send().await;
        assert_eq!(
            (third.status, third.cache_status()),
            (200, STORED),
            "{body}"
        );
    }
    assert_eq!(house.billed(), 10);
}

#[tokio::test]
async fn a_stream_is_kept_only_with_its_end_marker_and_without_an_error() {
    let house = House::new().await;
    let said = json!([{"role": "user", "content": "a word"}]);
    for (path, body) in [
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": said, "stream": true}),
        ),
        (
            "/v1/completions",
            json!({"model": "m", "prompt": "a word", "stream": true}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "a word", "stream": true}),
        ),
        (
            "/v1/messages",
            json!({"model": "m", "messages": said, "stream": true}),
        ),
    ] {
        let before = house.billed();
        let call = || house.client().post(path).json(&body);
        house.sandbox.on(&format!("POST {path}")).without_done();
        let without = call().send().await;
        house.sandbox.on(&format!("POST {path}")).error_event();
        let broken = call().send().await;
        assert!(
            broken.text().contains("stream_error"),
            "{path}: {}",
            broken.text()
        );
        let whole = call().send().await;
        assert!(without.body.len() < whole.body.len(), "{path}");
        let hit = call().send().await;
        assert!(hit.is_hit(), "{path}");
        assert_eq!(hit.body, whole.body, "{path}");
        assert_eq!(house.billed() - before, 3, "{path}");
    }
}

#[tokio::test]
async fn a_kind_that_is_off_is_passed_by() {
    let house = House::new()
        .config(|config| {
            config.cache.images.mode = Mode::Off;
            config.cache.chat.mode = Mode::Deterministic;
        })
        .await;
    let client = house.client();
    for _ in 0..2 {
        let answer = image(&client, "off").send().await;
        assert_eq!(
            answer.cache_status(),
            "reprise; fwd=bypass; detail=mode-off"
        );
    }
    assert_eq!(house.sandbox.bill().images, 2);
    for _ in 0..2 {
        let answer = chat(&client, "any", false).send().await;
        assert_eq!(
            answer.cache_status(),
            "reprise; fwd=bypass; detail=not-deterministic"
        );
    }
    assert_eq!(house.sandbox.bill().chat, 2);
    for body in [
        json!({"temperature": 0}),
        json!({"temperature": 0.0}),
        json!({"seed": 7}),
    ] {
        let mut body = body;
        body["model"] = "m".into();
        body["messages"] = json!([{"role": "user", "content": "fixed"}]);
        let call = || client.post("/v1/chat/completions").json(&body);
        let first = call().send().await;
        let expected = if body["temperature"] == json!(0.0) {
            "hit"
        } else {
            STORED
        };
        assert!(
            first.cache_status().contains(expected),
            "{body}: {}",
            first.cache_status()
        );
        assert!(call().send().await.is_hit(), "{body}");
    }
    assert_eq!(house.sandbox.bill().chat, 4);
}

#[tokio::test]
async fn no_store_neither_looks_nor_keeps() {
    let house = House::new().await;
    let client = house.client();
    for _ in 0..2 {
        let answer = image(&client, "private")
            .cache_control("no-store")
            .send()
            .await;
        assert_eq!(
            answer.cache_status(),
            "reprise; fwd=bypass; detail=no-store"
        );
    }
    let kept = image(&client, "private").send().await;
    assert_eq!(kept.cache_status(), STORED);
    let beside = image(&client, "private")
        .cache_control("no-store")
        .send()
        .await;
    assert_ne!(beside.body, kept.body);
    assert_eq!(image(&client, "private").send().await.body, kept.body);
    assert_eq!(house.billed(), 4);
}

#[tokio::test]
async fn answers_grow_old_by_ttl_and_by_max_age() {
    let clock = Clock::system();
    let house = House::new()
        .clock(&clock)
        .config(|config| config.cache.images.ttl = Ttl::For(Duration::from_hours(1)))
        .await;
    let client = house.client();
    image(&client, "old").send().await;
    clock.jump(SignedDuration::from_secs(100));
    let hit = image(&client, "old")
        .cache_control("max-age=1000")
        .send()
        .await;
    assert!(hit.is_hit());
    assert!((100..110).contains(&hit.header("age").parse::<u64>().unwrap()));
    let younger = image(&client, "old")
        .cache_control("max-age=50")
        .send()
        .await;
    assert_eq!(younger.cache_status(), "reprise; fwd=request; stored");
    let kept = image(&client, "old")
        .cache_control("max-age=50")
        .send()
        .await;
    assert_eq!(kept.body, younger.body);
    assert_eq!(house.billed(), 2);

    clock.jump(SignedDuration::from_hours(1));
    let expired = image(&client, "old").send().await;
    assert_eq!(expired.cache_status(), "reprise; fwd=stale; stored");
    assert!(image(&client, "old").send().await.is_hit());
    assert_eq!(house.billed(), 3);

    // A clock that is set back makes nothing old, and no age negative.
    clock.jump(SignedDuration::from_hours(-3));
    let back = image(&client, "old").send().await;
    assert_eq!(back.header("age"), "0");
    assert!(back.is_hit());
}

#[tokio::test]
async fn nothing_kept_is_younger_than_no_seconds() {
    let house = House::new().await;
    let client = house.client();
    image(&client, "now").send().await;
    let now = image(&client, "now")
        .cache_control("max-age=0")
        .send()
        .await;
    assert_eq!(now.cache_status(), "reprise; fwd=request; stored");
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn only_if_cached_pays_for_nothing_and_joins_nothing() {
    let house = House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .await;
    let client = house.client();
    let not_cached = |answer: Answer| {
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (504, "not_cached")
        );
        assert_eq!(answer.header("x-should-retry"), "false");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(answer.cache_status().starts_with("reprise"), "{answer:?}");
    };
    not_cached(
        image(&client, "x")
            .cache_control("only-if-cached")
            .send()
            .await,
    );
    assert_eq!(house.billed(), 0);

    let gate = house.hold("POST /v1/images");
    let lead = image(&client, "x").begin();
    gate.arrived(1).await;
    not_cached(
        image(&client, "x")
            .cache_control("only-if-cached")
            .send()
            .await,
    );
    gate.release();
    lead.answer().await;
    let hit = image(&client, "x")
        .cache_control("only-if-cached")
        .send()
        .await;
    assert!(hit.is_hit());

    video(&client, "x").send().await;
    not_cached(
        video(&client, "x")
            .cache_control("only-if-cached")
            .send()
            .await,
    );
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn no_cache_runs_again_and_replaces() {
    let house = House::new().await;
    let client = house.client();
    let old = image(&client, "again").send().await;
    let new = image(&client, "again")
        .cache_control("no-cache")
        .send()
        .await;
    assert_eq!(new.cache_status(), "reprise; fwd=request; stored");
    assert_ne!(new.body, old.body);
    assert_eq!(image(&client, "again").send().await.body, new.body);
    assert_eq!(house.billed(), 2);

    // A run that is refused replaces nothing.
    house.sandbox.on("POST /v1/images").answer(429, "", "");
    let refused = image(&client, "again")
        .cache_control("no-cache")
        .send()
        .await;
    assert_eq!(refused.status, 429);
    assert_eq!(image(&client, "again").send().await.body, new.body);
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn two_no_cache_at_once_each_run() {
    let house = House::new().await;
    let client = house.client();
    let gate = house.hold("POST /v1/images");
    let runs = [(); 2].map(|()| image(&client, "twice").cache_control("no-cache").begin());
    gate.arrived(2).await;
    gate.release();
    let [one, two] = runs;
    let (one, two) = (one.answer().await, two.answer().await);
    assert_ne!(one.body, two.body);
    let kept = image(&client, "twice").send().await;
    assert!(kept.is_hit());
    assert!([one.body, two.body].contains(&kept.body));
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn a_take_is_paid_for_once_itself() {
    let house = House::new().await;
    let client = house.client();
    let take = |n: &str| image(&client, "takes").header("reprise-take", n);
    let plain = image(&client, "takes").send().await;
    assert_eq!(take("1").send().await.body, plain.body);
    let second = take("2").send().await;
    assert_eq!(second.cache_status(), STORED);
    assert_ne!(second.body, plain.body);
    let hit = take("2").send().await;
    assert!(hit.is_hit());
    assert_eq!(hit.body, second.body);
    assert_eq!(house.billed(), 2);
    let bad = take("two").send().await;
    assert_eq!(bad.status, 400);
    assert_eq!(house.billed(), 2);
    assert!(
        house
            .sandbox
            .requests()
            .iter()
            .all(|seen| seen.header("reprise-take").is_none()),
        "the proxy's own header went upstream"
    );
}

#[tokio::test]
async fn only_if_cached_goes_before_every_reason_to_pass_by() {
    let house = House::new()
        .config(|config| {
            config.cache.images.mode = Mode::Off;
            config.cache.chat.mode = Mode::Deterministic;
        })
        .await;
    let client = house.client();
    for (name, call) in [
        (
            "mode off",
            image(&client, "x").cache_control("only-if-cached"),
        ),
        (
            "not deterministic",
            chat(&client, "x", false).cache_control("only-if-cached"),
        ),
        (
            "no-store",
            video(&client, "x").cache_control("no-store, only-if-cached"),
        ),
    ] {
        let answer = call.send().await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (504, "not_cached"),
            "{name}"
        );
    }
    assert_eq!(house.billed(), 0);
}
