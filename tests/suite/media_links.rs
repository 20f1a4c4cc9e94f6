//! The links of real answers: found whatever the shape, replaced in their bytes, and followed.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use reprise::config::Network;
use reprise::egress::{Allowed, Destination, Egress, Patience};
use reprise::media::{links, rewrite};
use reprise::message::body;
use reprise::sandbox::PollShape;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::house::{Answer, House, soon};

/// What a client shows upstream, and what is no result when upstream shows it again.
const REFERENCE: &str = "https://client.example/reference.png";

async fn finished(shape: PollShape, path: &str) -> (House, Answer) {
    let house = House::new()
        .sandbox(|options| {
            options.poll_shape = shape;
            options.job_time = Duration::from_hours(1);
        })
        .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
        .await;
    let submit = json!({
        "model": "doubao-seedance-2-0-720p", "prompt": "a paper boat like @image1", "seconds": "5",
        "metadata": {
            "return_last_frame": true, "callback_url": REFERENCE,
            "content": [{"type": "image_url", "image_url": {"url": REFERENCE}, "role": "reference_image"}],
        },
    });
    let client = house.client();
    let submitted = client
        .post("/v1/video/generations")
        .json(&submit)
        .send()
        .await;
    let id = submitted.json()["task_id"].as_str().unwrap().to_owned();
    let poll = format!("{path}{id}");
    let running = client.get(&poll).send().await;
    assert_eq!(links::find(&running.body), [""; 0], "it still runs");
    house.sandbox.finish_jobs();
    let answer = client.get(&poll).send().await;
    (house, answer)
}

/// How often a link stands in an answer.
fn occurrences(answer: &Value, link: &str) -> usize {
    match answer {
        Value::String(text) => usize::from(text == link),
        Value::Array(items) => items.iter().map(|item| occurrences(item, link)).sum(),
        Value::Object(members) => members.values().map(|value| occurrences(value, link)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[tokio::test]
async fn every_shape_of_a_finished_job() {
    for (shape, path, ends, times) in [
        (
            PollShape::Captured,
            "/v1/video/generations/",
            &[".mp4", ".png"][..],
            3,
        ),
        (PollShape::Captured, "/v1/videos/", &[".mp4"], 1),
        (PollShape::Docs, "/v1/video/generations/", &[".mp4"], 1),
    ] {
        let (house, answer) = finished(shape, path).await;
        let mut found = links::find(&answer.body);
        found.sort_by_key(|link| link.contains(".png"));
        assert_eq!(found.len(), ends.len(), "{shape:?} {path}: {found:?}");
        for (link, end) in found.iter().zip(ends) {
            let storage = format!("http://{}/storage/", house.sandbox.addr());
            assert!(link.starts_with(&storage) && link.contains(end), "{link}");
        }
        let here = |at: usize| format!("http://127.0.0.1:8787/media/{at}.bin");
        let map: HashMap<String, String> = found
            .iter()
            .cloned()
            .enumerate()
            .map(|(at, link)| (link, here(at)))
            .collect();
        let rewritten: Value = serde_json::from_slice(&rewrite(&answer.body, &map)).unwrap();
        let all: usize = (0..found.len())
            .map(|at| occurrences(&rewritten, &here(at)))
            .sum();
        assert_eq!(all, times, "{rewritten}");
        assert!(found.iter().all(|link| occurrences(&rewritten, link) == 0));
        assert_eq!(
            occurrences(&rewritten, REFERENCE),
            occurrences(&answer.json(), REFERENCE)
        );
    }
}

#[tokio::test]
async fn images_and_a_failed_job() {
    let house = House::new()
        .sandbox(|options| options.job_time = Duration::from_hours(1))
        .config(|config| config.jobs.min_poll_interval = Duration::from_nanos(1))
        .await;
    let client = house.client();
    let image = |format: &str| json!({"model": "grok-imagine-image", "prompt": "a boat", "n": 3, "response_format": format});
    let images = client
        .post("/v1/images/generations")
        .json(&image("url"))
        .send()
        .await;
    assert_eq!(links::find(&images.body).len(), 3);
    let inline = client
        .post("/v1/images/generations")
        .json(&image("b64_json"))
        .send()
        .await;
    assert_eq!(links::find(&inline.body), [""; 0]);

    let failing =
        json!({"model": "doubao-seedance-2-0-720p", "prompt": "a boat [fail]", "seconds": "5"});
    let submitted = client
        .post("/v1/video/generations")
        .json(&failing)
        .send()
        .await;
    let id = submitted.json()["task_id"].as_str().unwrap().to_owned();
    house.sandbox.finish_jobs();
    let failed = client
        .get(&format!("/v1/video/generations/{id}"))
        .send()
        .await;
    assert_eq!(failed.json()["data"]["status"], "FAILURE");
    assert_eq!(links::find(&failed.body), [""; 0]);
}

#[tokio::test]
async fn a_link_that_is_found_can_be_followed_where_it_is_allowed() {
    let (house, answer) = finished(PollShape::Docs, "/v1/video/generations/").await;
    let link = links::find(&answer.body).remove(0);
    let to = Destination::parse(&link).unwrap();
    let get = || Request::new(body::empty());
    let error = soon(egress(&[]).send(&to, get())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "loopback address 127.0.0.1; allow it with media.allow"
    );
    let answer = soon(egress(&["127.0.0.0/8"]).send(&to, get()))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "video/mp4");
    let clip: Bytes = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(&clip[4..8], b"ftyp");
    assert_eq!(house.billed(), 1);
}

fn egress(allow: &[&str]) -> Egress {
    let networks = allow.iter().map(|text| Network::parse(text).unwrap());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let limit = Duration::from_secs(20);
    let patience = Patience {
        connect: limit,
        head: limit,
        idle: limit,
    };
    Egress::new(
        tls,
        Allowed::new(networks.collect(), "media.allow"),
        patience,
    )
}
