//! What the upstream really sends, and what was learnt from it about links: one test for each trap.

use std::time::Duration;

use reprise::store::MediumState;
use serde_json::json;

use super::{
    SUBMIT, film, finished, kept_link, link, linking_to, media, poll, records, submit, task, video,
};
use crate::house::{Host, Page, until};

/// On FAILURE `result_url` repeats the error; even one that is a link is no result.
#[tokio::test]
async fn a_failed_job_has_no_files() {
    let host = Host::start(|_| Page::file(&film(100))).await;
    let mut house = linking_to(&host).await;
    let id = task(&submit(&house, "a reef").await);
    let why = format!("{}/docs/errors", host.origin());
    let failed = json!({"code": "success", "data": {
        "task_id": id, "status": "FAILURE", "fail_reason": why, "result_url": why,
    }});
    let polls = house.sandbox.on(&format!("GET {SUBMIT}/"));
    polls.answer(200, "application/json", failed.to_string());
    assert_eq!(poll(&house, &id).await.text(), failed.to_string());
    house.settle().await;
    house.shutdown().await;
    assert!(records(&house).is_empty());
    assert_eq!(host.count(), 0);
}

/// Old gateways give the link of a success as `fail_reason`.
#[tokio::test]
async fn a_link_in_the_place_of_a_reason_is_kept() {
    let host = Host::start(|_| Page::file(&film(100))).await;
    let house = linking_to(&host).await;
    let id = task(&submit(&house, "a reef").await);
    let link = format!("{}/old.mp4", host.origin());
    let done = json!({"code": "success", "data": {
        "task_id": id, "status": "SUCCESS", "fail_reason": link,
    }});
    let polls = house.sandbox.on(&format!("GET {SUBMIT}/"));
    polls.answer(200, "application/json", done.to_string());
    poll(&house, &id).await;
    until(|| house.archive().tally().files == 1).await;
    let shown = poll(&house, &id).await.json();
    let shown = shown["data"]["fail_reason"].as_str().unwrap().to_owned();
    assert!(
        shown.starts_with(&format!("http://{}/media/", house.addr())),
        "{shown}"
    );
    assert_eq!(house.client().get(&shown).send().await.body, film(100));
}

/// Every link is kept, the one that stands in two places once; and in every place it is replaced.
#[tokio::test]
async fn every_link_is_kept_once_and_replaced_everywhere() {
    let picture = |visit: &crate::house::Visit| {
        let png = b"\x89PNG\r\n\x1a\n0000";
        if visit.line.contains(".png") {
            Page::new(200, &png[..]).header("content-type", "image/png")
        } else {
            Page::file(&film(100))
        }
    };
    let host = Host::start(picture).await;
    let mut house = linking_to(&host).await;
    let mut body = video("a meadow");
    body["metadata"]["return_last_frame"] = true.into();
    let id = task(&house.client().post(SUBMIT).json(&body).send().await);
    house.sandbox.finish_jobs();
    let first = poll(&house, &id).await;
    assert_eq!(first.text().matches(&host.origin()).count(), 3);
    until(|| house.archive().tally().files == 2).await;
    let shown = poll(&house, &id).await;
    assert_eq!(
        shown.text().matches(&host.origin()).count(),
        0,
        "{}",
        shown.text()
    );
    assert_eq!(shown.text().matches("/media/").count(), 3);
    let frame = shown.json()["data"]["data"]["content"]["last_frame_url"].clone();
    let frame = house.client().get(frame.as_str().unwrap()).send().await;
    assert_eq!(frame.header("content-type"), "image/png");
    assert_eq!(host.count(), 2);
    let kept = media(&mut house).await;
    assert!(
        kept.iter()
            .all(|state| matches!(state, MediumState::Kept { .. }))
    );
}

/// Links live for a day, and are never renewed: what was fetched at once outlives them.
#[tokio::test]
async fn a_clip_outlives_its_link() {
    let house = super::keeping().await;
    let (id, first) = finished(&house, "a geyser").await;
    let kept = kept_link(&house, &id).await;
    house.sandbox.set_link_lifetime(Duration::ZERO);
    let client = house.client();
    assert_eq!(client.get(&link(&first)).send().await.status, 403);
    assert_eq!(client.get(&kept).send().await.status, 200);
    let content = client.get(&format!("/v1/videos/{id}/content")).send().await;
    assert!(content.status == 200 && content.is_hit());
    assert!(submit(&house, "a geyser").await.is_hit());
    assert_eq!(house.billed(), 1);
}

/// A kept answer is shown to others than who paid: by then no signed link of that account is in it.
#[tokio::test]
async fn others_see_no_signed_link_of_who_paid() {
    let house = super::keeping().await;
    let (id, first) = finished(&house, "a delta").await;
    assert!(first.text().contains("?sig="));
    kept_link(&house, &id).await;
    let other = house.client();
    let hit = other.post(SUBMIT).key("sk-another").json(&video("a delta"));
    let hit = hit.send().await;
    assert!(hit.is_hit());
    for path in [format!("{SUBMIT}/{id}"), format!("/v1/videos/{id}")] {
        let shown = other.get(&path).key("sk-another").send().await;
        assert_eq!(shown.status, 200);
        assert!(!shown.text().contains("sig="), "{}", shown.text());
    }
}
