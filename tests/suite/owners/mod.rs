//! Clients that share nothing (`cache.scope = "client"`): whatever one has made at upstream does not
//! exist for the others, in whatever way it is asked for, and whatever became of it here.

mod lists;
mod random;
mod references;
mod things;

use std::time::Duration;

use reprise::config::{Config, Mode, Scope};
use serde_json::{Value, json};

use crate::credentials::{ANNA, BEN, anna_and_ben};
use crate::house::{Answer, Call, House};

fn apart(config: &mut Config) {
    anna_and_ben(config);
    config.cache.scope = Scope::Client;
    config.jobs.min_poll_interval = Duration::from_nanos(1);
}

fn apart_and_keeping_no_videos(config: &mut Config) {
    apart(config);
    config.cache.video.mode = Mode::Off;
}

fn video(prompt: &str) -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt})
}

fn task(answer: &Answer) -> String {
    let json = answer.json();
    let id = json["task_id"].as_str().unwrap_or_else(|| panic!("{json}"));
    id.to_owned()
}

/// Anna's video, made by this body.
async fn made(house: &House, path: &str, body: &Value) -> String {
    task(&house.client().post(path).key(ANNA).json(body).send().await)
}

/// Asserts that it does not exist, and that upstream was not asked.
async fn assert_hidden(house: &House, call: Call, what: &str) {
    let before = house.sandbox.requests().len();
    let answer = call.send().await;
    let said = (answer.status, answer.error_code());
    assert_eq!(said, (404, "task_not_found".to_owned()), "{what}");
    assert_eq!(answer.error_message(), "No such task.", "{what}");
    assert_eq!(
        house.sandbox.requests().len(),
        before,
        "{what} went upstream"
    );
}

/// The calls about a job that upstream or the proxy could answer.
fn calls(house: &House, id: &str) -> Vec<(String, Call)> {
    let encoded = id.replacen("task_", "%74ask%5F", 1);
    let twice = id.replacen('_', "%255F", 1);
    let (upper, lower) = (id.to_ascii_uppercase(), id.to_ascii_lowercase());
    let mut targets = vec![
        format!("GET /v1/videos/{id}"),
        format!("GET /v1/videos/{id}/"),
        format!("GET /v1/videos/{id}?a=b"),
        format!("GET /v1/videos/{id}/content"),
        format!("GET /v1/videos/{id}/content?variant=thumbnail"),
        format!("GET /v1/video/generations/{id}"),
        format!("DELETE /v1/videos/{id}"),
        format!("POST /v1/videos/{id}/remix"),
        format!("POST /v1/videos/{id}/cancel"),
        format!("GET /v1//videos/{id}"),
        format!("GET /v1/./videos/{id}"),
        format!("GET /v1/models/../videos/{id}"),
        format!("GET /v1/videos%2F{id}"),
        format!("GET /v1/Videos/{id}"),
        format!("GET /v1/videos/{id};a=b"),
        format!("GET /v1/videos/{id}%20"),
        format!("GET /v1/videos/%EF%BB%BF{id}"),
        format!("GET /v1/models?of={id}"),
        format!("GET /v1/models?a&of={encoded}&b=1"),
    ];
    for spelt in [encoded, twice, upper, lower] {
        targets.push(format!("GET /v1/videos/{spelt}"));
        targets.push(format!("GET /v1/videos/{spelt}/content"));
        targets.push(format!("GET /v1/video/generations/{spelt}"));
        targets.push(format!("DELETE /v1/videos/{spelt}"));
        targets.push(format!("POST /v1/videos/{spelt}/remix"));
    }
    targets
        .into_iter()
        .map(|line| {
            let (method, target) = line.split_once(' ').unwrap();
            let call = house.client().call(method.parse().unwrap(), target);
            let call = match method {
                "POST" => call.json(&json!({"prompt": "stolen"})),
                _ => call,
            };
            (line.clone(), call)
        })
        .collect()
}

async fn assert_all_hidden(house: &House, id: &str, when: &str) {
    for (what, call) in calls(house, id) {
        assert_hidden(house, call.key(BEN), &format!("{when}: {what}")).await;
    }
}

/// Anna's own poll goes the way it always went.
async fn assert_seen(house: &House, id: &str, when: &str) {
    let own = house.client().get(&format!("/v1/videos/{id}")).key(ANNA);
    let answer = own.send().await;
    assert_ne!(answer.error_code(), "task_not_found", "{when}");
}
