//! What a client sees of files that are kept.

use std::ops::ControlFlow;
use std::time::Duration;

use http::Method;
use reprise::config::{Deliver, Links, Scope};
use reprise::store::{DiskStore, MediumState, export};
use serde_json::json;

use super::{
    IMAGES, SUBMIT, film, finished, image, keeping, kept_link, link, linking_to, loopback, media,
    poll, records, submit, task,
};
use crate::credentials::{ANNA, BEN, anna_and_ben};
use crate::house::{Host, House, Page, Receiver, until};

/// RelayDance repeats the link in several places, and a client may read any of them.
#[tokio::test]
async fn a_clip_is_kept_and_every_place_points_to_it() {
    let house = keeping().await;
    let client = house.client();
    let (id, first) = finished(&house, "a lighthouse").await;
    let upstreams = link(&first);
    assert!(upstreams.contains("/storage/"), "{upstreams}");
    let bytes = client.get(&upstreams).send().await.body;
    let kept = kept_link(&house, &id).await;
    assert_eq!(kept.rsplit_once('.').unwrap().1, "mp4", "{kept}");
    let served = client.get(&kept).send().await;
    assert_eq!((served.status, &served.body), (200, &bytes));
    assert_eq!(served.header("content-type"), "video/mp4");

    let answer = poll(&house, &id).await;
    assert!(!answer.text().contains("/storage/"), "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["data"]["data"]["content"]["video_url"], kept);
    let length = answer.header("content-length").parse();
    assert_eq!(length, Ok(answer.body.len()));
    // The rest of the answer is what it was, byte for byte.
    assert_eq!(answer.text().replace(&kept, &upstreams), first.text());

    // A shape that nobody has asked for yet passes upstream, with the same links in it.
    let path = format!("/v1/videos/{id}");
    let other = client.get(&path).send().await;
    assert_eq!(other.json()["metadata"]["url"], kept);
    assert!(!other.is_hit());
    let length = other.header("content-length").parse();
    assert_eq!(length, Ok(other.body.len()));
    let other = client.get(&path).send().await;
    assert!(other.is_hit());
    assert_eq!(other.json()["metadata"]["url"], kept);

    assert_eq!(house.archive().tally().files, 1);
    assert_eq!(house.archive().tally().bytes, bytes.len() as u64);
    assert_eq!(
        house.sandbox.count("GET /storage/"),
        2,
        "ours and the test's"
    );
}

/// The link is the permission: no key of ours or the client's is ever sent to a storage host.
#[tokio::test]
async fn no_credential_reaches_a_storage_host() {
    let host = Host::start(|_| Page::file(&film(9_000))).await;
    let house = linking_to(&host).await;
    let id = task(
        &house
            .client()
            .post(SUBMIT)
            .key("sk-of-a-client")
            .header("cookie", "a=b")
            .json(&super::video("a fjord"))
            .send()
            .await,
    );
    house.sandbox.finish_jobs();
    poll(&house, &id).await;
    kept_link(&house, &id).await;
    let seen = host.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].line.starts_with("GET /storage/") && seen[0].line.contains("?sig="));
    assert!(!seen[0].head.contains("sk-of-a-client"), "{}", seen[0].head);
    assert_eq!(seen[0].header("host"), host.addr().to_string());
}

#[tokio::test]
async fn the_clip_is_served_on_upstreams_path_from_the_copy() {
    let house = keeping().await;
    let client = house.client();
    let (id, _) = finished(&house, "a harbour").await;
    let kept = kept_link(&house, &id).await;
    let bytes = client.get(&kept).send().await.body;
    house.stop_sandbox().await;
    let path = format!("/v1/videos/{id}/content");
    for target in [path.clone(), format!("{path}?variant=video")] {
        let whole = client.get(&target).send().await;
        assert_eq!((whole.status, &whole.body), (200, &bytes));
        assert!(whole.is_hit());
        assert_eq!(whole.header("cache-control"), "public, max-age=86400");
    }
    let part = client.get(&path).header("range", "bytes=4-7").send().await;
    assert_eq!((part.status, &part.body[..]), (206, &b"ftyp"[..]));
    let head = client.call(Method::HEAD, &path).send().await;
    let length = head.header("content-length").parse();
    assert_eq!((head.status, length), (200, Ok(bytes.len())));
    assert!(head.body.is_empty());
    let other = client
        .get(&format!("{path}?variant=thumbnail"))
        .send()
        .await;
    assert_eq!(other.error_code(), "upstream_unreachable");
    // And so is the answer, with the client's own name for this proxy in it.
    let named = client
        .get(&format!("{SUBMIT}/{id}"))
        .header("host", "localhost:1234")
        .send()
        .await;
    assert!(link(&named).starts_with("http://localhost:1234/media/"));
}

#[tokio::test]
async fn under_a_scope_of_its_own_nobody_else_gets_the_clip() {
    let house = keeping()
        .config(|config| {
            config.cache.scope = Scope::Client;
            anna_and_ben(config);
        })
        .await;
    let client = house.client();
    let submitted = client.post(SUBMIT).key(ANNA).json(&super::video("a shore"));
    let id = task(&submitted.send().await);
    house.sandbox.finish_jobs();
    let path = format!("{SUBMIT}/{id}");
    client.get(&path).key(ANNA).send().await;
    until(|| house.archive().tally().files == 1).await;
    let content = format!("/v1/videos/{id}/content");
    assert!(client.get(&content).key(ANNA).send().await.is_hit());
    let refused = client.get(&content).key(BEN).send().await;
    assert_eq!(
        (refused.status, &*refused.error_code()),
        (404, "task_not_found")
    );
}

#[tokio::test]
async fn images_are_kept_and_their_first_answer_waits_for_nothing() {
    let host = Host::start(|_| Page::file(&film(100)).hold(10)).await;
    let house = linking_to(&host).await;
    let ask = || house.client().post(IMAGES).json(&image("a boat", 3)).send();
    let first = ask().await;
    assert_eq!(first.cache_status(), "reprise; fwd=miss; stored");
    let links = |answer: &crate::house::Answer| -> Vec<String> {
        let json = answer.json();
        let data = json["data"].as_array().unwrap().iter();
        data.map(|image| image["url"].as_str().unwrap().to_owned())
            .collect()
    };
    let upstreams = links(&first);
    assert!(
        upstreams
            .iter()
            .all(|link| link.starts_with(&host.origin()))
    );
    host.asked(3).await;
    assert_eq!(links(&ask().await), upstreams, "until they are kept");
    host.release();
    until(|| house.archive().tally().files == 3).await;
    let hit = ask().await;
    assert!(hit.is_hit());
    let prefix = format!("http://{}/media/", house.addr());
    assert!(
        links(&hit).iter().all(|link| link.starts_with(&prefix)),
        "{}",
        hit.text()
    );
    assert_eq!(hit.header("content-length").parse(), Ok(hit.body.len()));
    assert_eq!(house.billed(), 1);
    // The same bytes thrice are one file.
    let blobs = crate::house::files_below(&house.data_dir().join("blobs"));
    assert_eq!(blobs.len(), 1, "{blobs:?}");
}

/// An image of several megabytes in the answer itself is a file, and nothing is fetched.
#[tokio::test]
async fn large_images_in_base64_are_files() {
    let house = keeping().await;
    let picture = "iVBORw0KGgo".repeat(400_000);
    let body = json!({"created": 1, "data": [{"b64_json": picture}]}).to_string();
    house
        .sandbox
        .on("POST /v1/images")
        .answer_billed(200, "application/json", body.clone());
    let ask = json!({"model": "gpt-image-2", "prompt": "a tree", "response_format": "b64_json"});
    let first = house.client().post(IMAGES).json(&ask).send().await;
    assert_eq!(first.text(), body);
    let hit = house.client().post(IMAGES).json(&ask).send().await;
    assert!(hit.is_hit() && hit.text() == body);
    let blobs = crate::house::files_below(&house.data_dir().join("blobs"));
    assert_eq!(blobs.len(), 1);
    assert_eq!(house.archive().tally(), reprise::media::Tally::default());
}

#[tokio::test]
async fn links_may_stay_upstreams_and_the_copy_is_kept_all_the_same() {
    let host = Host::start(|_| Page::file(&film(100))).await;
    let mut house = linking_to(&host)
        .config(|config| config.media.links = Links::Upstream)
        .await;
    let (id, first) = finished(&house, "a mill").await;
    until(|| house.archive().tally().files == 1).await;
    assert_eq!(poll(&house, &id).await.body, first.body);
    let content = format!("/v1/videos/{id}/content");
    assert_eq!(house.client().get(&content).send().await.body, film(100));
    assert!(matches!(
        media(&mut house).await[..],
        [MediumState::Kept { len: 100, .. }]
    ));
}

#[tokio::test]
async fn without_an_archive_nothing_is_fetched() {
    let host = Host::start(|_| Page::file(&film(100))).await;
    let mut house = linking_to(&host)
        .config(|config| config.media.archive = false)
        .await;
    let (id, first) = finished(&house, "a mill").await;
    assert_eq!(poll(&house, &id).await.body, first.body);
    house.restart().await;
    assert_eq!(poll(&house, &id).await.body, first.body);
    house.shutdown().await;
    assert!(records(&house)[0].media.is_empty());
    assert_eq!(host.count(), 0);
}

#[tokio::test]
async fn a_public_url_stands_in_links() {
    let host = Host::start(|_| Page::file(&film(100))).await;
    let house = linking_to(&host)
        .config(|config| config.media.links = Links::Local)
        .config(|config| config.public_url = Some("https://reprise.example/base/".to_owned()))
        .await;
    let (id, _) = finished(&house, "a mill").await;
    until(|| house.archive().tally().files == 1).await;
    let link = link(&poll(&house, &id).await);
    assert!(
        link.starts_with("https://reprise.example/base/media/"),
        "{link}"
    );
}

#[tokio::test]
async fn what_is_wanted_is_fetched_after_a_restart() {
    let host = Host::start(|_| Page::file(&film(5_000)).hold(100)).await;
    let mut house = linking_to(&host).await;
    let (id, _) = finished(&house, "a glacier").await;
    host.asked(1).await;
    house.restart().await;
    host.release();
    host.asked(2).await;
    let link = kept_link(&house, &id).await;
    assert_eq!(house.client().get(&link).send().await.body, film(5_000));
    assert_eq!(house.billed(), 1);
}

#[tokio::test]
async fn what_an_import_brings_is_fetched_without_a_restart() {
    let host = Host::start(|_| Page::file(&film(5_000)).hold(100)).await;
    let mut elsewhere = linking_to(&host).await;
    let (id, _) = finished(&elsewhere, "a glacier").await;
    host.asked(1).await;
    elsewhere.shutdown().await;
    let clock = reprise::clock::Clock::system();
    let (store, _) = DiskStore::open(&elsewhere.data_dir(), clock.clone()).unwrap();
    let mut tar = Vec::new();
    export(&store, &mut tar, clock.now(), &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    drop(store);
    let house = linking_to(&host).await;
    let token = std::fs::read_to_string(house.data_dir().join("admin-token")).unwrap();
    let import = house.client().post("/api/cache/import").key(token.trim());
    let imported = import.raw("application/x-tar", tar).send().await;
    assert_eq!(imported.status, 200);
    host.release();
    host.asked(2).await;
    let link = kept_link(&house, &id).await;
    assert_eq!(house.client().get(&link).send().await.body, film(5_000));
    assert_eq!(house.billed(), 0);
}

/// Nobody polls: the proxy follows the job, and fetches its clip.
#[tokio::test]
async fn a_job_whose_client_has_left_is_archived() {
    let host = Host::start(|_| Page::file(&film(5_000))).await;
    let house = linking_to(&host)
        .config(|config| config.jobs.poll_interval = Duration::from_millis(50))
        .await;
    submit(&house, "a desert").await;
    house.sandbox.finish_jobs();
    until(|| house.archive().tally().files == 1).await;
}

#[tokio::test]
async fn callbacks_wait_for_the_files_and_show_them() {
    let host = Host::start(|_| Page::file(&film(5_000)).hold(100)).await;
    let receiver = Receiver::start().await;
    let house: House = linking_to(&host)
        .config(|config| {
            config.callbacks.deliver = Deliver::All;
            config.callbacks.allow = loopback();
        })
        .await;
    let mut body = super::video("a canyon");
    body["metadata"]["callback_url"] = receiver.url("/call").into();
    let id = task(&house.client().post(SUBMIT).json(&body).send().await);
    house.sandbox.finish_jobs();
    poll(&house, &id).await;
    host.asked(1).await;
    house.settle().await;
    assert_eq!(receiver.heard().len(), 0, "its file is still to come");
    host.release();
    receiver.arrived(1).await;
    let heard = receiver.heard();
    let link = kept_link(&house, &id).await;
    let call: serde_json::Value = serde_json::from_str(&heard[0].body).unwrap();
    assert_eq!(call["data"]["result_url"], link);
    assert_eq!(poll(&house, &id).await.text(), heard[0].body);
}
