//! The files behind the links of results: fetched, kept, shown, served, and what follows when they
//! cannot be had.

mod broken;
mod dead;
mod kept;
mod own;
mod refused;
mod traps;

use std::time::Duration;

use bytes::Bytes;
use reprise::config::Network;
use reprise::store::{DiskStore, MediumState, Record, Store};
use serde_json::{Value, json};

use crate::house::{Answer, Host, House, Plan, until};

pub(super) const SUBMIT: &str = "/v1/video/generations";
pub(super) const IMAGES: &str = "/v1/images/generations";

pub(super) fn loopback() -> Vec<Network> {
    vec![Network::parse("127.0.0.0/8").unwrap()]
}

/// A house that keeps the files behind links to this machine, and whose jobs end when the test says.
pub(super) fn keeping() -> Plan {
    House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(|config| {
            config.jobs.min_poll_interval = Duration::from_nanos(1);
            config.media.archive = true;
            config.media.allow = loopback();
        })
}

/// The same, whose links lead to `host`.
pub(super) fn linking_to(host: &Host) -> Plan {
    let origin = host.origin();
    keeping().sandbox(|options| options.public_url = Some(origin))
}

/// A file that begins like an MP4 and is `len` bytes long.
pub(super) fn film(len: usize) -> Bytes {
    let mut film = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41".to_vec();
    film.extend((film.len()..len).map(|at| u8::try_from(at % 251).unwrap()));
    film.into()
}

pub(super) fn video(prompt: &str) -> Value {
    json!({
        "model": "doubao-seedance-2-0-720p", "prompt": prompt, "seconds": "5",
        "metadata": {"resolution": "720p"},
    })
}

pub(super) fn image(prompt: &str, n: u32) -> Value {
    json!({"model": "grok-imagine-image", "prompt": prompt, "n": n, "response_format": "url"})
}

pub(super) async fn submit(house: &House, prompt: &str) -> Answer {
    house
        .client()
        .post(SUBMIT)
        .json(&video(prompt))
        .send()
        .await
}

pub(super) fn task(submit: &Answer) -> String {
    submit.json()["task_id"].as_str().unwrap().to_owned()
}

pub(super) async fn poll(house: &House, task: &str) -> Answer {
    house.client().get(&format!("{SUBMIT}/{task}")).send().await
}

/// The link in a poll's answer in the captured shape.
pub(super) fn link(poll: &Answer) -> String {
    let json = poll.json();
    json["data"]["result_url"].as_str().unwrap().to_owned()
}

/// A job that has succeeded; the answer of the poll that showed it.
pub(super) async fn finished(house: &House, prompt: &str) -> (String, Answer) {
    let id = task(&submit(house, prompt).await);
    house.sandbox.finish_jobs();
    let answer = poll(house, &id).await;
    assert_eq!(answer.status, 200);
    (id, answer)
}

/// Polls until the job's link leads to the kept file; that link.
pub(super) async fn kept_link(house: &House, id: &str) -> String {
    let prefix = format!("http://{}/media/", house.addr());
    let waiting = async {
        loop {
            let answer = poll(house, id).await;
            let link = link(&answer);
            if link.starts_with(&prefix) {
                assert!(answer.is_hit(), "{}", answer.cache_status());
                return link;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    crate::house::soon(waiting).await
}

/// Every record of a house that is shut.
pub(super) fn records(house: &House) -> Vec<Record> {
    let (store, _) = DiskStore::open(&house.data_dir(), reprise::clock::Clock::system()).unwrap();
    let mut records = Vec::new();
    let listed = store.list(&mut |record| {
        records.push(record.clone());
        std::ops::ControlFlow::Continue(())
    });
    listed.unwrap();
    records
}

/// Shuts the house and says what became of the files of its only record.
pub(super) async fn media(house: &mut House) -> Vec<MediumState> {
    house.shutdown().await;
    let mut records = records(house);
    assert_eq!(records.len(), 1);
    let media = records.remove(0).media;
    media.into_iter().map(|medium| medium.state).collect()
}

/// Waits until so many files are lost.
pub(super) async fn lost(house: &House, n: u64) {
    until(|| house.archive().tally().lost >= n).await;
}
