//! Links that have outlived their time, without a copy: a hit never hands out a dead one, and nothing
//! is paid for again because somebody had a hiccup.

use std::time::Duration;

use jiff::SignedDuration;
use reprise::clock::Clock;
use serde_json::{Value, json};

use super::{IMAGES, SUBMIT, film, finished, image, linking_to, poll, submit};
use crate::house::{Answer, Host, House, Page, Plan};

const DAY: SignedDuration = SignedDuration::from_hours(25);

/// A house without an archive, whose links lead to `host`.
fn bare(host: &Host, clock: &Clock) -> Plan {
    linking_to(host)
        .config(|config| config.media.archive = false)
        .clock(clock)
}

/// What a host of files says of an old link.
fn page(status: u16) -> Page {
    match status {
        200 => Page::file(&film(100)),
        206 => Page::new(206, "\0").header("content-range", "bytes 0-0/100"),
        other => Page::new(other, "<Error/>"),
    }
}

#[tokio::test]
async fn an_image_is_forgotten_only_when_its_link_is_dead() {
    for (status, dead) in [
        (200, false),
        (206, false),
        (403, true),
        (404, true),
        (410, true),
        (400, true),
        (408, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let (host, clock) = (Host::start(move |_| page(status)).await, Clock::system());
        let house = bare(&host, &clock).await;
        let ask = || house.client().post(IMAGES).json(&image("a bird", 1)).send();
        let first = ask().await;
        assert!(ask().await.is_hit());
        assert_eq!(host.count(), 0, "a young link is not looked at");
        clock.jump(DAY);
        let later = ask().await;
        assert_eq!(later.is_hit(), !dead, "{status}: {}", later.cache_status());
        assert_eq!(later.body == first.body, !dead, "{status}");
        assert_eq!(house.billed(), if dead { 2 } else { 1 }, "{status}");
        assert_eq!(host.seen()[0].header("range"), "bytes=0-0");
        // Looked at once a minute, not for each hit.
        assert!(ask().await.is_hit());
        assert_eq!(host.count(), 1);
    }
}

#[tokio::test]
async fn an_image_whose_host_is_gone_is_not_paid_for_again() {
    let (host, clock) = (Host::start(|_| page(200)).await, Clock::system());
    let house = bare(&host, &clock).await;
    // Nobody listens there.
    let body = json!({"data": [{"url": "http://127.0.0.1:9/a.png"}]}).to_string();
    let images = house.sandbox.on("POST /v1/images");
    images.answer_billed(200, "application/json", body);
    let ask = || house.client().post(IMAGES).json(&image("a bird", 1)).send();
    ask().await;
    clock.jump(DAY);
    assert!(ask().await.is_hit());
    assert_eq!(house.billed(), 1);
}

/// A job's poll as upstream gives it later: its status, its body, what the links' host says, and
/// whether the next identical submit runs again.
type Row = (u16, fn(&str) -> Value, u16, bool);

fn success(link: &str) -> Value {
    json!({"code": "success", "data": {"status": "SUCCESS", "result_url": link}})
}

const ROWS: [Row; 15] = [
    // The same link: it decides.
    (200, success, 200, false),
    (200, success, 403, true),
    (200, success, 404, true),
    (200, success, 503, false),
    // Upstream no longer knows the job, or says that it failed: the link decides.
    (404, |_| json!({"error": {"message": "no"}}), 200, false),
    (404, |_| json!({"error": {"message": "no"}}), 403, true),
    (
        400,
        |_| json!({"code": "task_not_exist", "data": null}),
        404,
        true,
    ),
    (
        400,
        |_| json!({"code": "invalid_request", "data": null}),
        404,
        false,
    ),
    (
        200,
        |_| json!({"code": "success", "data": {"status": "FAILURE"}}),
        403,
        true,
    ),
    (
        200,
        |_| json!({"code": "success", "data": {"status": "FAILURE"}}),
        200,
        false,
    ),
    // Nobody can say.
    (
        403,
        |_| json!({"error": {"message": "no access to model", "code": ""}}),
        404,
        false,
    ),
    (429, |_| json!(null), 404, false),
    (500, |_| json!({"code": "get_task_failed"}), 404, false),
    (502, |_| json!(null), 403, false),
    (200, |_| json!("what?"), 404, false),
];

#[tokio::test]
async fn a_job_is_forgotten_only_when_upstream_has_nothing_better() {
    for (status, body, host_says, dead) in ROWS {
        let (host, clock) = (Host::start(move |_| page(host_says)).await, Clock::system());
        let house = bare(&host, &clock).await;
        let (id, first) = finished(&house, "a heron").await;
        clock.jump(DAY);
        let mut answer = body(&super::link(&first));
        if answer["data"].is_object() {
            answer["data"]["task_id"] = id.clone().into();
        }
        let polls = house.sandbox.on(&format!("GET {SUBMIT}/"));
        polls.answer(status, "application/json", answer.to_string());
        polls.always();
        let what = format!("{status} {answer} {host_says}");
        let again = submit(&house, "a heron").await;
        assert_eq!(again.is_hit(), !dead, "{what}: {}", again.cache_status());
        assert_eq!(house.billed(), if dead { 2 } else { 1 }, "{what}");
        assert_eq!(super::task(&again) == id, !dead, "{what}");
    }
}

/// Where the link is dead and upstream cannot say more, a poll is upstream's to answer.
#[tokio::test]
async fn a_poll_never_shows_a_link_that_is_dead() {
    let (host, clock) = (Host::start(|_| page(403)).await, Clock::system());
    let house = bare(&host, &clock).await;
    let (id, _) = finished(&house, "a stork").await;
    clock.jump(DAY);
    let polls = house.sandbox.on(&format!("GET {SUBMIT}/"));
    polls.answer(503, "text/plain", "busy").always();
    let answer = poll(&house, &id).await;
    assert_eq!((answer.status, &*answer.text()), (503, "busy"));
    assert!(submit(&house, "a stork").await.is_hit());
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn links_that_upstream_renews_take_the_place_of_old_ones() {
    let alive = |visit: &crate::house::Visit| {
        page(if visit.line.contains("fresh") {
            200
        } else {
            403
        })
    };
    let (host, clock) = (Host::start(alive).await, Clock::system());
    for archive in [false, true] {
        let house: House = bare(&host, &clock)
            .config(move |config| config.media.archive = archive)
            .config(|config| config.media.link_lifetime = Duration::from_hours(1))
            .await;
        let (id, first) = finished(&house, "a crane").await;
        let other = house.client().get(&format!("/v1/videos/{id}")).send().await;
        assert!(!other.is_hit());
        clock.jump(DAY);
        let fresh = format!("{}/fresh.mp4", host.origin());
        let body = first.text().replace(&super::link(&first), &fresh);
        let polls = house.sandbox.on(&format!("GET {SUBMIT}/"));
        polls.answer(200, "application/json", body).always();
        let hit = submit(&house, "a crane").await;
        assert!(hit.is_hit(), "{archive}: {}", hit.cache_status());
        let answer: Answer = poll(&house, &id).await;
        assert!(answer.is_hit());
        if archive {
            super::kept_link(&house, &id).await;
        } else {
            assert_eq!(super::link(&answer), fresh);
        }
        // The other path's answer showed the old link, so upstream is asked for it again.
        let other = house.client().get(&format!("/v1/videos/{id}")).send().await;
        assert!(!other.is_hit());
        assert_eq!(house.billed(), 1);
    }
}

/// With a copy nobody is asked, however old it is.
#[tokio::test]
async fn what_is_kept_needs_no_links() {
    let (host, clock) = (Host::start(|_| page(200)).await, Clock::system());
    let house = linking_to(&host).clock(&clock).await;
    let (id, _) = finished(&house, "a swan").await;
    super::kept_link(&house, &id).await;
    let asked = house.sandbox.requests().len();
    host.answer(|_| page(403));
    clock.jump(DAY);
    assert!(submit(&house, "a swan").await.is_hit());
    assert!(poll(&house, &id).await.is_hit());
    assert_eq!((house.sandbox.requests().len(), host.count()), (asked, 1));
    assert_eq!(house.billed(), 1);
}

/// A hundred hits at once ask once, and one of them runs.
#[tokio::test]
async fn many_hits_of_a_dead_link_are_one_run() {
    let (host, clock) = (Host::start(|_| page(404)).await, Clock::system());
    let house = bare(&host, &clock).await;
    let ask = || house.client().post(IMAGES).json(&image("a gull", 1));
    ask().send().await;
    clock.jump(DAY);
    let under_way: Vec<_> = (0..50).map(|_| ask().begin()).collect();
    for answer in under_way {
        assert_eq!(answer.answer().await.status, 200);
    }
    assert_eq!((house.billed(), host.count()), (2, 1));
}
