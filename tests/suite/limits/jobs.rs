//! A video job has its slot to its end, however that comes, and over restarts.

use std::time::Duration;

use hyper::Method;
use reprise::app::Drained;
use serde_json::json;

use super::{CHAT, VIDEO, assert_refused, at_once, chat, post, video};
use crate::house::{Answer, House, Plan, until_async};

fn one_job() -> Plan {
    at_once(1).sandbox(|options| options.job_time = Duration::from_hours(1))
}

async fn submit(house: &House, words: &str) -> Answer {
    post(house, VIDEO, &video(words)).send().await
}

fn task(submit: &Answer) -> String {
    assert_eq!(submit.status, 200, "{}", submit.text());
    submit.json()["task_id"].as_str().unwrap().to_owned()
}

async fn poll(house: &House, task: &str) -> Answer {
    house.client().get(&format!("{VIDEO}/{task}")).send().await
}

/// The one slot is taken, by whatever.
async fn assert_full(house: &House) {
    let refused = post(house, CHAT, &chat("is there room?")).send().await;
    assert_refused(&refused, "concurrent_generations", 1);
}

/// There is one slot again, and not two.
async fn assert_one_free(house: &House, words: &str) -> String {
    let id = task(&submit(house, words).await);
    assert_full(house).await;
    id
}

#[tokio::test]
async fn a_job_has_its_slot_until_it_has_ended() {
    let house = one_job().await;
    let first = task(&submit(&house, "one").await);
    assert_full(&house).await;
    let joined = submit(&house, "one").await;
    assert_eq!(joined.cache_status(), "reprise; fwd=miss; collapsed");
    assert_eq!(poll(&house, &first).await.status, 200);
    assert_full(&house).await;
    house.sandbox.finish_jobs();
    poll(&house, &first).await;
    let second = assert_one_free(&house, "two").await;
    // Another look at a job that has ended gives nothing back.
    for path in [VIDEO, "/v1/videos"] {
        let again = house.client().get(&format!("{path}/{first}")).send().await;
        assert_eq!(again.status, 200);
        assert_full(&house).await;
    }
    house.sandbox.finish_jobs();
    poll(&house, &second).await;
    assert_one_free(&house, "three").await;
}

#[tokio::test]
async fn a_job_that_fails_or_is_deleted_gives_its_slot_back() {
    let house = one_job().await;
    let failing = task(&submit(&house, "one [fail]").await);
    house.sandbox.finish_jobs();
    poll(&house, &failing).await;
    let deleted = assert_one_free(&house, "two").await;
    let path = format!("/v1/videos/{deleted}");
    let gone = json!({"id": deleted, "object": "video.deleted", "deleted": true});
    let route = house.sandbox.on(&format!("DELETE {path}"));
    route.answer(200, "application/json", gone.to_string());
    let answer = house.client().call(Method::DELETE, &path).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_one_free(&house, "three").await;
}

#[tokio::test]
async fn a_job_that_ends_unseen_gives_its_slot_back() {
    let house = one_job()
        .config(|config| config.jobs.poll_interval = Duration::from_millis(100))
        .await;
    for words in ["one", "two [fail]", "three"] {
        task(&submit(&house, words).await);
        assert_full(&house).await;
        house.sandbox.finish_jobs();
        let free = async || {
            let asked = post(&house, CHAT, &chat("free?")).cache_control("no-store");
            asked.send().await.status == 200
        };
        until_async(free).await;
    }
}

#[tokio::test]
async fn a_job_that_is_given_up_gives_its_slot_back() {
    let house = one_job()
        .config(|config| {
            config.jobs.poll_interval = Duration::from_millis(100);
            config.jobs.deadline = Duration::from_secs(1);
        })
        .await;
    task(&submit(&house, "one").await);
    assert_full(&house).await;
    let free = async || post(&house, CHAT, &chat("free?")).send().await.status == 200;
    until_async(free).await;
}

#[tokio::test]
async fn jobs_have_their_slots_over_restarts() {
    let mut house = one_job().await;
    let first = task(&submit(&house, "one").await);
    for _ in 0..2 {
        house.restart().await;
        assert_full(&house).await;
    }
    // It ends while nobody is there, which whoever asks first finds out.
    assert_eq!(house.shutdown().await, Drained::Whole);
    house.sandbox.finish_jobs();
    house.start().await;
    poll(&house, &first).await;
    assert_one_free(&house, "two").await;
    house.restart().await;
    assert_full(&house).await;
}

#[tokio::test]
async fn a_job_that_is_not_kept_has_its_slot_to_its_end_too() {
    let mut house = one_job().await;
    for words in ["one", "two [fail]", "three"] {
        let call = post(&house, VIDEO, &video(words)).cache_control("no-store");
        let id = task(&call.send().await);
        assert_full(&house).await;
        assert_eq!(poll(&house, &id).await.status, 200);
        assert_full(&house).await;
        house.restart().await;
        assert_full(&house).await;
        house.sandbox.finish_jobs();
        // Whoever sees the end has the slot back already.
        assert_eq!(poll(&house, &id).await.status, 200);
    }
    assert_one_free(&house, "four").await;
}

#[tokio::test]
async fn what_a_person_finds_out_counts_from_then_on() {
    let house = one_job().await;
    let token = std::fs::read_to_string(house.data_dir().join("admin-token")).unwrap();
    let decide = async |key: &str, decision: serde_json::Value| {
        let path = format!("/api/jobs/{key}/resolve");
        let call = house.client().post(&path).key(token.trim()).json(&decision);
        call.send().await
    };
    let lose = async |words: &str| {
        house
            .sandbox
            .on(&format!("POST {VIDEO}"))
            .close_before_head();
        let lost = submit(&house, words).await;
        assert_eq!(lost.error_code(), "upstream_outcome_unknown");
        let message = lost.error_message();
        let key = message.split("Key ").nth(1).unwrap_or_default();
        key.chars().take(16).collect::<String>()
    };
    // Nobody knows whether it runs: that is no reason to refuse the next one.
    let (forgotten, found) = (lose("one").await, lose("two").await);
    let answer = decide(&forgotten, json!({"action": "forget"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Found upstream, where it runs, submitted by somebody else here.
    let upstream = format!("{}/video/generations", house.sandbox.base_url());
    let direct = house.client().post(&upstream).key("x").json(&video("two"));
    let id = task(&direct.send().await);
    let decision = json!({"action": "task", "task_id": id});
    assert_ne!(decide(&forgotten, decision.clone()).await.status, 200);
    let free = post(&house, CHAT, &chat("still free")).send().await;
    assert_eq!(free.status, 200, "a decision that fails takes no slot");
    let answer = decide(&found, decision.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_full(&house).await;
    assert_ne!(decide(&found, decision).await.status, 200);
    assert_full(&house).await;
    house.sandbox.finish_jobs();
    poll(&house, &id).await;
    assert_one_free(&house, "three").await;
}
