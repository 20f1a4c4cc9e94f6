//! Files that come in pieces, wrong, late or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reprise::media::Tally;
use reprise::store::MediumState;

use super::{film, finished, kept_link, linking_to, lost, media, poll};
use crate::house::{Host, House, Page, until};

const LEN: usize = 700_000;

/// Whatever went wrong first, the right file is kept in the end, once.
async fn comes_right(host: &Host, house: &House, file: &Bytes) {
    let (id, _) = finished(house, "a glacier").await;
    let link = kept_link(house, &id).await;
    assert_eq!(house.client().get(&link).send().await.body, *file);
    // It is counted when it is kept, which is told of first.
    until(|| house.archive().tally().files == 1).await;
    assert_eq!(house.archive().tally().lost, 0);
    assert_eq!(house.billed(), 1);
    assert!(host.count() >= 2, "something went wrong first");
}

#[tokio::test]
async fn a_file_that_breaks_off_is_gone_on_with() {
    let file = film(LEN);
    let script = file.clone();
    let host = Host::start(move |visit| match visit.nth {
        0 => Page::file(&script).cut(300_000),
        // A busy host loses nothing of what came.
        1 => Page::new(503, "busy").header("retry-after", "1"),
        _ => Page::rest(&script, 300_000),
    })
    .await;
    let house = linking_to(&host).await;
    comes_right(&host, &house, &file).await;
    let seen = host.seen();
    assert_eq!(seen.len(), 3);
    for visit in &seen[1..] {
        assert_eq!(visit.header("range"), "bytes=300000-");
        assert_eq!(visit.header("if-range"), "\"one\"");
    }
    assert_eq!(seen[0].header("range"), "");
}

#[tokio::test]
async fn another_file_is_not_put_behind_the_first_part() {
    // It has changed since: the whole of the new one comes.
    let (old, new) = (film(LEN), film(LEN - 1));
    let file = new.clone();
    let host = Host::start(move |visit| match visit.nth {
        0 => Page::file(&old).cut(300_000),
        _ => Page::file(&new),
    })
    .await;
    let house = linking_to(&host).await;
    comes_right(&host, &house, &file).await;
    assert_eq!(host.count(), 2);
}

#[tokio::test]
async fn a_part_that_does_not_fit_is_not_taken() {
    let file = film(LEN);
    let script = file.clone();
    let host = Host::start(move |visit| match visit.nth {
        0 => Page::file(&script).cut(300_000),
        1 => Page::rest(&script, 300_001),
        _ => Page::file(&script),
    })
    .await;
    let house = linking_to(&host).await;
    comes_right(&host, &house, &file).await;
    assert_eq!(host.seen()[2].header("range"), "", "from its start");
}

#[tokio::test]
async fn without_a_mark_to_know_it_by_a_file_is_begun_anew() {
    let file = film(LEN);
    let script = file.clone();
    let host = Host::start(move |visit| {
        let page = Page::new(200, script.clone()).header("etag", "W/\"weak\"");
        if visit.nth == 0 {
            page.cut(300_000)
        } else {
            page
        }
    })
    .await;
    let house = linking_to(&host).await;
    comes_right(&host, &house, &file).await;
    assert_eq!(host.seen()[1].header("range"), "");
}

/// `RelayDance`'s `/content`, and storage hosts, answer pages and errors where a clip should be.
#[tokio::test]
async fn what_is_no_file_is_not_kept() {
    let file = film(9_000);
    let wrong: [fn(&Bytes) -> Page; 10] = [
        |_| {
            Page::new(200, "<!doctype html><title>Sorry</title>")
                .header("content-type", "text/html")
        },
        |_| Page::new(200, "<html>").header("content-type", "video/mp4"),
        |_| {
            Page::new(200, r#"{"error":{"message":"not ready"}}"#)
                .header("content-type", "video/mp4")
        },
        |_| Page::new(200, "").header("content-type", "video/mp4"),
        |_| Page::new(404, "not yet"),
        |_| Page::new(403, "<Error/>"),
        |file| Page::new(206, file.clone()),
        |file| Page::file(file).length("content-length: 9001\r\n"),
        |file| Page::file(file).length(""),
        |file| Page::file(file).header("content-encoding", "gzip"),
    ];
    // The pauses double, so each has a house of its own.
    let cases = wrong.map(|wrong| {
        let file = file.clone();
        async move {
            let script = file.clone();
            let host = Host::start(move |visit| match visit.nth {
                0 => wrong(&script),
                _ => Page::file(&script),
            })
            .await;
            let house = linking_to(&host).await;
            comes_right(&host, &house, &file).await;
        }
    });
    futures_util::future::join_all(cases).await;
}

#[tokio::test]
async fn a_file_that_does_not_come_is_given_up_when_its_link_is_old() {
    let host = Host::start(|_| Page::new(404, "gone")).await;
    let mut house = linking_to(&host)
        .config(|config| config.media.link_lifetime = Duration::from_secs(3))
        .await;
    let (id, first) = finished(&house, "a moor").await;
    assert_eq!(poll(&house, &id).await.body, first.body);
    lost(&house, 1).await;
    assert!(
        host.count() >= 3,
        "{}: after 0, 1 and 3 seconds",
        host.count()
    );
    let state = media(&mut house).await;
    let [MediumState::Lost { why }] = &state[..] else {
        panic!("{state:?}");
    };
    assert!(
        why.contains("404") && why.contains("media.link_lifetime"),
        "{why}"
    );
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let host = Host::start(|_| Page::file(&film(9_000)).hold(10)).await;
    let min_free = Arc::new(AtomicU64::new(0));
    let told = min_free.clone();
    let mut house = linking_to(&host)
        .config(move |config| config.cache.min_free = told.load(Ordering::Relaxed))
        .await;
    let (id, _) = finished(&house, "a dam").await;
    host.asked(1).await;
    // From now on there is too little room, as long as this process lives.
    min_free.store(u64::MAX, Ordering::Relaxed);
    house.restart().await;
    host.asked(3).await;
    assert_eq!(house.archive().tally(), Tally::default());
    min_free.store(0, Ordering::Relaxed);
    host.release();
    house.restart().await;
    kept_link(&house, &id).await;
}

#[tokio::test]
async fn a_copy_that_was_damaged_is_fetched_again() {
    let host = Host::start(|_| Page::file(&film(9_000))).await;
    let mut house = linking_to(&host).await;
    let (id, first) = finished(&house, "a dune").await;
    let link = kept_link(&house, &id).await;
    let path = link.split_once("/media/").unwrap().1.to_owned();
    for content in [false, true] {
        house.shutdown().await;
        let blobs = crate::house::files_below(&house.data_dir().join("blobs"));
        assert_eq!(blobs.len(), 1);
        crate::house::flip_a_bit(&blobs[0], 1);
        house.start().await;
        let client = house.client();
        if content {
            // Upstream serves its own.
            let answer = client.get(&format!("/v1/videos/{id}/content")).send().await;
            assert!(answer.status == 200 && !answer.is_hit());
        } else {
            let answer = client.get(&format!("/media/{path}")).send().await;
            assert_eq!(answer.error_code(), "media_unreadable");
        }
        let link = kept_link(&house, &id).await;
        assert_eq!(client.get(&link).send().await.body, film(9_000));
    }
    assert_eq!(host.count(), 3);
    assert_eq!(
        super::link(&first),
        format!(
            "{}{}",
            host.origin(),
            host.seen()[2].line.trim_start_matches("GET ")
        )
    );
}

/// What is wanted would keep its generation from ever being evicted.
#[tokio::test]
async fn nothing_is_wanted_any_longer_once_the_archive_is_off() {
    let host = Host::start(|_| Page::file(&film(9_000)).hold(10)).await;
    let archive = Arc::new(AtomicBool::new(true));
    let told = archive.clone();
    let mut house = linking_to(&host)
        .config(move |config| config.media.archive = told.load(Ordering::Relaxed))
        .await;
    finished(&house, "a dune").await;
    host.asked(1).await;
    archive.store(false, Ordering::Relaxed);
    house.restart().await;
    lost(&house, 1).await;
    assert!(matches!(
        media(&mut house).await[..],
        [MediumState::Lost { .. }]
    ));
}
