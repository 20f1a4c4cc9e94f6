//! What is not fetched at all, and where nobody goes.

use reprise::config::Network;
use reprise::store::MediumState;

use super::{film, finished, kept_link, linking_to, lost, media, poll};
use crate::house::{Host, House, Page, until};

async fn why_lost(house: &mut House) -> String {
    lost(house, 1).await;
    let state = media(house).await;
    match &state[..] {
        [MediumState::Lost { why }] => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn three_redirects_are_followed_and_no_fourth() {
    for (hops, kept) in [(3, true), (4, false)] {
        let host = Host::start(move |visit| {
            let hop = visit
                .line
                .rsplit_once("hop=")
                .map_or(0, |(_, hop)| hop.parse().unwrap());
            if hop == hops {
                Page::file(&film(500))
            } else {
                Page::redirect(&format!("/x?hop={}", hop + 1))
            }
        })
        .await;
        let house = linking_to(&host).await;
        let (id, first) = finished(&house, "a ridge").await;
        if kept {
            kept_link(&house, &id).await;
            assert_eq!(host.count(), hops + 1);
        } else {
            host.asked(hops).await;
            assert_eq!(poll(&house, &id).await.body, first.body);
            assert_eq!(house.archive().tally().files, 0);
        }
    }
}

#[tokio::test]
async fn a_redirect_to_a_private_address_leads_nowhere() {
    let trap = Host::at("127.0.0.2:0", |_| Page::file(&film(500)), false).await;
    let to = trap.origin();
    let host = Host::start(move |_| Page::redirect(&format!("{to}/x.mp4"))).await;
    let mut house = linking_to(&host)
        .config(|config| config.media.allow = vec![Network::parse("127.0.0.1").unwrap()])
        .await;
    let (id, first) = finished(&house, "a cave").await;
    lost(&house, 1).await;
    assert_eq!(
        poll(&house, &id).await.body,
        first.body,
        "the client may reach it"
    );
    let why = why_lost(&mut house).await;
    assert_eq!(why, "loopback address 127.0.0.2; allow it with media.allow");
    assert_eq!(trap.count(), 0);
}

#[tokio::test]
async fn a_private_address_is_not_gone_to_unless_it_is_allowed() {
    let host = Host::start(|_| Page::file(&film(500))).await;
    let mut house = linking_to(&host)
        .config(|config| config.media.allow = Vec::new())
        .await;
    finished(&house, "a cave").await;
    let why = why_lost(&mut house).await;
    assert_eq!(why, "loopback address 127.0.0.1; allow it with media.allow");
    assert_eq!(host.count(), 0);
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let file = film(600_000);
    let told = file.clone();
    let untold = file.clone();
    let announced = Host::start(move |_| Page::file(&told)).await;
    let chunked = Host::start(move |_| {
        // One chunk that is as long as the file.
        let head = format!("{:x}\r\n", untold.len());
        let body = [head.as_bytes(), &untold, b"\r\n0\r\n\r\n"].concat();
        Page::new(200, body).length("transfer-encoding: chunked\r\n")
    })
    .await;
    for (host, limit, kept) in [
        (&announced, 599_999, false),
        (&announced, 600_000, true),
        (&chunked, 599_999, false),
        (&chunked, 600_000, true),
    ] {
        let mut house = linking_to(host)
            .config(move |config| config.media.max_file = limit)
            .await;
        let (id, first) = finished(&house, "a steppe").await;
        if kept {
            kept_link(&house, &id).await;
            continue;
        }
        lost(&house, 1).await;
        assert_eq!(poll(&house, &id).await.body, first.body, "its link lives");
        assert_eq!(why_lost(&mut house).await, "larger than media.max_file");
        assert_eq!(
            crate::house::files_below(&house.data_dir().join("blobs")).len(),
            0
        );
    }
    until(|| announced.count() == 2 && chunked.count() == 2).await;
}
