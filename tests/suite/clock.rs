//! A clock that is set by days, forward and back, in flight and while the proxy is down: nothing that is
//! kept runs again before its time, nothing is lost, nothing panics.

use std::time::Duration;

use jiff::SignedDuration;
use reprise::clock::Clock;
use reprise::config::Ttl;
use serde_json::{Value, json};

use crate::house::{Answer, Call, House, copy};
use crate::paying_once::{COLLAPSED, STORED};

const IMAGES: &str = "/v1/images/generations";
const VIDEO: &str = "/v1/video/generations";

const DAY: i64 = 24;
/// Two days on, two days back, and far beyond both.
const JUMPS: [i64; 4] = [2 * DAY, -2 * DAY, 4_000 * DAY, -4_000 * DAY];

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn image(house: &House, prompt: &str) -> Call {
    let body = json!({"model": "gpt-image-2", "prompt": prompt});
    house.client().post(IMAGES).json(&body)
}

fn video(prompt: &str) -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt})
}

fn age(answer: &Answer) -> u64 {
    answer.header("age").parse().unwrap()
}

#[tokio::test]
async fn what_is_kept_for_ever_outlasts_every_jump() {
    let clock = Clock::system();
    let mut house = House::new().clock(&clock).await;
    let first = image(&house, "for ever").send().await;
    for jump in JUMPS {
        clock.jump(hours(jump));
        let hit = image(&house, "for ever").send().await;
        assert!(hit.is_hit() && hit.body == first.body, "{jump}");
        if jump < 0 {
            // A clock that was set back makes no age negative.
            assert!(age(&hit) <= 2 * 4_000 * 24 * 3_600, "{jump}");
        }
        house.restart().await;
        let hit = image(&house, "for ever").send().await;
        assert!(hit.is_hit() && hit.body == first.body, "{jump}, restarted");
        assert_eq!(house.report().rebuilt, None, "{jump}");
    }
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_ttl_ends_by_the_clock_and_not_before() {
    let clock = Clock::system();
    let plan = House::new().clock(&clock).config(|config| {
        config.cache.images.ttl = Ttl::For(Duration::from_hours(72));
    });
    let mut house = plan.await;
    let first = image(&house, "three days").send().await;
    for jump in [2 * DAY, -5 * DAY, 4 * DAY] {
        clock.jump(hours(jump));
        house.restart().await;
        let hit = image(&house, "three days").send().await;
        assert!(hit.is_hit() && hit.body == first.body, "{jump}");
    }
    // One day since it was made, and two more.
    clock.jump(hours(2 * DAY));
    let stale = image(&house, "three days").send().await;
    assert_eq!(stale.cache_status(), "reprise; fwd=stale; stored");
    // Made in a time that the clock then goes back behind: as new, and no age.
    clock.jump(hours(-10 * DAY));
    let hit = image(&house, "three days").send().await;
    assert!(hit.is_hit() && hit.body == stale.body);
    assert_eq!(age(&hit), 0);
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn a_jump_in_flight_costs_nothing() {
    for jump in JUMPS {
        let clock = Clock::system();
        let mut house = House::new().clock(&clock).await;
        let gate = house.hold("POST ");
        let first = image(&house, "in flight").begin();
        gate.arrived(1).await;
        let other = image(&house, "in flight").begin();
        house.waiting(2).await;
        clock.jump(hours(jump));
        gate.release();
        let (first, other) = (first.answer().await, other.answer().await);
        assert_eq!(first.cache_status(), STORED, "{jump}");
        assert_eq!(other.cache_status(), COLLAPSED, "{jump}");
        house.restart().await;
        let hit = image(&house, "in flight").send().await;
        assert!(hit.is_hit() && hit.body == first.body, "{jump}");
        assert_eq!(house.billed(), 1, "{jump}");
    }
}

#[tokio::test]
async fn a_doubt_stays_one_whatever_the_clock_says() {
    for jump in JUMPS {
        let clock = Clock::system();
        let mut house = House::new().clock(&clock).await;
        house.sandbox.on("POST ").close_before_head();
        image(&house, "doubt").send().await;
        clock.jump(hours(jump));
        for _ in 0..2 {
            assert_eq!(image(&house, "doubt").send().await.status, 409, "{jump}");
            house.restart().await;
        }
        assert_eq!(house.billed(), 1, "{jump}");
    }
}

/// A run of its own beside what is kept, and the process ends while it is under way: what is kept was
/// made later by the clock, and is still not what that run has brought.
#[tokio::test]
async fn a_run_that_was_lost_is_not_taken_for_an_answer_from_the_future() {
    let clock = Clock::system();
    clock.jump(hours(2 * DAY));
    let house = House::new().clock(&clock).await;
    let kept = image(&house, "future").send().await;
    clock.jump(hours(-2 * DAY));
    let gate = house.hold("POST ");
    let lost = image(&house, "future").cache_control("no-cache").begin();
    gate.arrived(1).await;
    let left = tempfile::tempdir().unwrap();
    copy(&house.data_dir(), left.path());
    let after = House::new().clock(&clock).disk(left.path()).await;
    let pending = std::fs::read_dir(after.data_dir().join("pending")).unwrap();
    assert_eq!(pending.count(), 1, "nobody knows how it ended");
    let hit = image(&after, "future").send().await;
    assert!(hit.is_hit() && hit.body == kept.body);
    gate.release();
    lost.answer().await;
    assert_eq!(
        image(&house, "future")
            .send()
            .await
            .cache_status()
            .get(..13),
        Some("reprise; hit;")
    );
    let settled = std::fs::read_dir(house.data_dir().join("pending")).unwrap();
    assert_eq!(settled.count(), 0);
}

#[tokio::test]
async fn a_finished_job_is_kept_and_its_polls_with_it() {
    let clock = Clock::system();
    let plan = House::new().clock(&clock);
    let mut house = plan
        .sandbox(|options| options.job_time = Duration::ZERO)
        .await;
    let body = video("a day");
    let submit = house.client().post(VIDEO).json(&body).send().await;
    let task = submit.json()["task_id"].as_str().unwrap().to_owned();
    let path = format!("{VIDEO}/{task}");
    let end = house.client().get(&path).send().await;
    assert!(end.text().contains("SUCCESS"), "{}", end.text());
    for jump in JUMPS {
        clock.jump(hours(jump));
        house.restart().await;
        let again = house.client().post(VIDEO).json(&body).send().await;
        assert!(again.is_hit() && again.body == submit.body, "{jump}");
        let poll = house.client().get(&path).send().await;
        assert!(poll.is_hit() && poll.body == end.body, "{jump}");
    }
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn a_running_job_is_joined_until_its_deadline() {
    let clock = Clock::system();
    let plan = House::new().clock(&clock);
    let plan = plan.sandbox(|options| options.job_time = Duration::from_hours(1));
    let mut house = plan.await;
    let body = video("long");
    let submit = house.client().post(VIDEO).json(&body).send().await;
    // Back by years, and on to just before the deadline of a day.
    for jump in [-2 * DAY, -4_000 * DAY, 4_002 * DAY, DAY - 1] {
        clock.jump(hours(jump));
        house.restart().await;
        let again = house.client().post(VIDEO).json(&body).send().await;
        assert_eq!(again.cache_status(), COLLAPSED, "{jump}");
        assert_eq!(again.body, submit.body, "{jump}");
    }
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn an_idempotency_key_stands_for_a_day_in_both_directions() {
    let keyed =
        |house: &House, prompt: &str| image(house, prompt).header("idempotency-key", "order");
    for (jump, stands) in [
        (DAY - 1, true),
        (1 - DAY, true),
        (2 * DAY, false),
        (-2 * DAY, false),
    ] {
        let clock = Clock::system();
        let mut house = House::new().clock(&clock).await;
        keyed(&house, "first").send().await;
        clock.jump(hours(jump));
        house.restart().await;
        // The same request is the same one, whatever the clock says.
        assert!(keyed(&house, "first").send().await.is_hit(), "{jump}");
        assert_eq!(house.billed(), 1, "{jump}");
        if stands {
            let other = keyed(&house, "second").send().await;
            assert_eq!(other.error_code(), "idempotency_mismatch", "{jump}");
            assert_eq!(house.billed(), 1, "{jump}");
        }
    }
}

#[tokio::test]
async fn a_clock_at_the_end_of_time_panics_nowhere() {
    for jump in [i64::MAX / 3_600_000, i64::MIN / 3_600_000] {
        let clock = Clock::system();
        clock.jump(hours(jump));
        let mut house = House::new().clock(&clock).await;
        let first = image(&house, "edge")
            .header("idempotency-key", "k")
            .send()
            .await;
        assert_eq!(first.cache_status(), STORED, "{jump}");
        house.restart().await;
        let hit = image(&house, "edge")
            .header("idempotency-key", "k")
            .send()
            .await;
        assert!(hit.is_hit(), "{jump}");
        assert_eq!(house.billed(), 1, "{jump}");
    }
}
