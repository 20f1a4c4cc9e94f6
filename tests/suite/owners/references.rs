//! Things that a body names: nobody continues what another has made.

use serde_json::{Value, json};

use super::*;
use crate::house::Form;

#[tokio::test]
async fn nobody_continues_what_another_has_made() {
    let house = House::new().config(apart).await;
    let id = made(&house, "/v1/videos", &video("mine")).await;
    house.sandbox.finish_jobs();
    let json = "application/json";
    let response = r#"{"id":"resp_xyz789","status":"completed"}"#;
    house
        .sandbox
        .on("POST /v1/responses")
        .answer(200, json, response);
    let said = json!({"model": "grok-4.5", "input": "remember this"});
    let made = house
        .client()
        .post("/v1/responses")
        .key(ANNA)
        .json(&said)
        .send()
        .await;
    assert_eq!(made.status, 200);
    let link = format!("https://relaydance.example/v1/videos/{id}/content?x=1");
    let bodies: [(&str, Value); 8] = [
        (
            "/v1/videos/edits",
            json!({"prompt": "p", "video": {"id": id}}),
        ),
        (
            "/v1/videos/extensions",
            json!({"prompt": "p", "video": id.to_uppercase()}),
        ),
        (
            "/v1/videos",
            json!({"prompt": "p", "metadata": format!("{{\"of\":\"{id}\"}}"), "video_id": id}),
        ),
        (
            "/v1/videos",
            json!({"prompt": "p", "metadata": {"content": [{"video_url": {"url": link}}]}}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "what was it?", "previous_response_id": "resp_xyz789"}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": id}]}),
        ),
        ("/v1/batches", json!({"input_file_id": id})),
        ("/v1/moderations", json!({"input": "resp_xyz789"})),
    ];
    for (path, body) in &bodies {
        for directive in ["max-age=9", "no-store"] {
            let call = house.client().post(path).key(BEN).cache_control(directive);
            assert_hidden(&house, call.json(body), &format!("{path} {body}")).await;
        }
    }
    let escaped = format!(
        "{{\"prompt\":\"p\",\"video\":{{\"id\":\"{}\"}}}}",
        id.replace('_', "\\u005f")
    );
    let call = house.client().post("/v1/videos/edits").key(BEN);
    assert_hidden(&house, call.json_text(escaped), "an escaped id").await;
    for value in [id.clone(), json!({"id": id}).to_string()] {
        let form = Form::new("b").text("prompt", "p").text("video", &value);
        let call = house.client().post("/v1/videos/edits").key(BEN).form(&form);
        assert_hidden(&house, call, "a form").await;
    }
    let unread = house.client().post("/v1/videos/edits").key(BEN);
    let unread = unread
        .header("content-encoding", "rot13")
        .json(&bodies[0].1);
    assert_eq!(unread.send().await.error_code(), "invalid_request");

    let billed = house.billed();
    let own = house
        .client()
        .post("/v1/videos/edits")
        .key(ANNA)
        .json(&bodies[0].1);
    assert_eq!(own.send().await.status, 200);
    let other = json!({"prompt": "p", "video": {"id": "task_of_nobody_here"}});
    let other = house
        .client()
        .post("/v1/videos/edits")
        .key(BEN)
        .json(&other);
    assert_ne!(
        other.send().await.error_code(),
        "task_not_found",
        "it is nobody's"
    );
    assert!(house.billed() > billed);
}
