//! Two that reckon for themselves: what the sandbox charges by what it made, and what the rules of
//! prices make of the request and the answer.

use bytes::Bytes;
use http::HeaderMap;
use reprise::generation::{Kind, Request};
use reprise::price::{self, Prices, Usage, Usd};
use reprise::sandbox::{Options, PollShape, Sandbox};
use serde_json::{Value, json};

use crate::call::{Caller, sandbox};

/// The request's estimate, and its cost by what the answer says.
fn reckoned(kind: Kind, request: &Value, answer: &Bytes) -> (Usd, Usd) {
    let body = Bytes::from(request.to_string());
    let asked = Request {
        kind,
        path: "/v1/x",
        query: None,
        scope: None,
        take: 1,
        headers: &HeaderMap::new(),
        body: &body,
    };
    let identity = asked.identify();
    let extent = identity.extent;
    let price = Prices::default()
        .of(identity.model.as_deref())
        .expect("a price");
    let usage = Usage::read(kind, answer);
    (
        price::estimate(&price, kind, &extent),
        price::cost(&price, kind, &extent, &usage),
    )
}

fn charged(sandbox: &Sandbox) -> Usd {
    let charges = sandbox.charges();
    Usd::from_dollars(charges.last().expect("a charge").usd)
}

/// Every resolution, ratio and length, and the models with other prices.
fn clips() -> Vec<Value> {
    let mut clips = Vec::new();
    for resolution in ["480p", "720p", "768p", "1080p", "2k", "4k"] {
        for ratio in [
            "16:9", "9:16", "4:3", "3:4", "1:1", "21:9", "9:21", "adaptive",
        ] {
            let metadata = json!({"resolution": resolution, "ratio": ratio});
            clips.push(json!({"model": "doubao-seedance-2-0-720p", "metadata": metadata}));
        }
    }
    for model in [
        "doubao-seedance-2-0-480p",
        "doubao-seedance-2-0-1080p",
        "doubao-seedance-2-0-4k",
        "doubao-seedance-2-0-fast-260128",
        "minimax-h3-768p",
        "happyhorse-1.0-t2v",
        "grok-video-1.5",
    ] {
        for length in [
            json!({}),
            json!({"seconds": "4"}),
            json!({"duration": 15, "seconds": "4"}),
            json!({"metadata": {"duration": 7}}),
            json!({"metadata": "{\"frames\": 29, \"ratio\": \"1:1\"}"}),
            json!({"seconds": 6, "size": "720x1280"}),
        ] {
            let mut clip = length;
            clip["model"] = model.into();
            clips.push(clip);
        }
    }
    clips
}

#[tokio::test]
async fn a_clip_costs_what_was_estimated_and_what_its_poll_says() {
    for poll_shape in [PollShape::Captured, PollShape::Docs] {
        let options = Options {
            poll_shape,
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let caller = Caller::new(&sandbox);
        let mut sum = Usd::ZERO;
        for mut clip in clips() {
            clip["prompt"] = "a cat".into();
            let path = "/v1/video/generations";
            let submitted = caller.post(path, clip.clone()).await.json();
            sandbox.finish_jobs();
            let id = submitted["task_id"].as_str().unwrap();
            let poll = caller.get(&format!("{path}/{id}")).await;
            let charged = charged(&sandbox);
            let (estimated, cost) = reckoned(Kind::Video, &clip, &poll.body);
            assert_eq!(estimated, charged, "{clip}");
            assert_eq!(cost, charged, "{clip}: {}", poll.text());
            sum += cost;
        }
        assert_eq!(Usd::from_dollars(sandbox.bill().usd), sum);
    }
}

#[tokio::test]
async fn a_failed_job_costs_nothing() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let clip = json!({"model": "doubao-seedance-2-0-720p", "prompt": "a cat [fail]"});
    let submitted = caller.post("/v1/videos", clip.clone()).await.json();
    sandbox.finish_jobs();
    let id = submitted["task_id"].as_str().unwrap();
    for path in ["/v1/videos", "/v1/video/generations"] {
        let poll = caller.get(&format!("{path}/{id}")).await;
        assert_eq!(
            reckoned(Kind::Video, &clip, &poll.body).1,
            Usd::ZERO,
            "{path}"
        );
    }
    assert_eq!(Usd::from_dollars(sandbox.bill().usd), Usd::ZERO);
    assert_eq!(sandbox.charges()[0].task.as_deref(), Some(id));
}

#[tokio::test]
async fn every_other_answer_tells_what_it_cost() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let said = json!([{"role": "user", "content": "Why is the sky blue, and the sea as well?"}]);
    let usage = json!({"include_usage": true});
    let mut sum = Usd::ZERO;
    for (kind, path, body) in [
        (Kind::Chat, "chat/completions", json!({"messages": said})),
        (
            Kind::Chat,
            "chat/completions",
            json!({"messages": said, "stream": true, "stream_options": usage}),
        ),
        (Kind::Chat, "completions", json!({"prompt": "a"})),
        (
            Kind::Chat,
            "completions",
            json!({"prompt": "a", "stream": true, "stream_options": usage}),
        ),
        (Kind::Chat, "responses", json!({"input": "a"})),
        (
            Kind::Chat,
            "responses",
            json!({"input": "a", "stream": true}),
        ),
        (
            Kind::Chat,
            "messages",
            json!({"messages": said, "model": "claude-opus-5"}),
        ),
        (
            Kind::Chat,
            "messages",
            json!({"messages": said, "stream": true}),
        ),
        (
            Kind::Embeddings,
            "embeddings",
            json!({"input": ["a", "b c d"]}),
        ),
        (
            Kind::Embeddings,
            "rerank",
            json!({"query": "a", "documents": ["b", "c d e f"]}),
        ),
        (
            Kind::Images,
            "images/generations",
            json!({"prompt": "a", "model": "gpt-image-2", "n": 3}),
        ),
        (
            Kind::Images,
            "images/generations",
            json!({"prompt": "a", "model": "grok-imagine-image", "n": 3}),
        ),
        (
            Kind::Images,
            "images/generations",
            json!({"prompt": "a", "model": "gpt-image-2", "stream": true, "partial_images": 2}),
        ),
        (
            Kind::Images,
            "images/generations",
            json!({"prompt": "a", "model": "grok-imagine-image", "stream": true, "n": 2}),
        ),
    ] {
        let mut body = body;
        if body.get("model").is_none() {
            body["model"] = "grok-4.5".into();
        }
        let answer = caller.post(&format!("/v1/{path}"), body.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (estimated, cost) = reckoned(kind, &body, &answer.body);
        assert_eq!(cost, charged(&sandbox), "{body}: {}", answer.text());
        assert!(cost <= estimated, "{body}: {cost} of {estimated}");
        sum += cost;
    }
    assert_eq!(Usd::from_dollars(sandbox.bill().usd), sum);
}
