//! What a finished job leaves behind.

use std::time::Duration;

use http_body_util::Full;
use hyper::Method;
use hyper::header::RANGE;

use super::call::{Caller, sandbox};
use super::jobs::{SUBMIT, submitted};

#[tokio::test]
async fn clips_come_by_link_and_by_content() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let id = submitted(&caller, "a cat").await;
    let content = format!("/v1/videos/{id}/content");
    assert_eq!(caller.get(&content).await.status, 400);
    sandbox.finish_jobs();
    let link = caller.get(&format!("{SUBMIT}/{id}")).await.json()["data"]["result_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let whole = caller.get(&link).await;
    assert_eq!(
        (whole.status.as_u16(), whole.header("content-type")),
        (200, "video/mp4")
    );
    assert_eq!(
        (&whole.body[4..8], &whole.body[36..40]),
        (&b"ftyp"[..], &b"moov"[..])
    );
    assert!(whole.text().ends_with(&id));
    assert_eq!(
        whole.header("x-oneapi-request-id"),
        "",
        "storage is another host"
    );
    let part = caller
        .request(Method::GET, &link)
        .header(RANGE, "bytes=4-7")
        .body(Full::default())
        .unwrap();
    let part = caller.send(part).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &b"ftyp"[..]));
    assert_eq!(
        part.header("content-range"),
        format!("bytes 4-7/{}", whole.body.len())
    );
    let beyond = caller
        .request(Method::GET, &link)
        .header(RANGE, "bytes=999999-")
        .body(Full::default())
        .unwrap();
    assert_eq!(caller.send(beyond).await.status, 416);
    let head = caller
        .request(Method::HEAD, &link)
        .body(Full::default())
        .unwrap();
    let head = caller.send(head).await;
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (&*whole.body.len().to_string(), 0)
    );
    assert_eq!(head.header("etag"), whole.header("etag"));
    let known = caller
        .request(Method::GET, &link)
        .header("if-none-match", whole.header("etag"));
    assert_eq!(
        caller
            .send(known.body(Full::default()).unwrap())
            .await
            .status,
        304
    );
    let unsigned = link.split_once('?').unwrap().0;
    assert_eq!(caller.get(unsigned).await.status, 403);
    assert_eq!(caller.get(&content).await.body, whole.body);
    let part = caller
        .request(Method::GET, &content)
        .header(RANGE, "bytes=-3")
        .body(Full::default())
        .unwrap();
    let part = caller.send(part).await;
    assert_eq!(
        (part.status.as_u16(), part.header("cache-control")),
        (206, "public, max-age=86400")
    );
}

#[tokio::test]
async fn links_die_and_polls_still_show_them() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let id = submitted(&caller, "a cat").await;
    sandbox.finish_jobs();
    let poll = format!("{SUBMIT}/{id}");
    let link = caller.get(&poll).await.json()["data"]["result_url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(caller.get(&link).await.status, 200);
    sandbox.set_link_lifetime(Duration::ZERO);
    assert_eq!(caller.get(&link).await.status, 403);
    assert_eq!(
        caller.get(&format!("/v1/videos/{id}/content")).await.status,
        502
    );
    assert_eq!(caller.get(&poll).await.json()["data"]["result_url"], link);
}

#[tokio::test]
async fn the_same_request_twice_is_two_jobs() {
    let sandbox = sandbox().await;
    let caller = Caller::new(&sandbox);
    let (one, two) = (
        submitted(&caller, "a cat").await,
        submitted(&caller, "a cat").await,
    );
    assert_ne!(one, two);
    sandbox.finish_jobs();
    let content = |id: &str| format!("/v1/videos/{id}/content");
    assert_ne!(
        caller.get(&content(&one)).await.body,
        caller.get(&content(&two)).await.body
    );
    assert_eq!(
        (sandbox.bill().video, sandbox.count("POST /v1/video")),
        (2, 2)
    );
}
