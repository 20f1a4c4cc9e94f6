//! Jobs are followed to their ends, whether or not anybody asks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{JOINED, STORED, get, polls, submit, task, video};
use crate::house::{Answer, House, Plan, soon};

/// Often enough for a test.
const INTERVAL: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_hours(1);

/// A house that asks for its jobs by itself; they end when the test says so.
fn watching() -> Plan {
    House::new()
        .sandbox(|options| options.job_time = HOUR)
        .config(|config| config.jobs.poll_interval = INTERVAL)
}

/// As [`watching`], and gives jobs up soon.
fn impatient() -> Plan {
    watching().config(|config| config.jobs.deadline = Duration::from_secs(1))
}

/// Submits until it is answered like this; nothing else is asked of the proxy.
async fn submitted(house: &House, body: &Value, done: impl Fn(&Answer) -> bool) -> Answer {
    soon(async {
        loop {
            let answer = submit(house, body).await;
            if done(&answer) {
                return answer;
            }
            assert_eq!(answer.cache_status(), JOINED);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_job_ends_without_a_client() {
    for (path, at) in [("/v1/video/generations", 0), ("/v1/videos", 1)] {
        let house = watching().await;
        let first = house.client().post(path).json(&video("alone")).send().await;
        let polls = polls(&task(&first));
        let asked = |at: usize| house.sandbox.count(&format!("GET {}", polls[at]));
        crate::house::until(|| asked(at) >= 3).await;
        house.sandbox.finish_jobs();
        let again = || house.client().post(path).json(&video("alone")).send();
        soon(async {
            while !again().await.is_hit() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        // Asked in the words of its submit, and not once more when it is done.
        assert_eq!(asked(1 - at), 0, "{path}");
        let asked = asked(at);
        tokio::time::sleep(4 * INTERVAL).await;
        assert_eq!(house.sandbox.count(&format!("GET {}", polls[at])), asked);
        house.stop_sandbox().await;
        let kept = get(&house, &polls[at]).await;
        assert!(kept.is_hit(), "{path}: {}", kept.text());
        assert_eq!(house.billed(), 1);
    }
}

#[tokio::test]
async fn a_job_that_fails_unseen_is_forgotten() {
    let house = watching().await;
    let body = video("alone [fail]");
    let first = submit(&house, &body).await;
    house.sandbox.finish_jobs();
    let second = submitted(&house, &body, |answer| answer.cache_status() == STORED).await;
    assert_ne!(task(&first), task(&second));
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn what_runs_at_a_start_is_taken_up() {
    let mut house = watching().await;
    let bodies: Vec<_> = (0..30).map(|nth| video(&format!("job {nth}"))).collect();
    for body in &bodies {
        submit(&house, body).await;
    }
    house.shutdown().await;
    house.sandbox.finish_jobs();
    house.start().await;
    for body in &bodies {
        submitted(&house, body, Answer::is_hit).await;
    }
    assert_eq!(house.billed(), 30);
}

/// The old job stays followed beside the one that took its place.
#[tokio::test]
async fn a_job_is_followed_after_a_newer_run_took_its_place() {
    let house = watching().await;
    let body = video("twice");
    let first = task(&submit(&house, &body).await);
    let again = house.client().post("/v1/video/generations").json(&body);
    let second = task(&again.cache_control("no-cache").send().await);
    assert_ne!(first, second);
    house.sandbox.finish_jobs();
    submitted(&house, &body, Answer::is_hit).await;
    for id in [&first, &second] {
        let [path, _] = polls(id);
        soon(async {
            while !get(&house, &path).await.is_hit() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn clients_and_watcher_share_one_answer() {
    let house = watching()
        .config(|config| config.jobs.min_poll_interval = HOUR)
        .await;
    let [path, other] = polls(&task(&submit(&house, &video("shared")).await));
    let route = format!("GET {path}");
    crate::house::until(|| house.sandbox.count(&route) >= 1).await;
    for _ in 0..20 {
        let poll = get(&house, &path).await;
        // It may wait for a question that is under way, but never has to ask its own.
        assert_eq!((poll.status, poll.cache_status()), (200, JOINED));
        assert!(!poll.header("age").is_empty());
    }
    let asked = house.sandbox.count(&route);
    crate::house::until(|| house.sandbox.count(&route) > asked).await;
    // The other path has another shape.
    assert_eq!(get(&house, &other).await.json()["object"], "video");
}

#[tokio::test]
async fn openais_clients_are_told_how_long_to_wait() {
    let house = super::house().await;
    let body = video("patience");
    let [path, openai] = polls(&task(&submit(&house, &body).await));
    let told = |answer: &Answer| answer.header("openai-poll-after-ms").to_owned();
    assert_eq!(told(&get(&house, &path).await), "");
    assert_eq!(told(&get(&house, &openai).await), "0");
    let route = format!("GET {openai}");
    house
        .sandbox
        .on(&route)
        .answer(403, "application/json", "{}");
    assert_eq!(told(&get(&house, &openai).await), "", "an error is no pace");
    house.sandbox.finish_jobs();
    assert_eq!(told(&get(&house, &openai).await), "");
    assert_eq!(told(&get(&house, &openai).await), "");

    let house = House::new()
        .sandbox(|options| options.job_time = HOUR)
        .await;
    let [_, openai] = polls(&task(&submit(&house, &body).await));
    assert_eq!(told(&get(&house, &openai).await), "2000");
    assert_eq!(told(&get(&house, &openai).await), "2000", "also who shares");
}

/// A key that is limited to certain models is refused its polls, by mistake.
#[tokio::test]
async fn a_refused_poll_tries_the_other_path() {
    let house = watching().await;
    let body = video("refused");
    let fault = house.sandbox.on("GET /v1/video/generations/");
    let no_access = r#"{"error":{"message":"This token has no access to model ","code":""}}"#;
    fault.answer(403, "application/json", no_access).always();
    let [path, other] = polls(&task(&submit(&house, &body).await));
    let route = format!("GET {other}");
    crate::house::until(|| house.sandbox.count(&route) > 0).await;
    assert_eq!(house.sandbox.count(&format!("GET {path}")), 3);
    house.sandbox.finish_jobs();
    submitted(&house, &body, Answer::is_hit).await;
    assert!(get(&house, &other).await.is_hit());
    assert_eq!(get(&house, &path).await.status, 403, "it passes as it came");
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn when_every_poll_is_refused_the_clip_tells() {
    let house = watching().await;
    let body = video("refused everywhere");
    let id = task(&submit(&house, &body).await);
    let [path, other] = polls(&id);
    let clip = format!("GET {other}/content");
    for (status, kind, times) in [
        (400, "application/json", 1),
        (403, "application/json", 1),
        (200, "application/json", 1),
        (502, "text/html", 1),
        (200, "video/mp4", 1),
    ] {
        let fault = house.sandbox.on(&clip);
        fault.answer(status, kind, "{}").times(times);
    }
    for path in [&path, &other] {
        let fault = house.sandbox.on(&format!("GET {path}"));
        fault.answer(403, "application/json", "{}").times(1000);
    }
    submitted(&house, &body, Answer::is_hit).await;
    assert_eq!(house.sandbox.count(&clip), 5);
    // What no poll has shown is not made up.
    assert_eq!(get(&house, &path).await.status, 403);
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_job_that_nobody_knows_is_given_up_at_the_deadline() {
    let house = impatient().await;
    let body = video("lost");
    let begun = Instant::now();
    let id = task(&submit(&house, &body).await);
    let fault = house.sandbox.on("GET /v1/video/generations/");
    let unknown = json!({"code": "task_not_exist", "message": "task_not_exist", "data": null});
    fault
        .answer(400, "application/json", unknown.to_string())
        .always();
    let second = submitted(&house, &body, |answer| answer.cache_status() == STORED).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_ne!(task(&second), id);
    let asked = house.sandbox.count(&format!("GET {}", polls(&id)[0]));
    assert!((2..=8).contains(&asked), "the wait doubles: {asked}");
    assert_eq!(house.billed(), 2);
}

/// Upstream shows jobs that have expired as running, for long; one that gets on does run.
#[tokio::test]
async fn only_news_keeps_a_job_alive() {
    let house = impatient().await;
    let (stuck, moving) = (video("stuck"), video("moving"));
    let begun = Instant::now();
    let id = task(&submit(&house, &stuck).await);
    house.sandbox.set_job_time(Duration::from_secs(4));
    submit(&house, &moving).await;
    let fault = house.sandbox.on(&format!("GET {}", polls(&id)[0]));
    let shown = json!({"code": "success", "data": {"id": 7, "task_id": id, "status": "IN_PROGRESS", "progress": "30%"}});
    fault
        .answer(200, "application/json", shown.to_string())
        .always();
    let second = submitted(&house, &stuck, |answer| answer.cache_status() == STORED).await;
    assert_ne!(task(&second), id);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    submitted(&house, &moving, Answer::is_hit).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(4),
        "far beyond the deadline"
    );
    assert_eq!(house.billed(), 3);
}

/// MONEY: while upstream is away a job may succeed unseen.
#[tokio::test]
async fn nothing_is_given_up_while_upstream_is_away() {
    let house = impatient().await;
    let clock = |house: &House| house.sandbox.count("GET /v1/video/generations/");
    let body = video("while away");
    let fault = house.sandbox.on("GET /v1/video/generations/");
    fault.answer(503, "text/html", "<html>").times(6);
    submit(&house, &body).await;
    // 50, 100, 200, 400, 800 milliseconds between them: long after the deadline.
    crate::house::until(|| clock(&house) >= 6).await;
    assert_eq!(submit(&house, &body).await.cache_status(), JOINED);
    house.sandbox.finish_jobs();
    submitted(&house, &body, Answer::is_hit).await;
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn the_wall_clock_gives_up_no_job() {
    let clock = reprise::clock::Clock::system();
    let mut house = watching().clock(&clock).await;
    let body = video("by the sun");
    submit(&house, &body).await;
    for days in [2, -4, 4_000] {
        clock.jump(jiff::SignedDuration::from_hours(24 * days));
        house.restart().await;
        let asked = house.sandbox.count("GET /v1/video/generations/");
        crate::house::until(|| house.sandbox.count("GET /v1/video/generations/") > asked + 1).await;
        assert_eq!(submit(&house, &body).await.cache_status(), JOINED);
    }
    house.sandbox.finish_jobs();
    submitted(&house, &body, Answer::is_hit).await;
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_shutdown_waits_for_no_poll() {
    let mut house = watching().await;
    submit(&house, &video("held")).await;
    let gate = house.hold("GET /v1/video/generations/");
    gate.arrived(1).await;
    let begun = Instant::now();
    house.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(gate);
    house.start().await;
    house.sandbox.finish_jobs();
    submitted(&house, &video("held"), Answer::is_hit).await;
    assert_eq!(house.billed(), 1);
}
