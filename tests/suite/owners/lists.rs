//! Lists: each sees what it has made, and nothing of what others have.

use serde_json::{Value, json};

use super::*;

const JSON: &str = "application/json";

fn item(id: &str) -> Value {
    json!({"id": id, "object": "video", "status": "completed", "prompt": format!("the prompt of {id}")})
}

fn page(ids: &[&str], more: bool) -> String {
    let data: Vec<Value> = ids.iter().copied().map(item).collect();
    json!({
        "object": "list", "data": data, "total": 99, "has_more": more,
        "first_id": ids.first(), "last_id": ids.last(),
    })
    .to_string()
}

fn ids(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let items = json["data"].as_array().unwrap_or_else(|| panic!("{json}"));
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_shows_each_its_own() {
    let house = House::new().config(apart).await;
    let annas = made(&house, "/v1/videos", &video("of anna")).await;
    let bens = house
        .client()
        .post("/v1/videos")
        .key(BEN)
        .json(&video("of ben"));
    let bens = task(&bens.send().await);
    let all = page(&[&bens, "task_elsewhere", &annas], false);
    for path in [
        "/v1/videos",
        "/v1/videos/?limit=3",
        "/v1//videos",
        "/v1/video/generations",
    ] {
        for (key, own) in [(ANNA, &annas), (BEN, &bens)] {
            house.sandbox.on("GET /v1/").answer(200, JSON, all.clone());
            let list = house
                .client()
                .get(path)
                .key(key)
                .header("range", "bytes=0-9")
                .send()
                .await;
            let json = list.json();
            assert_eq!(ids(&list), [own.as_str()], "{path}");
            assert_eq!(
                (&json["first_id"], &json["last_id"]),
                (&json!(own), &json!(own))
            );
            assert_eq!(
                (&json["object"], &json["has_more"]),
                (&json!("list"), &json!(false))
            );
            assert!(json.get("total").is_none(), "how much others have: {json}");
            assert_eq!(list.header("content-length"), list.body.len().to_string());
        }
    }
    house.sandbox.on("GET /v1/videos").answer(200, JSON, all);
    let head = house
        .client()
        .call(hyper::Method::HEAD, "/v1/videos")
        .key(ANNA)
        .send()
        .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let bare = json!([item(&bens), item(&annas)]).to_string();
    house.sandbox.on("GET /v1/videos").answer(200, JSON, bare);
    let list = house.client().get("/v1/videos").key(ANNA).send().await;
    assert_eq!(list.json(), json!([item(&annas)]));
}

#[tokio::test]
async fn pages_of_others_are_gone_through() {
    let house = House::new().config(apart).await;
    let one = made(&house, "/v1/videos", &video("one")).await;
    let two = made(&house, "/v1/videos", &video("two")).await;
    let three = made(&house, "/v1/videos", &video("three")).await;
    let on = || house.sandbox.on("GET /v1/videos");
    on().answer(200, JSON, page(&["task_x", "task_y&z"], true));
    on().answer(200, JSON, page(&[&one, "task_v"], true));
    on().answer(200, JSON, page(&[&two, &three], false));
    let list = house
        .client()
        .get("/v1/videos?limit=2&order=asc")
        .key(ANNA)
        .send()
        .await;
    assert_eq!(ids(&list), [one, two.clone()]);
    let json = list.json();
    assert_eq!(
        (&json["last_id"], &json["has_more"]),
        (&json!(two), &json!(true))
    );
    let asked: Vec<String> = house
        .sandbox
        .requests()
        .iter()
        .filter(|seen| seen.route == "GET /v1/videos")
        .map(|seen| seen.uri.query().unwrap_or_default().to_owned())
        .collect();
    let first = "limit=2&order=asc";
    let expected = [
        first.to_owned(),
        format!("{first}&after=task_y%26z"),
        format!("{first}&after=task_v"),
    ];
    assert_eq!(asked, expected);

    // However much others have, the walk has an end.
    let before = house.sandbox.requests().len();
    on().answer(200, JSON, page(&["task_x", "task_y"], true))
        .always();
    let list = house.client().get("/v1/videos").key(BEN).send().await;
    assert!(ids(&list).is_empty());
    assert_eq!(list.json()["has_more"], true);
    assert_eq!(house.sandbox.requests().len() - before, 20);
    let cursor = format!("/v1/videos?after={three}");
    assert_hidden(
        &house,
        house.client().get(&cursor).key(BEN),
        "a cursor of another",
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_looked_through_is_not_shown() {
    let house = House::new().config(apart).await;
    let id = made(&house, "/v1/videos", &video("mine")).await;
    let nested = json!({"data": {"items": [item(&id)]}}).to_string();
    let lines = format!("{}\n{}\n", item(&id), item(&id));
    for odd in [
        nested.as_str(),
        lines.as_str(),
        "<html>",
        "",
        "7",
        "{\"data\":",
    ] {
        house
            .sandbox
            .on("GET /v1/videos")
            .answer(200, JSON, odd.to_owned());
        for key in [ANNA, BEN] {
            let list = house.client().get("/v1/videos").key(key).send().await;
            if key == ANNA {
                assert_eq!(
                    (list.status, list.error_code().as_str()),
                    (502, "list_unreadable"),
                    "{odd}"
                );
                assert!(!list.text().contains(&id));
                house
                    .sandbox
                    .on("GET /v1/videos")
                    .answer(200, JSON, odd.to_owned());
            }
        }
    }
    let refused = r#"{"error":{"message":"Invalid URL"}}"#;
    house
        .sandbox
        .on("GET /v1/videos")
        .answer(404, JSON, refused);
    let list = house.client().get("/v1/videos").key(ANNA).send().await;
    assert_eq!(
        (list.status, list.text().as_str()),
        (404, refused),
        "upstream's own word"
    );
}
