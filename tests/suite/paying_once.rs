//! An identical generation is paid for once, and answered with the same bytes ever after.

use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn the_second_of_two_identical_requests_is_a_hit() {
    let mut house = House::new().await;
    let body = json!({"model": "gpt-image-2", "prompt": "a door"});
    let first = house
        .client()
        .post("/v1/images/generations")
        .json(&body)
        .send()
        .await;
    assert_eq!(first.cache_status(), "reprise; fwd=miss; stored");
    house.restart().await;
    let second = house
        .client_h2()
        .post("/v1/images/generations")
        .json(&body)
        .send()
        .await;
    assert!(second.is_hit(), "{}", second.cache_status());
    assert_eq!(first.body, second.body);
    assert_eq!(house.billed(), 1);
}
