//! What goes when there is no room, seen from outside.

use std::path::Path;

use serde_json::{Value, json};

use crate::house::{Call, House, files_below, until};
use crate::paying_once::{COLLAPSED, STORED};

const MAX_SIZE: u64 = 12_000;

fn image(house: &House, n: u64) -> Call {
    let body = json!({"model": "gpt-image-2", "prompt": format!("picture {n}")});
    house.client().post("/v1/images/generations").json(&body)
}

fn kept_bytes(data_dir: &Path) -> u64 {
    let folders = ["generations", "blobs"].map(|folder| files_below(&data_dir.join(folder)));
    let sizes = folders.iter().flatten().map(|path| {
        // One that goes meanwhile takes no room.
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    });
    sizes.sum()
}

#[tokio::test]
async fn the_least_recently_used_make_room_and_a_running_job_stays() {
    let mut house = House::new()
        .config(|config| config.cache.max_size = MAX_SIZE)
        .await;
    let dir = house.data_dir();
    let video: Value = json!({"model": "doubao-seedance-2-0-720p", "prompt": "runs for long"});
    let submit = |house: &House| house.client().post("/v1/video/generations").json(&video);
    assert_eq!(submit(&house).send().await.cache_status(), STORED);
    let mut stored = 0;
    for n in 0..40 {
        assert_eq!(image(&house, n).send().await.cache_status(), STORED, "{n}");
        stored += 1;
        until(|| kept_bytes(&dir) <= MAX_SIZE).await;
        // Asked for again and again, so others go.
        assert!(image(&house, 0).send().await.is_hit(), "{n}");
    }
    assert_eq!(house.billed(), stored + 1);
    let last = image(&house, 39).send().await;
    assert!(last.is_hit());
    assert_eq!(submit(&house).send().await.cache_status(), COLLAPSED);
    house.restart().await;
    assert!(house.report().bytes <= MAX_SIZE);
    assert!(
        image(&house, 0).send().await.is_hit(),
        "also after a restart"
    );
    // The first that went is paid for again.
    assert_eq!(image(&house, 1).send().await.cache_status(), STORED);
    assert_eq!(submit(&house).send().await.cache_status(), COLLAPSED);
}

#[tokio::test]
async fn what_is_found_too_much_at_start_goes() {
    let mut house = House::new().await;
    for n in 0..20 {
        image(&house, n).send().await;
    }
    assert_eq!(house.shutdown().await, reprise::app::Drained::Whole);
    let full = kept_bytes(&house.data_dir());
    assert!(full > MAX_SIZE, "{full} bytes are no test");
    let smaller = House::new()
        .disk(&house.data_dir())
        .config(|config| config.cache.max_size = MAX_SIZE)
        .await;
    let dir = smaller.data_dir();
    until(|| kept_bytes(&dir) <= MAX_SIZE).await;
    assert!(image(&smaller, 19).send().await.is_hit());
    assert_eq!(smaller.billed(), 0);
}
