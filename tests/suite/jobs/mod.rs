//! Video jobs: one run for everybody who asks for the same, in every shape in which upstream talks, and
//! each followed to its end.

mod ends;
mod polls;
mod submits;
mod traps;
mod watching;

use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{Answer, House};

const JOINED: &str = "reprise; fwd=miss; collapsed";
const STORED: &str = "reprise; fwd=miss; stored";

fn video(prompt: &str) -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt, "seconds": "5"})
}

async fn submit(house: &House, body: &Value) -> Answer {
    let call = house.client().post("/v1/video/generations");
    call.json(body).send().await
}

async fn get(house: &House, path: &str) -> Answer {
    house.client().get(path).send().await
}

fn task(submit: &Answer) -> String {
    submit.json()["task_id"].as_str().unwrap().to_owned()
}

/// Both poll paths of a job.
fn polls(id: &str) -> [String; 2] {
    [
        format!("/v1/video/generations/{id}"),
        format!("/v1/videos/{id}"),
    ]
}

/// The word for how a job is, wherever a poll's shape has it.
fn word(poll: &Answer) -> String {
    let json = poll.json();
    let word = json.pointer("/data/status").unwrap_or(&json["status"]);
    word.as_str().unwrap_or_default().to_owned()
}

/// A house whose jobs end when the test says so, and where every poll may go upstream.
async fn house() -> House {
    House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
        .await
}
