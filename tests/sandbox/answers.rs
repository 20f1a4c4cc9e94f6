//! What the endpoints beside video say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::Method;
use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use super::call::{Caller, sandbox};

#[tokio::test]
async fn a_wrong_key_is_repeated_in_the_refusal() {
    let options = Options {
        key: Some("sk-good".into()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let caller = Caller::new(&sandbox);
    let wrong = caller.get("/v1/models").await;
    let error = &wrong.json()["error"];
    assert_eq!(
        (wrong.status.as_u16(), &error["code"], &error["type"]),
        (401, &json!(""), &json!("new_api_error"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("sk-any"), "{message}");
    assert!(
        message.contains(wrong.header("x-oneapi-request-id")),
        "{message}"
    );
    let plain = |path: &str| hyper::Request::get(format!("http://{}{path}", sandbox.addr()));
    for (request, expected) in [
        (plain("/v1/models"), 401),
        (
            plain("/v1/models").header("authorization", "Bearer sk-good"),
            200,
        ),
        (plain("/v1/models").header("x-api-key", "sk-good"), 200),
        (plain("/v1/models?key=sk-good"), 200),
        (plain("/v1/bytes/1").header("x-api-key", "sk-good"), 401),
        (plain("/sandbox/bill"), 200),
        (plain("/api/pricing"), 200),
    ] {
        assert_eq!(
            caller
                .send(request.body(Full::default()).unwrap())
                .await
                .status,
            expected
        );
    }
}

#[tokio::test]
async fn text_in_four_dialects() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let messages = json!([{"role": "user", "content": "hello there"}]);
    for (path, field, said, at, end) in [
        (
            "/v1/chat/completions",
            "messages",
            messages.clone(),
            "/choices/0/message/content",
            "data: [DONE]\n\n",
        ),
        (
            "/v1/completions",
            "prompt",
            json!("hello there"),
            "/choices/0/text",
            "data: [DONE]\n\n",
        ),
        (
            "/v1/responses",
            "input",
            json!("hello there"),
            "/output/0/content/0/text",
            "",
        ),
        (
            "/v1/messages",
            "messages",
            messages,
            "/content/0/text",
            "data: {\"type\":\"message_stop\"}\n\n",
        ),
    ] {
        let body = json!({"model": "grok-4.5", field: said});
        let (one, two) = (
            caller.post(path, body.clone()).await.json(),
            caller.post(path, body.clone()).await.json(),
        );
        let text = one.pointer(at).unwrap().as_str().unwrap();
        assert!(text.ends_with("hello there"), "{path}: {text}");
        assert_ne!(one.pointer(at), two.pointer(at), "{path}: two runs");
        assert_ne!(one["id"], two["id"]);
        let mut body = body;
        body["stream"] = true.into();
        let stream = caller.post(path, body).await;
        assert_eq!(stream.header("content-type"), "text/event-stream", "{path}");
        assert_eq!(
            (
                stream.header("cache-control"),
                stream.header("x-accel-buffering")
            ),
            ("no-cache", "no")
        );
        assert_eq!(stream.text().matches(": PING\n\n").count(), 1, "{path}");
        assert!(stream.text().ends_with(end), "{path}");
        assert!(stream.events().len() > 5);
    }
    assert_eq!(sandbox.bill().chat, 12);
}

#[tokio::test]
async fn usage_is_streamed_when_asked_for() {
    let sandbox = sandbox().await;
    let body = json!({
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true,
        "stream_options": {"include_usage": true},
    });
    let events = Caller::new(&sandbox)
        .post("/v1/chat/completions", body)
        .await
        .events();
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn refusals_in_the_common_form() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let chat = |text: &str| json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    let image = |text: &str| json!({"model": "m", "prompt": text});
    for (path, body, status, code) in [
        (
            "/v1/chat/completions",
            chat("[fail]"),
            500,
            "bad_response_status_code",
        ),
        (
            "/v1/chat/completions",
            json!({"model": "m"}),
            400,
            "invalid_request",
        ),
        (
            "/v1/chat/completions",
            json!({"messages": []}),
            400,
            "missing_model",
        ),
        (
            "/v1/images/generations",
            image("[broke]"),
            403,
            "insufficient_user_quota",
        ),
        (
            "/v1/images/generations",
            image("[refuse]"),
            400,
            "content_policy_violation",
        ),
        (
            "/v1/images/generations",
            json!({"model": "m", "prompt": "p", "n": 11}),
            400,
            "invalid_request",
        ),
        ("/v1/images/edits", image("p"), 400, "invalid_request"),
        (
            "/v1/images/variations",
            json!({}),
            501,
            "api_not_implemented",
        ),
        ("/v1/files", json!({}), 501, "api_not_implemented"),
        (
            "/v1/embeddings",
            json!({"model": "no-such-model", "input": "a"}),
            503,
            "model_not_found",
        ),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": "a", "dimensions": 1e12}),
            400,
            "invalid_request",
        ),
        ("/v1/nothing", json!({}), 404, ""),
        ("/v1/models/nobody", json!(null), 200, "model_not_found"),
    ] {
        let reply = if body.is_null() {
            caller.get(path).await
        } else {
            caller.post(path, body.clone()).await
        };
        let told = reply.json();
        assert_eq!(
            (reply.status.as_u16(), &told["error"]["code"]),
            (status, &json!(code)),
            "{path} {body}"
        );
    }
    let limited = caller
        .post("/v1/chat/completions", chat("[empty429]"))
        .await;
    assert_eq!((limited.status.as_u16(), limited.body.len()), (429, 0));
    assert_eq!(sandbox.bill().total(), 0);
}

#[tokio::test]
async fn pictures_by_link_inline_and_as_events() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let path = "/v1/images/generations";
    let linked = caller
        .post(
            path,
            json!({"model": "grok-imagine-image", "prompt": "p", "n": 2}),
        )
        .await
        .json();
    let urls: Vec<&str> = (0..2)
        .map(|at| linked["data"][at]["url"].as_str().unwrap())
        .collect();
    let (one, two) = (caller.get(urls[0]).await, caller.get(urls[1]).await);
    assert_eq!(one.header("content-type"), "image/png");
    assert!(
        one.body.starts_with(b"\x89PNG\r\n\x1a\n") && two.body.starts_with(b"\x89PNG\r\n\x1a\n")
    );
    assert_ne!(one.body, two.body);
    assert!((sandbox.bill().usd - 0.036).abs() < 1e-9);
    let inline = caller
        .post(path, json!({"prompt": "p", "response_format": "b64_json"}))
        .await
        .json();
    let picture = STANDARD
        .decode(inline["data"][0]["b64_json"].as_str().unwrap())
        .unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    let events = caller
        .post(
            path,
            json!({"prompt": "p", "stream": true, "partial_images": 2}),
        )
        .await
        .events();
    let types: Vec<Value> = events
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).unwrap()["type"].clone())
        .collect();
    let (partial, completed) = (
        "image_generation.partial_image",
        "image_generation.completed",
    );
    assert_eq!(types, [partial, partial, completed]);
    let edit = caller
        .post_form(
            "/v1/images/edits",
            &[("prompt", "p"), ("n", "1")],
            Some("image[]"),
        )
        .await;
    assert!(edit.json()["data"][0]["url"].is_string());
    assert_eq!(sandbox.bill().images, 4);
}

#[tokio::test]
async fn vectors_are_the_same_in_both_encodings() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let body = |format: &str| json!({"model": "m", "input": ["a", "b"], "dimensions": 8, "encoding_format": format});
    let floats = caller.post("/v1/embeddings", body("float")).await.json();
    let packed = caller.post("/v1/embeddings", body("base64")).await.json();
    for at in 0..2 {
        let bytes = STANDARD
            .decode(packed["data"][at]["embedding"].as_str().unwrap())
            .unwrap();
        let unpacked: Vec<f64> = bytes
            .chunks(4)
            .map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())))
            .collect();
        let told: Vec<f64> = floats["data"][at]["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_f64().unwrap())
            .collect();
        assert_eq!(unpacked.len(), 8);
        assert!(
            unpacked
                .iter()
                .zip(&told)
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{unpacked:?} {told:?}"
        );
    }
    let ranked =
        json!({"model": "m", "query": "q", "documents": ["a", "b", {"text": "c"}], "top_n": 2});
    let ranked = caller.post("/v1/rerank", ranked).await.json();
    let score = |at: usize| ranked["results"][at]["relevance_score"].as_f64().unwrap();
    assert_eq!(ranked["results"].as_array().unwrap().len(), 2);
    assert!(score(0) >= score(1));
    assert_eq!(
        caller
            .post("/v1/moderations", json!({"input": "a"}))
            .await
            .json()["results"][0]["flagged"],
        false
    );
    assert_eq!((sandbox.bill().embeddings, sandbox.bill().total()), (3, 3));
}

#[tokio::test]
async fn speech_and_what_was_spoken() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let body = json!({"model": "tts-1", "input": "hello", "voice": "alloy"});
    let one = caller.post("/v1/audio/speech", body.clone()).await;
    assert_eq!(
        (one.header("content-type"), one.header("transfer-encoding")),
        ("audio/wav", "chunked")
    );
    assert!(one.body.starts_with(b"RIFF") && one.body.len() > 4_000);
    assert_ne!(one.body, caller.post("/v1/audio/speech", body).await.body);
    for path in ["/v1/audio/transcriptions", "/v1/audio/translations"] {
        let spoken = caller
            .post_form(path, &[("model", "whisper-1")], Some("file"))
            .await;
        assert!(
            spoken.json()["text"].as_str().unwrap().contains("5 bytes"),
            "{}",
            spoken.text()
        );
        assert_eq!(
            caller
                .post_form(path, &[("model", "whisper-1")], None)
                .await
                .status,
            400
        );
    }
    assert_eq!(sandbox.bill().audio, 4);
}

#[tokio::test]
async fn the_catalogue_and_the_bill() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let models = caller.get("/v1/models").await.json();
    assert_eq!(
        (&models["success"], &models["object"]),
        (&json!(true), &json!("list"))
    );
    let id = models["data"][0]["id"].as_str().unwrap();
    assert_eq!(
        caller.get(&format!("/v1/models/{id}")).await.json(),
        models["data"][0]
    );
    let prices = caller.get("/api/pricing").await.json();
    let row = prices["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["model_name"] == "grok-4.5")
        .unwrap();
    assert_eq!(
        (&row["model_ratio"], &row["completion_ratio"]),
        (&json!(1.25), &json!(3.0))
    );
    caller
        .post(
            "/v1/videos",
            json!({"model": "happyhorse-1.0-t2v", "prompt": "p", "seconds": 10}),
        )
        .await;
    caller
        .post("/v1/embeddings", json!({"model": "m", "input": "a"}))
        .await;
    let bill = caller.get("/sandbox/bill").await.json();
    let counts = ["video", "images", "audio", "embeddings", "chat", "total"]
        .map(|name| bill[name].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 0, 1, 0, 2]);
    assert!((bill["usd"].as_f64().unwrap() - 1.391).abs() < 1e-9);
    let head = caller
        .request(Method::POST, "/sandbox/bill")
        .body(Full::default())
        .unwrap();
    assert_eq!(caller.send(head).await.status, 404);
}
