//! Requests by the minute, and generations by the minute.

use std::time::{Duration, Instant};

use reprise::config::{BaseUrl, Mode, OwnLimits};
use serde_json::json;

use super::{CHAT, IMAGES, VIDEO, assert_refused, chat, house_of_anna, image, post, video};
use crate::credentials::{ANNA, BEN};
use crate::house::{Answer, Host, House, Page};
use crate::wire::Wire;

/// So many in a minute that one comes back every twenty seconds: longer than a test takes.
const FEW: u32 = 3;

fn requests(most: u32) -> OwnLimits {
    OwnLimits {
        requests_per_minute: Some(most),
        ..OwnLimits::default()
    }
}

fn generations(most: u32) -> OwnLimits {
    OwnLimits {
        generations_per_minute: Some(most),
        ..OwnLimits::default()
    }
}

/// What an answer says of the request limit: the number, what is left, and when all is back.
fn standing(answer: &Answer) -> [&str; 3] {
    ["limit", "remaining", "reset"]
        .map(|word| answer.header(&format!("x-ratelimit-{word}-requests")))
}

const NONE: [&str; 3] = ["", "", ""];

#[tokio::test]
async fn every_request_counts_whatever_it_is() {
    for (name, path) in [
        ("a list", "/v1/models"),
        ("a path that nobody knows", "/v1/no/such/thing"),
        ("a poll", "/v1/videos/task_unknown"),
    ] {
        let house = house_of_anna(requests(FEW)).await;
        let get = |key: &'static str| house.client().get(path).key(key).send();
        let expected = [["3", "2", "20s"], ["3", "1", "40s"], ["3", "0", "1m0s"]];
        // The guard stands before the door: nobody knows yet who asks.
        let astray = house.client().get("/v1/%2e%2e/x").key(ANNA).send().await;
        assert_eq!((astray.status, standing(&astray)), (400, NONE));
        for expected in expected {
            let answer = get(ANNA).await;
            assert_ne!(answer.status, 429, "{name}: {}", answer.text());
            assert_eq!(standing(&answer), expected, "{name}");
        }
        let seen = house.sandbox.requests().len();
        let refused = get(ANNA).await;
        assert!(
            assert_refused(&refused, "requests_per_minute", 3) <= 20_000,
            "{name}"
        );
        assert_eq!(standing(&refused)[..2], ["3", "0"], "{name}");
        assert_eq!(house.sandbox.requests().len(), seen, "{name}");
        let ben = get(BEN).await;
        assert_eq!(standing(&ben), NONE, "{name}");
        assert_eq!(house.sandbox.requests().len(), seen + 1, "{name}");
    }
}

#[tokio::test]
async fn generations_hits_and_web_sockets_are_requests_too() {
    let house = house_of_anna(requests(FEW)).await;
    for (left, hit) in [("2", false), ("1", true)] {
        let answer = post(&house, CHAT, &chat("again")).key(ANNA).send().await;
        assert_eq!(answer.is_hit(), hit, "{}", answer.text());
        assert_eq!(standing(&answer)[1], left);
    }
    let asking = format!(
        "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ANNA}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    for (status, left) in [(101, "0"), (429, "0")] {
        let mut wire = Wire::open(house.addr()).await;
        wire.say(asking.clone()).await;
        let head = wire.head().await;
        assert_eq!(head.status(), status);
        assert_eq!(head.all("x-ratelimit-remaining-requests"), [left]);
    }
    assert_eq!(house.sandbox.count("GET /v1/realtime"), 1);
    // Who is not let in uses up nobody's limit, and is told nothing of it.
    let stranger = house.client().get("/v1/models").key("sk-nobody").send();
    let stranger = stranger.await;
    assert_eq!((stranger.status, standing(&stranger)), (401, NONE));
}

#[tokio::test]
async fn what_upstream_says_of_its_own_limit_stands() {
    let gateway = Host::upstream(|_| {
        Page::new(200, "{}")
            .header("content-type", "application/json")
            .header("x-ratelimit-limit-requests", "9")
            .header("x-ratelimit-remaining-requests", "8")
    })
    .await;
    let base = BaseUrl::parse(&format!("{}/v1", gateway.origin())).unwrap();
    let house = house_of_anna(requests(FEW));
    let house = house
        .config(move |config| config.upstream.base_url = base.clone())
        .await;
    let get = || house.client().get("/v1/models").key(ANNA).send();
    for _ in 0..FEW {
        assert_eq!(standing(&get().await), ["9", "8", ""]);
    }
    let refused = get().await;
    assert_refused(&refused, "requests_per_minute", 3);
    assert_eq!(standing(&refused)[..2], ["3", "0"]);
    assert_eq!(gateway.count(), 3);
}

#[tokio::test]
async fn who_comes_back_when_told_is_let_in() {
    // One every 100 ms.
    let house = house_of_anna(requests(600)).await;
    let client = house.client();
    let begun = Instant::now();
    let (mut let_in, mut wait) = (0_u64, None);
    while wait.is_none() && let_in < 3000 {
        let answer = client.get("/v1/models").key(ANNA).send().await;
        match answer.status {
            200 => let_in += 1,
            _ => wait = Some(assert_refused(&answer, "requests_per_minute", 600)),
        }
    }
    let refilled = begun.elapsed().as_millis() as u64 / 100;
    assert!(
        (600..=601 + refilled).contains(&let_in),
        "{let_in} in {refilled}"
    );
    let wait = wait.expect("nobody is refused");
    assert!(wait <= 100, "{wait}");
    tokio::time::sleep(Duration::from_millis(wait)).await;
    let answer = client.get("/v1/models").key(ANNA).send().await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn only_what_is_paid_counts_as_a_generation() {
    let house = house_of_anna(generations(2))
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .await;
    let ask = |path, body| post(&house, path, &body).key(ANNA);
    let submit = ask(VIDEO, video("a road")).send().await;
    assert_eq!(submit.status, 200);
    assert_eq!(ask(IMAGES, image("a road")).send().await.status, 200);
    let task = submit.json()["task_id"].as_str().unwrap().to_owned();
    let paid = house.sandbox.requests().len();
    // Free: what is kept, what is joined, polls, and what is answered from nothing else.
    for _ in 0..3 {
        assert!(ask(IMAGES, image("a road")).send().await.is_hit());
        let joined = ask(VIDEO, video("a road")).send().await;
        assert_eq!(joined.cache_status(), "reprise; fwd=miss; collapsed");
        let poll = house.client().get(&format!("{VIDEO}/{task}")).key(ANNA);
        assert_eq!(poll.send().await.status, 200);
        let kept = ask(IMAGES, image("a river")).cache_control("only-if-cached");
        assert_eq!(kept.send().await.error_code(), "not_cached");
        let passed = ask(CHAT, chat("?")).cache_control("no-store, only-if-cached");
        assert_eq!(passed.send().await.error_code(), "not_cached");
    }
    // Paid, so refused, however it is asked for.
    for call in [
        ask(IMAGES, image("a river")),
        ask(CHAT, chat("a river")),
        ask(IMAGES, image("a road")).cache_control("no-cache"),
        ask(IMAGES, image("a road")).cache_control("no-store"),
        ask(IMAGES, image("a road")).header("reprise-take", "2"),
        ask("/v1/embeddings", json!({"model": "e", "input": "x"})),
    ] {
        let refused = call.send().await;
        assert!(assert_refused(&refused, "generations_per_minute", 2) <= 30_000);
        assert_eq!(refused.header("x-ratelimit-limit-requests"), "");
    }
    let polls = house.sandbox.count(&format!("GET {VIDEO}"));
    assert_eq!(house.sandbox.requests().len(), paid + polls);
    assert_eq!(house.billed(), 2);
    let ben = post(&house, CHAT, &chat("a river")).key(BEN).send().await;
    assert_eq!(ben.status, 200);
    // What Ben has paid for is kept, and free for Anna.
    assert!(ask(CHAT, chat("a river")).send().await.is_hit());
}

#[tokio::test]
async fn what_is_passed_by_counts_too() {
    let house = house_of_anna(generations(1))
        .config(|config| config.cache.chat.mode = Mode::Off)
        .await;
    let ask = |words| post(&house, CHAT, &chat(words)).key(ANNA).send();
    assert_eq!(
        ask("one").await.cache_status(),
        "reprise; fwd=bypass; detail=mode-off"
    );
    assert_refused(&ask("one").await, "generations_per_minute", 1);
    assert_eq!(house.billed(), 1);
}

/// A client that floods the proxy is answered by the proxy alone, and another one does not notice.
#[tokio::test]
async fn a_client_over_its_limit_does_not_slow_another() {
    let house = house_of_anna(generations(1)).await;
    let ask = |key, words: &str| post(&house, CHAT, &chat(words)).key(key);
    assert_eq!(ask(ANNA, "first").send().await.status, 200);
    let flood: Vec<_> = (0..300)
        .map(|nth| ask(ANNA, &format!("flood {nth}")).begin())
        .collect();
    let begun = Instant::now();
    for nth in 0..20 {
        let answer = ask(BEN, &format!("ben {nth}")).send().await;
        assert_eq!(answer.status, 200);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    for refused in flood {
        assert_refused(&refused.answer().await, "generations_per_minute", 1);
    }
    assert_eq!(house.billed(), 21);
}

/// One who is refused leads nobody: of those who asked for the same at that moment, whoever may does.
#[tokio::test]
async fn a_refused_lead_does_not_take_others_with_it() {
    let house = house_of_anna(generations(1)).await;
    let ask = |key, words: &str| post(&house, IMAGES, &image(words)).key(key);
    assert_eq!(ask(ANNA, "first").send().await.status, 200);
    for round in 0..5 {
        let words = format!("together {round}");
        let crowd: Vec<_> = (0..40)
            .map(|nth| {
                let key = if nth % 8 == 7 { BEN } else { ANNA };
                (key, ask(key, &words).begin())
            })
            .collect();
        for (key, call) in crowd {
            let answer = call.answer().await;
            // Anna may join what Ben pays for.
            if key == BEN || answer.status == 200 {
                assert_eq!(answer.status, 200, "{}", answer.text());
            } else {
                assert_refused(&answer, "generations_per_minute", 1);
            }
        }
        assert_eq!(house.billed(), 2 + round);
    }
}

/// Many equal ones of a client that may not: each is refused, none waits for the other.
#[tokio::test]
async fn a_crowd_of_one_client_is_refused_together() {
    let house = house_of_anna(generations(1)).await;
    let ask = |words| post(&house, IMAGES, &image(words)).key(ANNA);
    assert_eq!(ask("first").send().await.status, 200);
    let crowd: Vec<_> = (0..400).map(|_| ask("together").begin()).collect();
    for call in crowd {
        assert_refused(&call.answer().await, "generations_per_minute", 1);
    }
    assert_eq!(house.billed(), 1);
}

/// The limits of everybody hold in an open house, for the one client that there is.
#[tokio::test]
async fn an_open_house_has_limits_too() {
    let house = House::new()
        .config(|config| config.limits.requests_per_minute = FEW)
        .await;
    for left in ["2", "1", "0"] {
        let answer = house.client().get("/v1/models").send().await;
        assert_eq!(standing(&answer)[1], left);
    }
    let refused = house.client_h2().get("/v1/models").send().await;
    assert_refused(&refused, "requests_per_minute", 3);
    // What is no request below /v1 is none of theirs.
    assert_eq!(house.client().get("/healthz").send().await.status, 200);
}
