//! Jobs of which nothing is kept, and jobs that end in unusual ways: each is followed to its end, and its
//! money with it.

use std::time::Duration;

use hyper::Method;
use jiff::SignedDuration;
use reprise::clock::Clock;
use reprise::config::{Mode, Scope};
use serde_json::{Value, json};

use crate::credentials::{ANNA, BEN, anna_and_ben};
use crate::house::{Answer, Call, House, files_below, until, until_async};
use crate::money::{EPSILON, VIDEO, ask, booked, dollars, house, is_refused, lines, poll};

/// Often enough for a test.
const INTERVAL: Duration = Duration::from_millis(50);

fn past(house: &House, n: usize) -> Call {
    ask(house, VIDEO, n).cache_control("no-store")
}

fn task(submit: &Answer) -> String {
    assert_eq!(submit.status, 200, "{}", submit.text());
    submit.json()["task_id"].as_str().unwrap().to_owned()
}

/// What the admin API lists below this path.
async fn api(house: &House, path: &str) -> Vec<Value> {
    let token = std::fs::read_to_string(house.data_dir().join("admin-token")).unwrap();
    let call = house.client().get(path).key(token.trim());
    call.send().await.json().as_array().unwrap().clone()
}

async fn running(house: &House) -> usize {
    let jobs = api(house, "/api/jobs").await;
    jobs.iter().filter(|job| job["state"] == "running").count()
}

fn kept(house: &House) -> usize {
    files_below(&house.data_dir().join("generations")).len()
}

async fn delete(house: &House, id: &str) -> Answer {
    let path = format!("/v1/videos/{id}");
    let gone = json!({"id": id, "object": "video.deleted", "deleted": true});
    let route = house.sandbox.on(&format!("DELETE {path}"));
    route.answer(200, "application/json", gone.to_string());
    let answer = house.client().call(Method::DELETE, &path).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

#[tokio::test]
async fn a_job_that_is_not_kept_holds_its_money_to_its_end() {
    for mode in [Mode::On, Mode::Off] {
        let mut house = house(1.0)
            .config(move |config| config.cache.video.mode = mode)
            .await;
        let failing = json!({"model": "m", "prompt": "a boat [fail]"});
        let failing = house.client().post(VIDEO).json(&failing);
        let submit = failing.cache_control("no-store").send().await;
        let id = task(&submit);
        for _ in 0..2 {
            assert!(is_refused(&past(&house, 1).send().await), "it runs");
            house.restart().await;
        }
        let running = api(&house, "/api/jobs").await;
        assert_eq!(running.len(), 1);
        assert_eq!(running[0]["task_id"], id.as_str());
        assert_eq!(running[0]["state"], "running");
        let shown = poll(&house, &submit).await;
        let passed = "reprise; fwd=bypass; detail=not-a-generation";
        assert_eq!(shown.cache_status(), passed);
        assert!(lines(&house).is_empty(), "{:?}", lines(&house));
        house.sandbox.finish_jobs();
        assert_eq!(poll(&house, &submit).await.cache_status(), passed);
        let failed = booked(&house, "failed");
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["task"], id.as_str());
        assert_eq!((api(&house, "/api/jobs").await.len(), kept(&house)), (0, 0));

        let submit = past(&house, 1).send().await;
        let id = task(&submit);
        house.sandbox.finish_jobs();
        for path in [VIDEO, "/v1/videos", VIDEO] {
            let shown = house.client().get(&format!("{path}/{id}")).send().await;
            assert_eq!(shown.cache_status(), passed, "nothing is kept of it");
            assert_eq!(booked(&house, "paid").len(), 1, "once, before it is shown");
        }
        let paid = booked(&house, "paid");
        assert_eq!(paid[0]["task"], id.as_str());
        assert!((dollars(&paid, "usd_spent") - 1.0).abs() < EPSILON);
        assert!(is_refused(&past(&house, 2).send().await), "spent");
        assert_eq!((api(&house, "/api/jobs").await.len(), kept(&house)), (0, 0));
        house.restart().await;
        assert!(is_refused(&past(&house, 2).send().await), "spent");
        assert_eq!(lines(&house).len(), 2);
    }
}

#[tokio::test]
async fn two_identical_ones_are_two_jobs_that_nobody_joins() {
    let mut house = house(0.0)
        .config(|config| config.jobs.poll_interval = INTERVAL)
        .await;
    let clip = json!({"model": "doubao-seedance-2-0-720p", "prompt": "a boat", "seconds": "5"});
    let submit = || house.client().post(VIDEO).json(&clip);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = submit().cache_control("no-store").send().await;
        let passed = "reprise; fwd=bypass; detail=no-store";
        assert_eq!(answer.cache_status(), passed);
        ids.push(task(&answer));
    }
    let none = submit().cache_control("only-if-cached").send().await;
    assert_eq!(none.error_code(), "not_cached");
    assert_eq!(
        submit().send().await.cache_status(),
        "reprise; fwd=miss; stored"
    );
    assert_eq!(house.billed(), 3);
    assert_eq!(api(&house, "/api/jobs").await.len(), 3, "all run");
    assert_eq!(api(&house, "/api/cache").await.len(), 1, "one is kept");
    // Nobody asks for them, and the proxy starts anew meanwhile.
    house.restart().await;
    house.sandbox.finish_jobs();
    until(|| booked(&house, "paid").len() == 3).await;
    let paid = booked(&house, "paid");
    let of = |field: &str| {
        let mut values: Vec<_> = paid.iter().map(|line| line[field].to_string()).collect();
        values.sort();
        values.dedup();
        values.len()
    };
    assert_eq!((of("run"), of("task"), of("key")), (3, 3, 1));
    for id in &ids {
        assert!(paid.iter().any(|line| line["task"] == id.as_str()), "{id}");
    }
    let (spent, bill) = (dollars(&paid, "usd_spent"), house.sandbox.bill().usd);
    assert!(
        bill > 1.0 && (spent - bill).abs() < 1e-6,
        "{spent} of {bill}"
    );
    // It is booked before it is kept as ended.
    until_async(async || running(&house).await == 0).await;
    until(|| kept(&house) == 1).await;
    let call = house.client().post(VIDEO).json(&clip);
    assert!(call.send().await.is_hit());
    until(|| lines(&house).len() == 3 + 1).await;
}

#[tokio::test]
async fn a_submit_whose_client_leaves_goes_on() {
    let house = house(1.0)
        .config(|config| config.jobs.poll_interval = INTERVAL)
        .await;
    let gate = house.hold(&format!("POST {VIDEO}"));
    let call = past(&house, 1).begin();
    gate.arrived(1).await;
    call.leave().await;
    house.settle().await;
    gate.release();
    until_async(async || api(&house, "/api/jobs").await.len() == 1).await;
    assert!(lines(&house).is_empty(), "{:?}", lines(&house));
    house.sandbox.finish_jobs();
    until(|| booked(&house, "paid").len() == 1).await;
    assert_eq!((house.billed(), lines(&house).len()), (1, 1));
}

#[tokio::test]
async fn a_job_that_upstream_names_twice_is_paid_once() {
    let house = house(2.0).await;
    let first = past(&house, 1).send().await;
    let same = house.sandbox.on(&format!("POST {VIDEO}"));
    same.answer(200, "application/json", first.body.clone());
    assert_eq!(task(&past(&house, 1).send().await), task(&first));
    assert_eq!(api(&house, "/api/jobs").await.len(), 1);
    until(|| booked(&house, "joined").len() == 1).await;
    house.sandbox.finish_jobs();
    poll(&house, &first).await;
    let paid = booked(&house, "paid");
    assert!((dollars(&paid, "usd_spent") - 1.0).abs() < EPSILON);
    assert_eq!(past(&house, 2).send().await.status, 200, "a dollar is left");
}

#[tokio::test]
async fn nothing_is_held_for_a_submit_that_is_refused_and_much_for_one_that_is_cut() {
    let mut house = house(1.0).await;
    let route = house.sandbox.on(&format!("POST {VIDEO}"));
    route.answer(
        200,
        "application/json",
        r#"{"success":false,"message":"no"}"#,
    );
    assert_eq!(past(&house, 1).send().await.status, 200);
    until(|| booked(&house, "failed").len() == 1).await;
    let route = house.sandbox.on(&format!("POST {VIDEO}"));
    route.cut_after(10);
    assert!(past(&house, 1).try_send().await.is_err(), "cut");
    until(|| booked(&house, "unknown").len() == 1).await;
    let unknown = api(&house, "/api/jobs").await;
    assert_eq!(unknown.len(), 1, "its note");
    assert_eq!(unknown[0]["state"], "unknown");
    for _ in 0..2 {
        assert!(is_refused(&past(&house, 1).send().await), "it may run");
        house.restart().await;
    }
}

#[tokio::test]
async fn a_job_that_is_not_kept_has_an_owner_and_an_end() {
    let mut house = house(0.0)
        .config(|config| {
            anna_and_ben(config);
            config.cache.scope = Scope::Client;
        })
        .await;
    let submit = past(&house, 1).key(ANNA).send().await;
    let path = format!("{VIDEO}/{}", task(&submit));
    for round in 0..2 {
        for method in [Method::GET, Method::DELETE] {
            let asked = house.client().call(method, &path).key(BEN).send().await;
            let said = (asked.status, asked.error_code());
            assert_eq!(said, (404, "task_not_found".to_owned()), "{round}");
        }
        let own = house.client().get(&path).key(ANNA).send().await;
        assert_eq!(own.status, 200, "{round}");
        house.restart().await;
        house.sandbox.finish_jobs();
    }
    let paid = booked(&house, "paid");
    assert_eq!((paid.len(), &paid[0]["client"]), (1, &json!("anna")));
    let asked = house.client().get(&path).key(BEN).send().await;
    assert_eq!(
        asked.error_code(),
        "task_not_found",
        "its end changes nothing"
    );
}

#[tokio::test]
async fn a_job_that_is_deleted_is_booked_by_what_upstream_says_last() {
    for passed_by in [false, true] {
        let submit = async |house: &House, n| {
            let call = ask(house, VIDEO, n);
            let call = if passed_by {
                call.cache_control("no-store")
            } else {
                call
            };
            task(&call.send().await)
        };
        let mut house = house(3.0).await;
        // It has succeeded, and nobody has seen that yet.
        let id = submit(&house, 1).await;
        house.sandbox.finish_jobs();
        delete(&house, &id).await;
        assert_eq!(house.sandbox.count(&format!("GET {VIDEO}/{id}")), 1, "once");
        let paid = booked(&house, "paid");
        assert_eq!((paid.len(), &paid[0]["task"]), (1, &json!(id)));
        assert!((dollars(&paid, "usd_spent") - 1.0).abs() < EPSILON);
        // It runs, so it is called off, and costs nothing.
        let id = submit(&house, 2).await;
        delete(&house, &id).await;
        let failed = booked(&house, "failed");
        assert_eq!((failed.len(), &failed[0]["task"]), (1, &json!(id)));
        // It has failed, which nobody has seen yet.
        let failing = json!({"model": "m", "prompt": "a boat [fail]"});
        let call = house.client().post(VIDEO).json(&failing);
        let id = task(&call.cache_control("no-store").send().await);
        house.sandbox.finish_jobs();
        delete(&house, &id).await;
        assert_eq!(booked(&house, "failed").len(), 2);
        // Upstream does not say.
        let id = submit(&house, 3).await;
        let route = house.sandbox.on(&format!("GET {VIDEO}/{id}"));
        route.answer(500, "text/html", "<html>");
        delete(&house, &id).await;
        let unknown = booked(&house, "unknown");
        assert_eq!((unknown.len(), &unknown[0]["task"]), (1, &json!(id)));
        assert_eq!(api(&house, "/api/jobs").await.len(), 0);
        // One dollar is spent and one is held, so one is left.
        for n in [4, 5] {
            house.restart().await;
            let answer = ask(&house, VIDEO, n).send().await;
            assert_eq!(is_refused(&answer), n == 5, "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_job_that_is_given_up_holds_its_money_until_its_period_is_over() {
    for passed_by in [false, true] {
        let clock = Clock::system();
        let mut house = house(1.0)
            .clock(&clock)
            .config(|config| {
                config.jobs.poll_interval = INTERVAL;
                config.jobs.deadline = Duration::from_secs(1);
                config.limits.concurrent_generations = 1;
            })
            .await;
        let call = ask(&house, VIDEO, 1);
        let call = if passed_by {
            call.cache_control("no-store")
        } else {
            call
        };
        task(&call.send().await);
        until(|| booked(&house, "unknown").len() == 1).await;
        until_async(async || api(&house, "/api/jobs").await.is_empty()).await;
        for _ in 0..2 {
            let refused = ask(&house, VIDEO, 1).send().await;
            assert!(is_refused(&refused), "its slot is free: {}", refused.text());
            house.restart().await;
        }
        assert_eq!(lines(&house).len(), 1);
        clock.jump(SignedDuration::from_hours(24));
        let call = ask(&house, VIDEO, 1);
        let call = if passed_by {
            call.cache_control("no-store")
        } else {
            call
        };
        task(&call.send().await);
        assert_eq!(house.billed(), 2);
    }
}
