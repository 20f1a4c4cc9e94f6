//! Links of upstream's own, which need its key; and what it leads to, which must not see it.

use std::time::Duration;

use bytes::Bytes;
use reprise::config::BaseUrl;
use reprise::store::MediumState;
use serde_json::json;

use super::{SUBMIT, film, keeping, kept_link, media, poll, video};
use crate::house::{Host, House, Page, UPSTREAM_KEY, Visit, until};

/// A gateway whose results link to itself; `content` answers what they lead to.
async fn gateway(content: impl Fn(&Visit) -> Page + Send + Sync + 'static) -> Host {
    Host::upstream(move |visit| {
        let host = visit.header("host").to_owned();
        if visit.line.starts_with("POST ") {
            return Page::new(200, r#"{"task_id":"task_1","status":"submitted"}"#);
        }
        if visit.line == format!("GET {SUBMIT}/task_1") {
            let url = format!("http://{host}/v1/videos/task_1/content");
            let job = json!({"task_id": "task_1", "status": "SUCCESS", "result_url": url});
            let body = json!({"code": "success", "data": job}).to_string();
            return Page::new(200, body).header("content-type", "application/json");
        }
        content(visit)
    })
    .await
}

async fn house_of(gateway: &Host) -> House {
    let base = BaseUrl::parse(&format!("{}/v1", gateway.origin())).unwrap();
    keeping()
        .config(move |config| config.upstream.base_url = base.clone())
        .await
}

async fn finish(house: &House) {
    let client = house.client();
    client.post(SUBMIT).json(&video("a quay")).send().await;
    assert_eq!(poll(house, "task_1").await.status, 200);
}

#[tokio::test]
async fn a_link_of_upstreams_own_is_asked_with_its_key() {
    let gateway = gateway(|visit| {
        let authorized = format!("bearer {UPSTREAM_KEY}");
        if visit.header("authorization") == authorized {
            Page::file(&film(4_000))
        } else {
            Page::new(401, "{}")
        }
    })
    .await;
    let house = house_of(&gateway).await;
    finish(&house).await;
    let link = kept_link(&house, "task_1").await;
    assert_eq!(house.client().get(&link).send().await.body, film(4_000));
}

/// Where upstream sends us on, the key stays behind; and nobody there can send us back with it.
#[tokio::test]
async fn a_redirect_away_goes_on_without_the_key() {
    let storage = Host::start(|visit| {
        let back = visit
            .line
            .rsplit_once("back=")
            .map(|(_, back)| back.to_owned());
        back.map_or_else(
            || Page::file(&film(4_000)),
            |back| Page::redirect(&format!("http://{back}/v1/videos/secret/content")),
        )
    })
    .await;
    for trick in [false, true] {
        let to = storage.origin();
        let gateway = gateway(move |visit| {
            if visit.line.contains("secret") {
                let keyed = !visit.header("authorization").is_empty();
                return Page::file(&Bytes::from(format!("\0\0\0\x20ftypisom {keyed}")));
            }
            let back = if trick {
                format!("?back={}", visit.header("host"))
            } else {
                String::new()
            };
            Page::redirect(&format!("{to}/x.mp4{back}"))
        })
        .await;
        let mut house = house_of(&gateway).await;
        finish(&house).await;
        let link = kept_link(&house, "task_1").await;
        let kept = house.client().get(&link).send().await.body;
        if trick {
            assert_eq!(kept, "\0\0\0\x20ftypisom false", "asked without the key");
        } else {
            assert_eq!(kept, film(4_000));
        }
        assert!(matches!(
            media(&mut house).await[..],
            [MediumState::Kept { .. }]
        ));
    }
}

/// The same host, but not its API: there the key has nothing to do.
#[tokio::test]
async fn beside_the_api_the_key_is_not_shown() {
    let gateway = Host::upstream(|visit| {
        if visit.line.starts_with("POST ") {
            return Page::new(200, r#"{"task_id":"task_1","status":"submitted"}"#);
        }
        if visit.line.starts_with("GET /v1/") {
            let url = format!("http://{}/v1files/a.mp4", visit.header("host"));
            let job = json!({"task_id": "task_1", "status": "SUCCESS", "result_url": url});
            return Page::new(200, json!({"code": "success", "data": job}).to_string());
        }
        assert_eq!(visit.header("authorization"), "");
        Page::file(&film(4_000))
    })
    .await;
    let house = house_of(&gateway).await;
    finish(&house).await;
    until(|| house.archive().tally().files == 1).await;
    let seen = gateway.seen();
    let last = seen.iter().find(|visit| visit.line == "GET /v1files/a.mp4");
    assert_eq!(last.unwrap().header("authorization"), "");
}

/// A key that is refused its polls by mistake is served the clip: that is kept.
#[tokio::test]
async fn a_clip_that_no_poll_has_shown_is_kept_from_upstreams_own_path() {
    let house = keeping()
        .config(|config| config.jobs.poll_interval = Duration::from_millis(20))
        .await;
    for path in [SUBMIT, "/v1/videos"] {
        let polls = house.sandbox.on(&format!("GET {path}/task_"));
        polls.answer(403, "application/json", "{}").times(12);
    }
    let id = super::task(&super::submit(&house, "a pier").await);
    house.sandbox.finish_jobs();
    until(|| house.archive().tally().files == 1).await;
    let path = format!("/v1/videos/{id}/content");
    let served = house.client().get(&path).send().await;
    assert!(served.is_hit() && served.text().ends_with(&id));
}
