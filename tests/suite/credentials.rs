//! Who asks, and with whose key: clients' keys stop at the proxy, the real one starts there.

use std::time::Duration;

use hyper::Method;
use reprise::config::{self, Config, OwnLimits, Scope};
use reprise::sandbox::Seen;
use serde_json::{Value, json};

use crate::house::{Answer, Call, House, UPSTREAM_KEY};

pub(crate) const ANNA: &str = "sk-key-of-anna";
pub(crate) const BEN: &str = "sk-key-of-ben";
const STRANGER: &str = "sk-key-of-nobody";
const PLACES: [&str; 5] = [
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "query",
    "subprotocol",
];

pub(crate) fn anna_and_ben(config: &mut Config) {
    for (name, key) in [("anna", ANNA), ("ben", BEN)] {
        let client = config::Client {
            key_hash: blake3::hash(key.as_bytes()),
            limits: OwnLimits::default(),
        };
        config.clients.insert(name.to_owned(), client);
    }
}

/// A call that shows its key in one of the five places.
fn call(house: &House, method: &Method, target: &str, (place, key): (&str, &str)) -> Call {
    let client = house.client();
    let with = |name: &str, value: String| client.call(method.clone(), target).header(name, &value);
    match place {
        "authorization" => with(place, format!("Bearer {key}")),
        "query" => {
            let mark = if target.contains('?') { '&' } else { '?' };
            client.call(method.clone(), &format!("{target}{mark}key={key}&last=%20"))
        }
        "subprotocol" => with(
            "sec-websocket-protocol",
            format!("realtime, openai-insecure-api-key.{key}, v1"),
        ),
        header => with(header, key.to_owned()),
    }
}

/// Exactly one credential, and it is the real one.
fn assert_replaced(seen: &Seen, what: &str) {
    let sent: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| name.as_str() == "authorization")
        .map(|(_, value)| value.to_str().unwrap())
        .collect();
    assert_eq!(sent, [format!("Bearer {UPSTREAM_KEY}")], "{what}");
    let shown = format!("{} {:?} {:?}", seen.uri, seen.headers, seen.body);
    for key in [ANNA, BEN, STRANGER] {
        assert!(!shown.contains(key), "{what}: {shown}");
    }
    assert!(!shown.contains("insecure-api-key"), "{what}: {shown}");
    let others = ["x-api-key", "x-goog-api-key"];
    assert!(
        others.iter().all(|name| seen.header(name).is_none()),
        "{what}"
    );
}

fn image(prompt: &str) -> Value {
    json!({"model": "gpt-image-2", "prompt": prompt})
}

/// Everything that goes upstream by another way: passed through, run, polled.
async fn every_way(house: &House, place: &str, key: &str) {
    let shown = (place, key);
    let models = call(house, &Method::GET, "/v1/models?limit=1", shown);
    assert_eq!(models.send().await.status, 200, "{place}");
    let run = call(house, &Method::POST, "/v1/images/generations", shown);
    // Not the key itself: what a client writes into its prompt is its own affair.
    let run = run
        .json(&image(&format!("{place} {}", key.len())))
        .send()
        .await;
    assert_eq!(run.status, 200, "{place}");
    let bypassed = call(house, &Method::POST, "/v1/images/generations", shown);
    let bypassed = bypassed.cache_control("no-store").json(&image(place));
    assert_eq!(bypassed.send().await.status, 200, "{place}");
    let video =
        json!({"model": "doubao-seedance-2-0-720p", "prompt": format!("{place} {}", key.len())});
    let submit = call(house, &Method::POST, "/v1/video/generations", shown);
    let submit = submit.json(&video).send().await;
    let id = submit.json()["task_id"].as_str().unwrap().to_owned();
    for path in [
        format!("/v1/video/generations/{id}"),
        format!("/v1/videos/{id}"),
    ] {
        let poll = call(house, &Method::GET, &path, shown).send().await;
        assert_eq!(poll.status, 200, "{place}");
    }
}

#[tokio::test]
async fn in_open_mode_every_key_is_taken_and_none_goes_on() {
    let house = House::new().await;
    for place in PLACES {
        every_way(&house, place, STRANGER).await;
    }
    assert_eq!(house.client().get("/v1/models").send().await.status, 200);
    let seen = house.sandbox.requests();
    assert_eq!(seen.len(), 5 * 6 + 1);
    for seen in &seen {
        assert_replaced(seen, &seen.route);
    }
    let queries: Vec<_> = seen.iter().filter_map(|seen| seen.uri.query()).collect();
    assert!(queries.contains(&"limit=1&last=%20"), "{queries:?}");
    let protocols: Vec<_> = seen
        .iter()
        .filter_map(|seen| seen.header("sec-websocket-protocol"))
        .collect();
    assert_eq!(protocols, ["realtime, v1"; 6]);
}

#[tokio::test]
async fn a_client_is_known_in_every_place() {
    let house = House::new().config(anna_and_ben).await;
    for place in PLACES {
        every_way(&house, place, ANNA).await;
        every_way(&house, place, BEN).await;
    }
    for seen in house.sandbox.requests() {
        assert_replaced(&seen, &seen.route);
    }
}

#[tokio::test]
async fn a_stranger_gets_401_and_nothing_happens() {
    let house = House::new().config(anna_and_ben).await;
    let kept = call(
        &house,
        &Method::POST,
        "/v1/images/generations",
        ("x-api-key", ANNA),
    );
    assert_eq!(kept.json(&image("kept")).send().await.status, 200);
    let before = house.sandbox.requests().len();
    let check = |answer: &Answer, what: &str| {
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.header("content-type"), "application/json");
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{what}");
        assert_eq!(error["code"], "invalid_api_key", "{what}");
        assert_eq!(error["param"], Value::Null, "{what}");
        assert!(error["message"].is_string(), "{what}");
        assert!(!answer.text().contains(STRANGER), "{what}");
        assert!(
            answer.header("cache-status").starts_with("reprise"),
            "{what}"
        );
    };
    let near = [
        format!("{ANNA}x"),
        ANNA[..10].to_owned(),
        ANNA.to_uppercase(),
        String::new(),
    ];
    for place in PLACES {
        for key in near.iter().map(String::as_str).chain([STRANGER]) {
            for (method, target) in [
                (Method::GET, "/v1/models"),
                (Method::POST, "/v1/images/generations"),
                (Method::GET, "/v1/videos/task_x"),
                (Method::DELETE, "/v1/files/f"),
            ] {
                let asked = call(&house, &method, target, (place, key));
                let answer = asked.json(&image("kept")).send().await;
                check(&answer, &format!("{place} {key} {target}"));
            }
        }
    }
    let nobody = house.client().get("/v1/models").send().await;
    check(&nobody, "no key at all");
    let basic = house
        .client()
        .get("/v1/models")
        .header("authorization", &format!("Basic {ANNA}"));
    check(&basic.send().await, "another scheme");
    assert_eq!(
        house.sandbox.requests().len(),
        before,
        "nothing went upstream"
    );
}

/// Health is for anyone; it tells nothing.
#[tokio::test]
async fn health_needs_no_key() {
    let house = House::new().config(anna_and_ben).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(house.client().get(path).send().await.status, 200);
    }
}

fn apart(config: &mut Config) {
    anna_and_ben(config);
    config.cache.scope = Scope::Client;
    config.jobs.min_poll_interval = Duration::from_nanos(1);
}

#[tokio::test]
async fn clients_share_what_is_kept() {
    let house = House::new().config(anna_and_ben).await;
    let run = |key: &str| {
        house
            .client()
            .post("/v1/images/generations")
            .key(key)
            .json(&image("shared"))
            .send()
    };
    let (first, second) = (run(ANNA).await, run(BEN).await);
    assert!(second.is_hit() && second.body == first.body);
    let video = json!({"model": "doubao-seedance-2-0-720p", "prompt": "shared"});
    let submit = |key: &str| {
        house
            .client()
            .post("/v1/videos")
            .key(key)
            .json(&video)
            .send()
    };
    let (first, second) = (submit(ANNA).await, submit(BEN).await);
    assert_eq!(second.cache_status(), "reprise; fwd=miss; collapsed");
    assert_eq!(second.body, first.body);
    let id = first.json()["task_id"].as_str().unwrap().to_owned();
    let poll = house
        .client()
        .get(&format!("/v1/videos/{id}"))
        .key(BEN)
        .send()
        .await;
    assert_eq!(poll.status, 200);
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn apart_clients_share_nothing() {
    let mut house = House::new().config(apart).await;
    for restart in [false, true] {
        if restart {
            house.restart().await;
        }
        let run = |key: &str| {
            house
                .client()
                .post("/v1/images/generations")
                .key(key)
                .json(&image("apart"))
                .send()
        };
        let (anna, ben) = (run(ANNA).await, run(BEN).await);
        assert_ne!(anna.body, ben.body);
        assert!(!restart || (anna.is_hit() && ben.is_hit()));
        assert!(run(ANNA).await.is_hit());
        assert_ne!(run(ANNA).await.key(), run(BEN).await.key());
    }
    assert_eq!(house.billed(), 2);
}

#[tokio::test]
async fn another_clients_job_does_not_exist() {
    let mut house = House::new().config(apart).await;
    let video = json!({"model": "doubao-seedance-2-0-720p", "prompt": "mine"});
    let submit = house
        .client()
        .post("/v1/videos")
        .key(ANNA)
        .json(&video)
        .send()
        .await;
    let id = submit.json()["task_id"].as_str().unwrap().to_owned();
    let encoded = id.replacen("task_", "%74ask%5F", 1);
    let requests = [
        (Method::GET, format!("/v1/videos/{id}")),
        (Method::GET, format!("/v1/video/generations/{id}")),
        (Method::GET, format!("/v1/videos/{id}/content")),
        (Method::HEAD, format!("/v1/videos/{id}/content")),
        (Method::GET, format!("/v1/videos/{id}/")),
        (Method::GET, format!("/v1/videos/{id}?a=b")),
        (Method::DELETE, format!("/v1/videos/{id}")),
        (Method::POST, format!("/v1/videos/{id}/remix")),
        (Method::GET, format!("/v1/videos/{encoded}")),
        (Method::GET, format!("/v1/video/generations/{encoded}")),
        (Method::GET, format!("/v1/videos/{encoded}/content")),
        (Method::GET, format!("/v1//videos/{id}")),
        (Method::GET, format!("/v1/./videos/{id}")),
        (Method::GET, format!("/v1/models/../videos/{id}")),
        (Method::GET, format!("/v1/videos%2F{id}")),
        (Method::POST, format!("/v1/videos/{encoded}/remix")),
    ];
    for restart in [false, true] {
        if restart {
            house.sandbox.finish_jobs();
            house.restart().await;
        }
        let mut seen_by_others = Vec::new();
        for (method, target) in &requests {
            let before = house.sandbox.requests().len();
            let asked = house.client().call(method.clone(), target).key(BEN);
            let asked = match *method {
                Method::POST => asked.json(&json!({"prompt": "stolen"})),
                _ => asked,
            };
            let answer = asked.send().await;
            let body = answer.status == 404
                && (*method == Method::HEAD || answer.error_code() == "task_not_found");
            if !body || house.sandbox.requests().len() != before {
                seen_by_others.push(format!("{method} {target}: {}", answer.status));
            }
        }
        assert!(seen_by_others.is_empty(), "{seen_by_others:#?}");
        let own = house.client().get(&format!("/v1/videos/{id}")).key(ANNA);
        assert_eq!(own.send().await.status, 200);
    }
    let content = house
        .client()
        .get(&format!("/v1/videos/{id}/content"))
        .key(ANNA);
    assert_eq!(content.send().await.status, 200);
    let unknown = house
        .client()
        .get("/v1/videos/task_unknown")
        .key(BEN)
        .send()
        .await;
    assert_eq!(
        unknown.json()["code"],
        "task_not_exist",
        "not ours: upstream says so"
    );
    assert_eq!(house.billed(), 1);
}
